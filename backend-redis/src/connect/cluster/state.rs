//! The nodes of a Cluster, and the way to each.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use redis::{ConnectionAddr, ConnectionInfo};
use stanchion::cache::Shard;
use stanchion::{Error, ErrorKind, Result};
use tokio::sync::watch;

use super::shards::{Followed, Shards};
use super::slots::{Address, SLOTS, SlotMap};
use crate::connect::context::Context;
use crate::connect::masters::{Masters, Observed};
use crate::connect::node::Node;
use crate::connect::supervisor;
use crate::connect::target::Target;
use crate::copies::Group;

pub(in crate::connect) struct Cluster {
    map: RwLock<SlotMap<Node>>,
    opening: tokio::sync::Mutex<()>,
    seeds: Vec<ConnectionInfo>,
    context: Arc<Context>,
    observed: Arc<Observed>,
    shards: Shards,
    // Differs from process to process, and so spreads them over the nodes.
    spread: RandomState,
    // Bumped when the map may be out of date; dropped with the Cluster, which ends its refresher.
    stale: watch::Sender<u64>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.read().nodes().map(|(address, _)| address)).finish()
    }
}

impl Cluster {
    /// Without a map yet. The receiver changes when the map is stale, and closes with the Cluster.
    pub(super) fn new(
        seeds: Vec<ConnectionInfo>,
        context: &Arc<Context>,
        observed: &Arc<Observed>,
    ) -> (Arc<Self>, watch::Receiver<u64>) {
        let (stale, noticed) = watch::channel(0);
        let cluster = Arc::new(Self {
            map: RwLock::default(),
            opening: tokio::sync::Mutex::default(),
            seeds,
            context: Arc::clone(context),
            observed: Arc::clone(observed),
            shards: Shards::default(),
            spread: RandomState::new(),
            stale,
        });
        (cluster, noticed)
    }

    pub(super) fn context(&self) -> &Arc<Context> {
        &self.context
    }

    pub(super) fn seeds(&self) -> &[ConnectionInfo] {
        &self.seeds
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, SlotMap<Node>> {
        self.map.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, SlotMap<Node>> {
        self.map.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Under the lock of the map, so that the shards are known and the observer has followed before a command is sent by it.
    fn notify(&self, map: &SlotMap<Node>) {
        let targets: Vec<_> = map.nodes().map(|(_, node)| node.target().clone()).collect();
        let owner = |slot| map.owner(slot).map(|node| Arc::clone(node.target().label()));
        let followed = self.shards.follow(targets, (0..SLOTS).map(owner));
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

    /// From now on this is the map.
    pub(super) fn set_map(&self, drawn: SlotMap<Node>) {
        let mut map = self.write();
        self.notify(&drawn);
        *map = drawn;
    }

    pub(super) fn known(&self, address: &Address) -> Option<Arc<Node>> {
        self.read().node(address)
    }

    fn nodes(&self) -> Vec<Arc<Node>> {
        self.read().nodes().map(|(_, node)| Arc::clone(node)).collect()
    }

    pub(in crate::connect) fn close(&self) {
        self.nodes().iter().for_each(|node| node.close());
    }

    /// Has all nodes pinged at once, and the map drawn anew: a command had no reply within its deadline.
    pub(in crate::connect) fn request_heartbeats(&self) {
        self.nodes().iter().for_each(|node| node.request_heartbeat());
        self.map_is_stale();
    }

    pub(super) fn map_is_stale(&self) {
        self.stale.send_modify(|times| *times += 1);
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
    fn rank(&self, address: &Address) -> u64 {
        self.spread.hash_one(address)
    }

    /// A target that tries the masters that are connected, first the one that gets the commands for any node, then the
    /// others and the seeds, in turn. What is published here is so in one order with what is subscribed to here: from
    /// another node a message may come late, after a subscription that was made later.
    pub(in crate::connect) fn any_target(self: &Arc<Self>) -> Target {
        let weak = Arc::downgrade(self);
        let seeds = self.seeds.clone();
        Target::any("any node of the Cluster", move |attempt| {
            let mut infos = Vec::new();
            if let Some(cluster) = weak.upgrade() {
                let mut known: Vec<_> =
                    cluster.read().nodes().map(|(a, node)| (!node.is_live(), a.clone())).collect();
                known.sort_by_key(|(down, address)| (*down, cluster.rank(address)));
                infos.extend(known.iter().map(|(_, address)| cluster.info(address)));
            }
            infos.extend(seeds.iter().cloned());
            infos.swap_remove(attempt as usize % infos.len())
        })
    }

    /// The node at this address, connected to if it is not known.
    pub(super) async fn node(&self, address: &Address) -> Result<Arc<Node>> {
        if let Some(node) = self.known(address) {
            return Ok(node);
        }
        // One at a time: when a slot moves, all calls to it come here together.
        let _opening = self.opening.lock().await;
        if let Some(node) = self.known(address) {
            return Ok(node);
        }
        let target = Target::one(self.info(address));
        let node = supervisor::open(target, None, &self.context).await?;
        let mut map = self.write();
        let node = map.add(address.clone(), node);
        // No command has been sent to it yet.
        self.notify(&map);
        Ok(node)
    }

    /// The node for commands of this slot.
    pub(super) fn owner(&self, slot: Option<u16>) -> Result<Arc<Node>> {
        let map = self.read();
        match slot {
            Some(slot) => map.owner(slot),
            None => map.any(Node::is_live, |address| self.rank(address)),
        }
        .ok_or_else(|| {
            self.map_is_stale();
            Error::new(ErrorKind::Unavailable, "no master of the Cluster serves this slot now")
        })
    }
}
