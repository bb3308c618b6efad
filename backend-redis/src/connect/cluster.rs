//! A Cluster: a supervised connection to each master, and the map of slots to masters.
//!
//! The client crate's own cluster connection is not used: it repeats commands by itself, and sends a batch
//! as one command per key. Here a redirected command is repeated because the server said that it had done
//! nothing, and for no other reason.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{join_all, try_join_all};
use redis::{Cmd, ConnectionAddr, ConnectionInfo, Pipeline, Value};
use stanchion::key::Key;
use stanchion::random::jittered;
use stanchion::{Error, ErrorKind, Result};
use tokio::sync::watch;

use super::{Context, Node, Observer, Route, Routed, Target, get, held, observer, slot};
use crate::config::RedisConfig;
use crate::error::{self, Access, Repeat};
use crate::reply::{self, SlotRange};

const SLOTS: usize = 16_384;
/// How often one command follows redirections. A slot moves once at a time; more means that the map is wrong
/// somewhere.
const REDIRECTIONS: usize = 8;
const REFRESH_EVERY: Duration = Duration::from_secs(30);

type Address = (String, u16);

/// Who serves which slot.
#[derive(Default)]
struct Map {
    nodes: HashMap<Address, Arc<Node>>,
    owners: Vec<Option<Arc<Node>>>,
}

pub(super) struct Cluster {
    map: RwLock<Map>,
    opening: tokio::sync::Mutex<()>,
    seeds: Vec<ConnectionInfo>,
    context: Arc<Context>,
    observer: Arc<Observer>,
    // Differs from process to process, and so spreads them over the nodes.
    spread: RandomState,
    // Bumped when the map may be out of date; dropped with the Cluster, which ends its refresher.
    stale: watch::Sender<u64>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.read().nodes.keys()).finish()
    }
}

impl Cluster {
    pub(super) async fn open(
        config: &RedisConfig,
        context: &Arc<Context>,
        observer: &Arc<Observer>,
    ) -> Result<Arc<Self>> {
        let (stale, watched) = watch::channel(0);
        let cluster = Arc::new(Self {
            map: RwLock::default(),
            opening: tokio::sync::Mutex::default(),
            seeds: config.addresses.clone(),
            context: Arc::clone(context),
            observer: Arc::clone(observer),
            spread: RandomState::new(),
            stale,
        });
        cluster.refresh().await?;
        let refreshing = refresher(Arc::downgrade(&cluster), watched, Arc::clone(context));
        context.environment.tasks.spawn(refreshing)?;
        Ok(cluster)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Map> {
        self.map.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Map> {
        self.map.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Under the lock of the map, so that what is told is what is asked.
    fn tell(&self, map: &Map) {
        if let Some(masters) = observer(&self.observer) {
            let targets: Vec<_> = map.nodes.values().map(|node| node.target().clone()).collect();
            masters.are(&targets);
        }
    }

    pub(super) fn tell_masters(&self) {
        self.tell(&self.write());
    }

    fn known(&self, address: &Address) -> Option<Arc<Node>> {
        self.read().nodes.get(address).cloned()
    }

    fn nodes(&self) -> Vec<Arc<Node>> {
        self.read().nodes.values().cloned().collect()
    }

    pub(super) fn close(&self) {
        self.nodes().iter().for_each(|node| node.close());
    }

    /// A command had no answer within its deadline; a ping of each node tells which links are dead.
    pub(super) fn suspect(&self) {
        self.nodes().iter().for_each(|node| node.suspect());
        self.map_is_stale();
    }

    fn map_is_stale(&self) {
        self.stale.send_modify(|times| *times += 1);
    }

    fn info(&self, (host, port): &Address) -> ConnectionInfo {
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

    /// A target that tries the masters that are connected, the one first to which goes what any node takes, then the
    /// others and the seeds, in turn. What is published here is so in one order with what is subscribed to here: from
    /// another node a message may come late, after a subscription that was made later.
    pub(super) fn any_target(self: &Arc<Self>) -> Target {
        let weak = Arc::downgrade(self);
        let seeds = self.seeds.clone();
        Target::any("any node of the Cluster", move |attempt| {
            let mut infos = Vec::new();
            if let Some(cluster) = weak.upgrade() {
                let mut known: Vec<_> =
                    cluster.read().nodes.iter().map(|(a, node)| (!node.is_live(), a.clone())).collect();
                known.sort_by_key(|(away, address)| (*away, cluster.rank(address)));
                infos.extend(known.iter().map(|(_, address)| cluster.info(address)));
            }
            infos.extend(seeds.iter().cloned());
            infos.swap_remove(attempt as usize % infos.len())
        })
    }

    /// Asks nodes for the map until one answers, and connects to masters that are new.
    async fn refresh(self: &Arc<Self>) -> Result<()> {
        let mut last = Error::new(ErrorKind::Unavailable, "no node of the Cluster answered");
        let mut asked: Vec<Address> =
            self.read().nodes.iter().filter(|(_, n)| n.is_live()).map(|(a, _)| a.clone()).collect();
        asked.sort_unstable();
        asked.extend(self.seeds.iter().filter_map(|info| address_of(info.addr())));
        for address in asked {
            match self.ask_for_map(&address).await {
                Ok(ranges) => match self.adopt(ranges).await {
                    Ok(()) => return Ok(()),
                    Err(error) => last = error,
                },
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn ask_for_map(&self, address: &Address) -> Result<Vec<SlotRange>> {
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        let asking = async {
            if let Some(node) = self.known(address) {
                return node.command(&command, Access::Read).await;
            }
            // A node that is no master gets no lasting connection.
            let target = Target::one(self.info(address));
            target.ask_once(&command, &self.context).await
        };
        let patience = 2 * self.context.deadline;
        let value = tokio::time::timeout(patience, asking)
            .await
            .map_err(|_| error::timed_out(patience, Access::Read))??;
        reply::slot_ranges(&value, &address.0).ok_or_else(|| error::unexpected_reply(Access::Read))
    }

    async fn adopt(self: &Arc<Self>, ranges: Vec<SlotRange>) -> Result<()> {
        if ranges.is_empty() {
            return Err(Error::new(ErrorKind::Unavailable, "the Cluster serves no slot yet"));
        }
        let masters: HashSet<&Address> = ranges.iter().map(|(_, _, address)| address).collect();
        // A master that is away keeps nobody from the others.
        let opened = masters.into_iter().map(|address| async move {
            if let Some(node) = self.known(address) {
                return Ok((address.clone(), node));
            }
            let target = Target::one(self.info(address));
            let node = Node::open_or_wait(target, None, &self.context).await?;
            Ok::<_, Error>((address.clone(), node))
        });
        let nodes: HashMap<_, _> = try_join_all(opened).await?.into_iter().collect();
        let mut owners = vec![None; SLOTS];
        for (first, last, address) in &ranges {
            for owner in owners.iter_mut().take(usize::from(*last) + 1).skip(usize::from(*first)) {
                *owner = nodes.get(address).cloned();
            }
        }
        let drawn = Map { nodes, owners };
        let mut map = self.write();
        self.tell(&drawn);
        *map = drawn;
        Ok(())
    }

    /// The connection to this address, made if there is none.
    async fn node(&self, address: &Address) -> Result<Arc<Node>> {
        if let Some(node) = self.known(address) {
            return Ok(node);
        }
        // One at a time: when a slot moves, all calls to it come here together.
        let _opening = self.opening.lock().await;
        if let Some(node) = self.known(address) {
            return Ok(node);
        }
        let target = Target::one(self.info(address));
        let node = Node::open(target, None, &self.context).await?;
        let mut map = self.write();
        let node = Arc::clone(map.nodes.entry(address.clone()).or_insert(node));
        // It has not been asked anything yet.
        self.tell(&map);
        Ok(node)
    }

    fn owner(&self, slot: Option<u16>) -> Result<Arc<Node>> {
        let map = self.read();
        match slot {
            Some(slot) => map.owners.get(usize::from(slot)).cloned().flatten(),
            // Any node will do: one that is connected, the same each time so that an order is kept.
            None => map
                .nodes
                .iter()
                .filter(|(_, node)| node.is_live())
                .min_by_key(|(address, _)| self.rank(address))
                .map(|(_, n)| Arc::clone(n)),
        }
        .ok_or_else(|| {
            self.map_is_stale();
            Error::new(ErrorKind::Unavailable, "no master of the Cluster serves this slot now")
        })
    }

    /// One command at the master of its slot, following redirections.
    pub(super) async fn command(&self, routed: &Routed, access: Access) -> Result<Value> {
        let node = self.owner(routed.route.slot)?;
        match node.command(&routed.command, access).await {
            // Seldom, and large: on the heap, so that it is no part of every other call's future.
            answer @ Err(_) => {
                Box::pin(self.follow(answer, routed.route, &routed.command, access, node)).await
            }
            done => done,
        }
    }

    /// Reads a key at the master of its slot, together with others that are read there at the same time.
    pub(super) async fn get(&self, key: &Key, deadline: Duration) -> Result<Option<Bytes>> {
        let clock = &self.context.environment.clock;
        let (started, stored) = (clock.now(), self.context.layout.key(key));
        let slot = Some(slot(stored.as_bytes()));
        let node = self.owner(slot)?;
        let error = match node.get(key, deadline).await {
            Ok(held) => return Ok(held),
            Err(error) => error,
        };
        // What has moved is followed singly.
        let command = get(&stored);
        let route = Route { slot, patient: true };
        let following = Box::pin(self.follow(Err(error), route, &command, Access::Read, node));
        let left = deadline.saturating_sub(clock.now().saturating_since(started));
        match tokio::time::timeout(left, following).await {
            Ok(answer) => held(answer?),
            Err(_) => Err(error::timed_out(deadline, Access::Read)),
        }
    }

    /// What became of a command, after all redirections. `node` is the one that answered.
    async fn follow(
        &self,
        mut answer: Result<Value>,
        route: Route,
        command: &Cmd,
        access: Access,
        mut node: Arc<Node>,
    ) -> Result<Value> {
        for _ in 0..REDIRECTIONS {
            let error = match answer {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            answer = match Repeat::of(&error) {
                Some(Repeat::At(address)) => {
                    self.map_is_stale();
                    node = self.redirected(address, &node).await?;
                    node.command(command, access).await
                }
                Some(Repeat::Asking(address)) => {
                    let mut pipeline = Pipeline::with_capacity(2);
                    pipeline.add_command(redis::cmd("ASKING"));
                    pipeline.add_command(command.clone());
                    node = self.redirected(address, &node).await?;
                    let replies = node.packed(&pipeline, access).await;
                    replies.into_iter().nth(1).unwrap_or_else(|| Err(error::unexpected_reply(access)))
                }
                Some(Repeat::Later) if route.patient => {
                    let pause = jittered(&*self.context.environment.random, Duration::from_millis(20));
                    self.context.environment.sleep(pause).await;
                    node = self.owner(route.slot)?;
                    node.command(command, access).await
                }
                Some(Repeat::Later) => return Err(error),
                Some(Repeat::WithSource) | None => {
                    if error.kind() == ErrorKind::Unavailable {
                        // A failover may have given the slot to another master.
                        self.map_is_stale();
                    }
                    return Err(error);
                }
            };
        }
        answer
    }

    /// The node of a redirection; without a host it is another port of the node that answered.
    async fn redirected(&self, (host, port): &Address, answered: &Node) -> Result<Arc<Node>> {
        let host = if host.is_empty() { answered.target().host() } else { host };
        self.node(&(host.to_owned(), *port)).await
    }

    /// Many commands, one write per master, the replies in their order.
    pub(super) async fn batch(&self, commands: Vec<Routed>, access: Access) -> Vec<Result<Value>> {
        let count = commands.len();
        let mut replies = Vec::with_capacity(count);
        let mut groups: Vec<Group> = Vec::new();
        for (index, Routed { route, command }) in commands.into_iter().enumerate() {
            match self.owner(route.slot) {
                Ok(node) => {
                    let found = groups.iter().position(|group| Arc::ptr_eq(&group.node, &node));
                    let place = found.unwrap_or_else(|| {
                        groups.push(Group { node, pipeline: Pipeline::new(), members: Vec::new() });
                        groups.len() - 1
                    });
                    groups[place].pipeline.add_command(command);
                    groups[place].members.push((index, route));
                }
                Err(error) => replies.push((index, Err(error))),
            }
        }
        let written = groups.iter().map(|group| async move {
            let answers = group.node.packed(&group.pipeline, access).await;
            let mut replies = Vec::with_capacity(answers.len());
            let sent = group.members.iter().zip(group.pipeline.cmd_iter());
            for ((&(index, route), command), answer) in sent.zip(answers) {
                // Only what has moved since the map was drawn is sent singly, and in order.
                let reply = match answer {
                    Err(_) => {
                        let node = Arc::clone(&group.node);
                        Box::pin(self.follow(answer, route, command, access, node)).await
                    }
                    done => done,
                };
                replies.push((index, reply));
            }
            replies
        });
        replies.extend(join_all(written).await.into_iter().flatten());
        replies.sort_unstable_by_key(|(index, _)| *index);
        replies.into_iter().map(|(_, reply)| reply).collect()
    }
}

/// The commands of a batch for one master, with their places in the batch.
struct Group {
    node: Arc<Node>,
    pipeline: Pipeline,
    members: Vec<(usize, Route)>,
}

fn address_of(address: &ConnectionAddr) -> Option<Address> {
    match address {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            Some((host.clone(), *port))
        }
        _ => None,
    }
}

/// Redraws the map when it is stale, and now and then.
async fn refresher(
    cluster: std::sync::Weak<Cluster>,
    mut stale: watch::Receiver<u64>,
    context: Arc<Context>,
) {
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
            // However many commands fail in the meantime, once in a while is enough.
            environment.sleep(jittered(&*environment.random, Duration::from_millis(200))).await;
        }
    };
    tokio::select! {
        () = closing => {}
        () = refreshing => {}
    }
}
