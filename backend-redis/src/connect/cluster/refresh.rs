//! Keeps the map of slots: draws it from what the nodes say, and connects to the masters in it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::try_join_all;
use redis::ConnectionAddr;
use stanchion::random::jittered;
use stanchion::{Error, ErrorKind, Result};

use super::address::Address;
use super::doubts::{Doubt, Noticed};
use super::draw::{Change, Drawn, Unfit, draw};
use super::pace::{Pace, SEVERAL, SHORTEST_PAUSE};
use super::round::Round;
use super::sources;
use super::state::Cluster;
use crate::config::RedisConfig;
use crate::connect::context::Context;
use crate::connect::masters::Observed;
use crate::connect::purpose::Purpose;
use crate::connect::supervisor;
use crate::connect::target::Target;

/// A master that is new is waited for so long, and then goes on to be connected to while the map is in use: one that hangs must
/// not keep what is said of the others, nor what is said next.
const CONNECTED_WITHIN: Duration = Duration::from_millis(500);

impl Cluster {
    /// Connects to all masters; one attempt.
    pub(in crate::connect) async fn open(
        config: &RedisConfig,
        context: &Arc<Context>,
        observed: &Arc<Observed>,
    ) -> Result<Arc<Self>> {
        let (cluster, noticed) = Self::new(config.addresses.clone(), context, observed);
        // Whoever begins waits for each: there is nothing before that could be used.
        cluster.refresh(SEVERAL, &HashSet::new(), Duration::MAX).await?;
        let refreshing = refresher(Arc::downgrade(&cluster), noticed, Arc::clone(context));
        context.environment.tasks.spawn(refreshing)?;
        Ok(cluster)
    }

    /// Draws the map from what nodes say, and connects to masters that are new, each of which is waited for so long; answers how
    /// it has changed. So many are asked at first, and several if what they say is something else than the map.
    async fn refresh(
        &self,
        at_first: usize,
        doubted: &HashSet<Address>,
        connected_within: Duration,
    ) -> Result<Change> {
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
        let change = next.change_since(&drawn);
        // The same map again lets nodes go that redirects named and that were not used since.
        if change != Change::None || has_named {
            self.adopt(next, connected_within).await?;
        }
        Ok(change)
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

    async fn adopt(&self, drawn: Drawn, connected_within: Duration) -> Result<()> {
        // A master that is down keeps nobody from the others.
        let addresses: HashSet<&Address> = drawn.masters.values().map(|master| &master.address).collect();
        let opened = addresses.into_iter().map(|address| async move {
            if let Some(node) = self.known(address) {
                return Ok((address.clone(), node));
            }
            let target = Target::one(self.info(address));
            let (node, mut tried) = supervisor::open_beside(target, Purpose::Commands, self.context())?;
            // Whether it succeeded or not; an error is the end of a backend that is being closed.
            let first = tried.wait_for(|tried| *tried);
            let _ = tokio::time::timeout(connected_within.min(self.context().connecting()), first).await;
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
                () = nap(pace.compared_after(environment.clock.now())) => true,
            };
            let Some(cluster) = cluster.upgrade().filter(|_| alive) else {
                return;
            };
            let doubts = noticed.take();
            let doubted = doubts.iter().filter_map(|doubt| doubt.by.clone()).collect();
            let at_first = pace.begin(doubts, environment.clock.now());
            let refreshed = cluster.refresh(at_first, &doubted, CONNECTED_WITHIN).await;
            if let Err(error) = &refreshed {
                tracing::warn!(%error, "the Cluster's slots can't be read yet");
            }
            drop(cluster);
            let pause = pace.end(refreshed.unwrap_or_default(), environment.clock.now());
            nap(pause.min(SHORTEST_PAUSE)).await;
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
