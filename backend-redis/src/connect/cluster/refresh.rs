//! Keeps the map of slots: draws it from what the nodes say, and connects to the masters in it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

use futures_util::future::try_join_all;
use redis::ConnectionAddr;
use stanchion::random::jittered;
use stanchion::{Error, ErrorKind, Result};

use super::address::Address;
use super::doubts::{Doubt, Noticed};
use super::draw::{Drawn, Unfit, draw};
use super::pace::{COMPARED_EVERY, Pace, SEVERAL, SHORTEST_PAUSE};
use super::round::Round;
use super::sources;
use super::state::Cluster;
use crate::config::RedisConfig;
use crate::connect::context::Context;
use crate::connect::masters::Observed;
use crate::connect::supervisor;
use crate::connect::target::Target;

impl Cluster {
    /// Connects to all masters; one attempt.
    pub(in crate::connect) async fn open(
        config: &RedisConfig,
        context: &Arc<Context>,
        observed: &Arc<Observed>,
    ) -> Result<Arc<Self>> {
        let (cluster, noticed) = Self::new(config.addresses.clone(), context, observed);
        cluster.refresh(SEVERAL, &HashSet::new()).await?;
        let refreshing = refresher(Arc::downgrade(&cluster), noticed, Arc::clone(context));
        context.environment.tasks.spawn(refreshing)?;
        Ok(cluster)
    }

    /// Draws the map from what nodes say, and connects to masters that are new; answers whether it has changed. So many are
    /// asked at first, and several if what they say is something else than the map.
    async fn refresh(&self, at_first: usize, doubted: &HashSet<Address>) -> Result<bool> {
        let (order, drawn, has_named) = self.sources(doubted);
        let several = match drawn.masters.len() {
            0 => SEVERAL,
            masters => masters.min(SEVERAL),
        };
        let mut round = Round::new(self, order);
        round.ask(at_first.min(several)).await;
        let mut next = draw(&round.views, &drawn);
        if at_first < several && next.as_ref() != Ok(&drawn) {
            round.ask(several).await;
            next = draw(&round.views, &drawn);
        }
        let next = match next {
            Ok(next) => next,
            Err(unfit) => return Err(round.error.unwrap_or_else(|| unfit.into())),
        };
        let changed = next != drawn;
        // The same map again lets nodes go that redirects named and that were not used since.
        if changed || has_named {
            self.adopt(next).await?;
        }
        Ok(changed)
    }

    /// Whom to ask, and what is known.
    fn sources(&self, doubted: &HashSet<Address>) -> (Vec<Address>, Drawn, bool) {
        let map = self.read();
        let (mut connected, mut down) = (Vec::new(), HashSet::new());
        for (address, _, node) in map.nodes() {
            if node.is_live() {
                connected.push(address.clone());
            } else {
                down.insert(address.clone());
            }
        }
        let seeds = self.seeds().iter().filter_map(|info| address_of(info.addr())).collect();
        let random = &*self.context().environment.random;
        let order = sources::order(random, connected, &down, seeds, doubted);
        (order, map.drawn().clone(), map.has_named())
    }

    async fn adopt(&self, drawn: Drawn) -> Result<()> {
        // A master that is down keeps nobody from the others, but that the first attempt to connect to each is waited for.
        let addresses: HashSet<&Address> = drawn.masters.values().map(|master| &master.address).collect();
        let opened = addresses.into_iter().map(|address| async move {
            if let Some(node) = self.known(address) {
                return Ok((address.clone(), node));
            }
            let target = Target::one(self.info(address));
            let node = supervisor::open_or_wait(target, None, self.context()).await?;
            Ok::<_, Error>((address.clone(), node))
        });
        let nodes: HashMap<_, _> = try_join_all(opened).await?.into_iter().collect();
        self.set_map(drawn, &nodes);
        Ok(())
    }
}

impl From<Unfit> for Error {
    fn from(unfit: Unfit) -> Self {
        let what = match unfit {
            Unfit::NoSlots => "the Cluster serves no slot yet, or no node of it answered",
            Unfit::CutOff => "the nodes that answered are cut off from most masters of the Cluster",
        };
        Self::new(ErrorKind::Unavailable, what)
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

/// Draws the map anew when there is a doubt, and compares it now and then.
async fn refresher(cluster: Weak<Cluster>, mut noticed: Noticed, context: Arc<Context>) {
    let environment = &context.environment;
    let closing = environment.tasks.closing();
    let refreshing = async {
        let mut pace = Pace::default();
        let is_any = |doubts: &HashSet<Doubt>| !doubts.is_empty();
        let nap = |duration| environment.sleep(jittered(&*environment.random, duration));
        loop {
            let alive = tokio::select! {
                noticed = noticed.until(is_any) => noticed.is_some(),
                () = nap(COMPARED_EVERY) => true,
            };
            let Some(cluster) = cluster.upgrade().filter(|_| alive) else {
                return;
            };
            let doubts = noticed.take();
            let doubted = doubts.iter().filter_map(|doubt| doubt.by.clone()).collect();
            let refreshed = cluster.refresh(pace.begin(doubts), &doubted).await;
            if let Err(error) = &refreshed {
                tracing::warn!(%error, "the Cluster's slots can't be read yet");
            }
            drop(cluster);
            let pause = pace.end(refreshed.unwrap_or_default());
            nap(SHORTEST_PAUSE).await;
            tokio::select! {
                noticed = noticed.until(|doubts| pace.is_news(doubts)) => if noticed.is_none() { return },
                () = nap(pause.saturating_sub(SHORTEST_PAUSE)) => {}
            }
        }
    };
    tokio::select! {
        () = closing => {}
        () = refreshing => {}
    }
}
