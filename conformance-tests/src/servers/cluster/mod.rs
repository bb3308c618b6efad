//! A Redis Cluster of three masters, with replicas if wanted, each a process of the test's own.

mod bus;
mod failover;
mod migrate;
mod setup;
mod view;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use self::bus::Bus;
pub use self::setup::ClusterSetup;
use super::process::RedisProcess;
use super::{Proxy, ServerError, TlsFiles};

/// A master waits two seconds of its own before it says that the Cluster is well; a busy machine takes longer.
const START: Duration = Duration::from_mins(1);
const SLOTS: u16 = 16_384;
/// The slots of the masters: `[first, last]`.
const RANGES: [(u16, u16); 3] = [(0, 5_460), (5_461, 10_922), (10_923, 16_383)];

/// Masters that know each other and serve all slots; with replicas, nodes 3, 4 and 5 begin as those of 0, 1 and 2.
///
/// A node that others can't reach for the node timeout (3 seconds, unless [`ClusterSetup`] says otherwise) counts
/// as failed. Without replicas no slot is then served until it is back (`cluster-require-full-coverage` is on,
/// as by default; a test may set both with `CONFIG SET`); with them its replica takes its place.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<RedisProcess>,
    /// The address that clients connect to.
    announced: Vec<SocketAddr>,
    ids: Vec<String>,
    bus: Bus,
}

impl Cluster {
    /// Starts three masters and waits until each serves and knows all slots.
    ///
    /// # Cancel safety
    /// Dropping the future ends what was started.
    pub async fn start() -> Result<Self, ServerError> {
        ClusterSetup::new().start().await
    }

    /// As [`start`](Self::start), of this binary.
    ///
    /// # Cancel safety
    /// As [`start`](Self::start).
    pub async fn start_binary(binary: &Path) -> Result<Self, ServerError> {
        ClusterSetup::new().binary(binary).start().await
    }

    /// As [`start`](Self::start); the nodes speak TLS as well, and among themselves.
    ///
    /// # Cancel safety
    /// As [`start`](Self::start).
    pub async fn start_tls(files: &TlsFiles) -> Result<Self, ServerError> {
        ClusterSetup::new().tls(files).start().await
    }

    /// As [`start`](Self::start), with a proxy in front of each node: the nodes announce the proxies' ports, so
    /// that clients go through them; the nodes themselves talk directly.
    ///
    /// # Cancel safety
    /// As [`start`](Self::start).
    pub async fn start_behind_proxies() -> Result<(Self, Vec<Proxy>), ServerError> {
        ClusterSetup::new().start_behind_proxies().await
    }

    /// Three masters with a replica each, a node timeout of 2 seconds, and a bus that can be cut.
    ///
    /// # Cancel safety
    /// As [`start`](Self::start).
    pub async fn start_with_replicas() -> Result<Self, ServerError> {
        Self::with_replicas().start().await
    }

    /// What [`start_with_replicas`](Self::start_with_replicas) starts, for more to be asked of it.
    pub const fn with_replicas() -> ClusterSetup {
        ClusterSetup::new().replicas().node_timeout(Duration::from_secs(2)).breakable_bus()
    }

    /// `redis://127.0.0.1:port` of the first node, or of the proxy in front of it.
    pub fn url(&self) -> String {
        format!("redis://{}", self.announced[0])
    }

    /// The same of every node.
    pub fn urls(&self) -> Vec<String> {
        self.announced.iter().map(|addr| format!("redis://{addr}")).collect()
    }

    /// The nodes themselves, never a proxy.
    pub fn nodes(&self) -> &[RedisProcess] {
        &self.nodes
    }

    /// The id of a node.
    pub fn id(&self, node: usize) -> &str {
        &self.ids[node]
    }

    /// The slot of a key, as it stands on the server.
    ///
    /// # Cancel safety
    /// Reads only.
    pub async fn slot_of(&self, key: &str) -> Result<u16, ServerError> {
        let node = self.running().next().map(|(_, node)| node);
        let node = node.ok_or_else(|| ServerError::new("no node runs"))?;
        let reply = node.tell(&["CLUSTER", "KEYSLOT", key]).await?;
        let slot = reply.int().and_then(|slot| u16::try_from(slot).ok());
        slot.ok_or_else(|| ServerError::new(format!("no slot of {key}: {reply:?}")))
    }

    /// The node that has a slot when the Cluster is new, before any is moved.
    pub fn first_owner_of(slot: u16) -> usize {
        RANGES.iter().filter(|(_, last)| slot > *last).count()
    }

    /// Kills a node (SIGKILL) and waits until it is gone.
    pub fn kill(&self, node: usize) -> Result<(), ServerError> {
        self.nodes[node].kill()
    }

    /// Makes a node hang (SIGSTOP): its connections stay open, it answers nobody.
    pub fn pause(&self, node: usize) -> Result<(), ServerError> {
        self.nodes[node].pause()
    }

    /// Lets it go on. A master that has been replaced meanwhile does not know it yet: for a moment it answers as
    /// if nothing had happened.
    pub fn resume(&self, node: usize) -> Result<(), ServerError> {
        self.nodes[node].resume()
    }

    /// Starts a node again, empty, with its id, and waits until all is well: it has its slots, or, where a
    /// replica has taken its place, what its master has.
    ///
    /// A master that is back before its replica was promoted serves its slots empty, and the replica is emptied
    /// after it: as with every Redis without a file.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the node killed or starting; `restart` again.
    pub async fn restart(&self, node: usize) -> Result<(), ServerError> {
        self.nodes[node].restart().await?;
        self.settled().await
    }

    /// Cuts a node off from the bus by which the nodes know of each other, both ways; clients and replicas still
    /// reach it by its data port. After the node timeout the others count it as failed, and it itself refuses to
    /// serve (`CLUSTERDOWN`).
    ///
    /// The relays that stand in front of every bus port do it. They see from the first message of a connection
    /// which node has opened it, so that the way out is cut as well as the way in; no rights are needed.
    ///
    /// # Errors
    /// The Cluster was started without a [breakable bus](ClusterSetup::breakable_bus).
    pub fn cut_bus(&self, node: usize) -> Result<(), ServerError> {
        self.bus.cut(node, self.id(node))
    }

    /// Lets it take part again.
    ///
    /// # Errors
    /// As [`cut_bus`](Self::cut_bus).
    pub fn mend_bus(&self, node: usize) -> Result<(), ServerError> {
        self.bus.mend(node, self.id(node))
    }
}
