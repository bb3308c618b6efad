//! The nodes of a Cluster, and the way to each.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use redis::{ConnectionAddr, ConnectionInfo};
use stanchion::cache::Shard;
use stanchion::time::Monotonic;
use stanchion::{Error, ErrorKind, Result};

use super::address::{Address, NodeId, SLOTS};
use super::doubts::{Doubt, Doubts, Noticed};
use super::draw::Drawn;
use super::opening::Opening;
use super::place::Place;
use super::renewals::Renewals;
use super::shards::{Followed, Shards};
use super::slots::SlotMap;
use super::sources;
use crate::connect::context::Context;
use crate::connect::masters::{Masters, Observed};
use crate::connect::node::Node;
use crate::connect::supervisor;
use crate::connect::target::Target;
use crate::copies::Group;

pub(in crate::connect) struct Cluster {
    map: RwLock<SlotMap<Node>>,
    opening: Opening,
    seeds: Vec<ConnectionInfo>,
    context: Arc<Context>,
    observed: Arc<Observed>,
    shards: Shards,
    // Differs from process to process, and so spreads them over the nodes.
    spread: u64,
    place: Arc<Place>,
    doubts: Doubts,
    pub(super) renewals: Renewals,
    /// It was logged once that `CLUSTER NODES` is refused.
    pub(super) nodes_refused: AtomicBool,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.read().nodes().map(|(address, ..)| address)).finish()
    }
}

impl Cluster {
    /// Without a map yet.
    pub(super) fn new(
        seeds: Vec<ConnectionInfo>,
        context: &Arc<Context>,
        observed: &Arc<Observed>,
    ) -> (Arc<Self>, Noticed) {
        let (doubts, noticed) = Doubts::new();
        let cluster = Arc::new(Self {
            map: RwLock::default(),
            opening: Opening::default(),
            seeds,
            context: Arc::clone(context),
            observed: Arc::clone(observed),
            shards: Shards::default(),
            spread: sources::number(&*context.environment.random),
            place: Arc::default(),
            doubts,
            renewals: Renewals::default(),
            nodes_refused: AtomicBool::new(false),
        });
        (cluster, noticed)
    }

    pub(super) fn context(&self) -> &Arc<Context> {
        &self.context
    }

    pub(in crate::connect) fn now(&self) -> Monotonic {
        self.context.environment.clock.now()
    }

    pub(super) fn seeds(&self) -> &[ConnectionInfo] {
        &self.seeds
    }

    /// Where the subscriptions are.
    pub(super) fn place(&self) -> &Arc<Place> {
        &self.place
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, SlotMap<Node>> {
        self.map.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, SlotMap<Node>> {
        self.map.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Under the lock of the map, so that the shards are known and the observer has followed before a command is sent by it.
    fn notify(&self, map: &SlotMap<Node>) {
        let target = |(_, id, node): (_, Option<&NodeId>, &Arc<Node>)| match id {
            Some(id) => node.target().clone().of_server(id),
            None => node.target().clone(),
        };
        let targets: Vec<_> = map.nodes().map(target).collect();
        let owner = |slot| map.owner(slot).map(|node| Arc::clone(node.target().label()));
        let followed = self.shards.follow(targets, (0..).take(SLOTS).map(owner));
        if let Some(observer) = self.observed.observer() {
            let copies =
                Group::all().map(|group| group.slots().map(|slot| self.shards.of_slot(slot))).collect();
            let Followed { masters, left } = &followed;
            observer.masters_changed(&Masters { all: masters, left, copies: &copies });
        }
    }

    /// The shard of a slot.
    pub(in crate::connect) fn shard_of(&self, slot: u16) -> Shard {
        self.shards.of_slot(slot)
    }

    /// A command for this slot is about to be sent to another node than its owner.
    pub(super) fn redirected(&self, slot: Option<u16>, to: &Node) {
        let Some((observer, slot)) = self.observed.observer().zip(slot) else { return };
        let (from, to) = (self.shards.of_slot(slot), self.shards.of_master(to.target().label()));
        if from != to {
            observer.redirected(from, to);
        }
    }

    /// Notifies the observer of the masters as they are.
    pub(in crate::connect) fn notify_observer(&self) {
        self.notify(&self.write());
    }

    /// From now on this is the map, with these nodes.
    pub(super) fn set_map(&self, drawn: Drawn, nodes: &HashMap<Address, Arc<Node>>) {
        let mut next = SlotMap::new(drawn, nodes);
        let mut map = self.write();
        next.keep_named(&map, self.now());
        self.notify(&next);
        let before = std::mem::replace(&mut *map, next);
        let replaced = before.replaced(&map);
        let cut_off = map.cut_off().into_iter().cloned().collect::<Vec<_>>();
        drop(map);
        if !cut_off.is_empty() && cut_off.iter().ne(before.cut_off()) {
            tracing::warn!(
                servers = ?cut_off,
                "masters are cut off from the rest of the Cluster: nothing is published there"
            );
        }
        // Without the lock: nodes that are of no map any more end here.
        drop(before);
        for (address, node) in replaced {
            self.renew(&address, &node);
        }
        self.place.map_changed();
    }

    pub(super) fn known(&self, address: &Address) -> Option<Arc<Node>> {
        self.read().node(address)
    }

    fn nodes(&self) -> Vec<Arc<Node>> {
        self.read().nodes().map(|(.., node)| Arc::clone(node)).collect()
    }

    pub(in crate::connect) fn close(&self) {
        self.nodes().iter().for_each(|node| node.close());
    }

    /// Has all nodes pinged at once, and the map drawn anew: a command had no reply within its deadline.
    pub(in crate::connect) fn request_heartbeats(&self) {
        self.nodes().iter().for_each(|node| node.request_heartbeat());
        self.doubt(Doubt::overdue());
    }

    /// The map may be out of date.
    pub(super) fn doubt(&self, doubt: Doubt) {
        self.doubts.cast(doubt);
    }

    /// How to connect to this address: as to the first seed.
    pub(super) fn info(&self, (host, port): &Address) -> ConnectionInfo {
        let first = &self.seeds[0];
        let address = match first.addr() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => ConnectionAddr::TcpTls {
                host: host.clone(),
                port: *port,
                insecure: *insecure,
                tls_params: tls_params.clone(),
            },
            _ => ConnectionAddr::Tcp(host.clone(), *port),
        };
        first.clone().set_addr(address)
    }

    /// The order in which this process prefers nodes where any will do.
    pub(super) fn rank(&self, address: &Address) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.spread, address).hash(&mut hasher);
        hasher.finish()
    }

    /// The node at this address, which a redirect named; connected to if it is not known.
    pub(super) async fn node(&self, address: &Address) -> Result<Arc<Node>> {
        let known = || self.read().named(address);
        if let Some(node) = known() {
            return Ok(node);
        }
        // One at a time for each address: when a slot moves, all calls to it come here together.
        let turn = self.opening.turn(address);
        let _opening = turn.lock().await;
        if let Some(node) = known() {
            return Ok(node);
        }
        let target = Target::one(self.info(address));
        let node = supervisor::open(target, None, &self.context).await?;
        let mut map = self.write();
        let node = map.add(address.clone(), node, self.now());
        // No command has been sent to it yet.
        self.notify(&map);
        Ok(node)
    }

    /// The node for commands of this slot.
    pub(super) fn owner(&self, slot: Option<u16>) -> Result<Arc<Node>> {
        let map = self.read();
        match slot {
            Some(slot) => map.owner(slot),
            None => map.any(self.place.address().as_ref(), Node::is_live, |address| self.rank(address)),
        }
        .ok_or_else(|| {
            self.doubt(Doubt::unserved());
            // Where none can be used, one of them may say what an operator has to do.
            let any = map.any(None, |_| true, |address| self.rank(address));
            if let (None, Some(Err(why))) = (slot, any.map(|node| node.connection()))
                && !why.kind().is_transient()
            {
                return why;
            }
            let missing = match slot {
                Some(_) => "no master of the Cluster serves this slot now",
                None => "no master of the Cluster is connected, or they are cut off from most of the others",
            };
            Error::new(ErrorKind::Unavailable, missing)
        })
    }
}
