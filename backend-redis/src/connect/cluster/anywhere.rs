//! Where that goes which any node may do: events. What is published and what is subscribed to is at one node, while that is a
//! master of the map and not cut off.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use redis::{ConnectionAddr, ConnectionInfo};
use stanchion::{Error, ErrorKind, Result};

use super::address::{Address, NodeId};
use super::place::{Chosen, Place};
use super::sources;
use super::state::Cluster;
use crate::connect::target::{Choice, Target};

impl Cluster {
    /// A target for the connection of the subscriptions: it is at a master of the map that is not cut off, and leaves it when
    /// that changes. Messages that are published here are so in one order with what is subscribed to here: from another node one
    /// may come late, after a subscription that was made later.
    pub(in crate::connect) fn any_target(self: &Arc<Self>) -> Target {
        let (cluster, place) = (Arc::downgrade(self), Arc::clone(self.place()));
        Target::chosen(
            "any node of the Cluster",
            Arc::new(AnyMaster { cluster, place, turn: AtomicU64::new(0) }),
        )
    }

    /// The masters that will do, first those that commands go to now, in the order of this process; of these the one whose turn it
    /// is comes first.
    fn candidates(&self, turn: u64) -> Vec<Chosen> {
        let map = self.read();
        let mut candidates: Vec<_> = map.connected().collect();
        candidates.sort_by_cached_key(|(address, _, node)| (!node.is_live(), self.rank(address)));
        let live = candidates.iter().take_while(|(.., node)| node.is_live()).count();
        let first = usize::try_from(turn.checked_rem(live as u64).unwrap_or_default()).unwrap_or_default();
        candidates[..live].rotate_left(first);
        let chosen =
            |(address, id, _): (&Address, &NodeId, _)| Chosen { address: address.clone(), id: id.clone() };
        candidates.into_iter().map(chosen).collect()
    }
}

struct AnyMaster {
    cluster: Weak<Cluster>,
    place: Arc<Place>,
    // Which of the masters is tried first.
    turn: AtomicU64,
}

impl AnyMaster {
    fn next(&self, attempt: u32) -> Result<ConnectionInfo> {
        let cluster = self.cluster.upgrade();
        let cluster = cluster.ok_or_else(|| Error::new(ErrorKind::Closed, "the backend is closed"))?;
        // At first the node to which events were published until now: they come in one order. But one may not be able to serve
        // subscriptions, and then no other would ever be tried: later ones begin anywhere.
        if attempt == 0 && self.place.chosen().is_some() {
            self.turn.store(sources::number(&*cluster.context().environment.random), Ordering::Relaxed);
        }
        let mut candidates = cluster.candidates(self.turn.load(Ordering::Relaxed));
        if candidates.is_empty() {
            let cut_off = "the nodes of the Cluster that can be reached are cut off from most of its masters";
            return Err(Error::new(ErrorKind::Unavailable, cut_off));
        }
        let chosen = candidates.swap_remove(attempt as usize % candidates.len());
        let info = cluster.info(&chosen.address);
        self.place.choose(chosen);
        Ok(info)
    }
}

impl Choice for AnyMaster {
    fn choose(&self, attempt: u32) -> BoxFuture<'_, Result<ConnectionInfo>> {
        std::future::ready(self.next(attempt)).boxed()
    }

    fn is_current(&self, _: &ConnectionAddr) -> bool {
        match (self.cluster.upgrade(), self.place.chosen()) {
            (Some(cluster), Some(chosen)) => cluster.candidates(0).contains(&chosen),
            _ => true,
        }
    }

    fn changed<'a>(&'a self, _: Option<&'a ConnectionAddr>) -> BoxFuture<'a, ()> {
        self.place.changed().boxed()
    }
}
