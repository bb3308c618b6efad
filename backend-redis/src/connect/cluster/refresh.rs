//! Keeps the map of slots: reads it from the nodes, and connects to the masters in it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::try_join_all;
use redis::ConnectionAddr;
use stanchion::random::jittered;
use stanchion::{Error, ErrorKind, Result};
use tokio::sync::watch;

use super::slots::{Address, SlotMap};
use super::state::Cluster;
use crate::config::RedisConfig;
use crate::connect::context::Context;
use crate::connect::masters::Observed;
use crate::connect::supervisor;
use crate::connect::target::Target;
use crate::error::{self, Access};
use crate::reply::{self, SlotRange};

/// The map is drawn anew so often without a reason,
const REFRESH_EVERY: Duration = Duration::from_secs(30);
/// and not more often than this, with jitter, however many commands fail.
const REFRESH_PAUSE: Duration = Duration::from_millis(200);

impl Cluster {
    /// Connects to all masters; one attempt.
    pub(in crate::connect) async fn open(
        config: &RedisConfig,
        context: &Arc<Context>,
        observed: &Arc<Observed>,
    ) -> Result<Arc<Self>> {
        let (cluster, stale) = Self::new(config.addresses.clone(), context, observed);
        cluster.refresh().await?;
        let refreshing = refresher(Arc::downgrade(&cluster), stale, Arc::clone(context));
        context.environment.tasks.spawn(refreshing)?;
        Ok(cluster)
    }

    /// Asks nodes for the map until one replies, and connects to masters that are new.
    async fn refresh(&self) -> Result<()> {
        let mut last = Error::new(ErrorKind::Unavailable, "no node of the Cluster answered");
        let mut sources: Vec<Address> =
            self.read().nodes().filter(|(_, node)| node.is_live()).map(|(a, _)| a.clone()).collect();
        sources.sort_unstable();
        sources.extend(self.seeds().iter().filter_map(|info| address_of(info.addr())));
        for address in sources {
            match self.fetch_ranges(&address).await {
                Ok(ranges) => match self.adopt(&ranges).await {
                    Ok(()) => return Ok(()),
                    Err(error) => last = error,
                },
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The map as this node knows it.
    async fn fetch_ranges(&self, address: &Address) -> Result<Vec<SlotRange>> {
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        let fetching = async {
            if let Some(node) = self.known(address) {
                return node.command(&command, Access::Read).await;
            }
            // A node that is no master gets no lasting connection.
            let target = Target::one(self.info(address));
            target.command_once(&command, self.context()).await
        };
        let deadline = self.context().deadline.saturating_mul(2);
        let value = tokio::time::timeout(deadline, fetching)
            .await
            .map_err(|_| error::timed_out(deadline, Access::Read))??;
        reply::slot_ranges(&value, &address.0).ok_or_else(|| error::unexpected_reply(Access::Read))
    }

    async fn adopt(&self, ranges: &[SlotRange]) -> Result<()> {
        if ranges.is_empty() {
            return Err(Error::new(ErrorKind::Unavailable, "the Cluster serves no slot yet"));
        }
        let masters: HashSet<&Address> = ranges.iter().map(|(_, _, address)| address).collect();
        // A master that is down keeps nobody from the others.
        let opened = masters.into_iter().map(|address| async move {
            if let Some(node) = self.known(address) {
                return Ok((address.clone(), node));
            }
            let target = Target::one(self.info(address));
            let node = supervisor::open_or_wait(target, None, self.context()).await?;
            Ok::<_, Error>((address.clone(), node))
        });
        let nodes: HashMap<_, _> = try_join_all(opened).await?.into_iter().collect();
        self.set_map(SlotMap::new(nodes, ranges));
        Ok(())
    }
}

fn address_of(address: &ConnectionAddr) -> Option<Address> {
    match address {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            Some((host.clone(), *port))
        }
        _ => None,
    }
}

/// Draws the map anew when it is stale, and now and then.
async fn refresher(cluster: Weak<Cluster>, mut stale: watch::Receiver<u64>, context: Arc<Context>) {
    let environment = &context.environment;
    let closing = environment.tasks.closing();
    let refreshing = async {
        loop {
            let dropped = tokio::select! {
                changed = stale.changed() => changed.is_err(),
                () = environment.sleep(REFRESH_EVERY) => false,
            };
            let Some(cluster) = cluster.upgrade().filter(|_| !dropped) else {
                return;
            };
            if let Err(error) = cluster.refresh().await {
                tracing::warn!(%error, "the Cluster's slots can't be read yet");
            }
            drop(cluster);
            environment.sleep(jittered(&*environment.random, REFRESH_PAUSE)).await;
        }
    };
    tokio::select! {
        () = closing => {}
        () = refreshing => {}
    }
}
