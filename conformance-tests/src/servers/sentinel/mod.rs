//! A master with replicas, watched by sentinels, each a process of the test's own.

mod file;
mod setup;
mod view;

use std::net::SocketAddr;
use std::time::Duration;

pub use self::setup::SentinelSetup;
use super::process::RedisProcess;
use super::{Proxy, ServerError};

/// A master that was killed and comes back is made a replica after some ten seconds.
const START: Duration = Duration::from_mins(1);
/// What the sentinels call the master.
const NAME: &str = "main";
/// How many of three sentinels have to agree that the master is down.
const QUORUM: usize = 2;

/// One master, two replicas, and three sentinels that watch over them; two of them have to agree.
///
/// Node 0 begins as the master. A master that does not answer for a second ([`SentinelSetup::down_after`]) is
/// replaced by a replica; that takes two to four seconds in all.
#[derive(Debug)]
pub struct Sentinel {
    nodes: Vec<RedisProcess>,
    /// As the sentinels name the nodes.
    announced: Vec<SocketAddr>,
    sentinels: Vec<RedisProcess>,
    tls: bool,
}

impl Sentinel {
    /// Starts them and waits until the sentinels know of each other and of every node, and the replicas have what
    /// the master has.
    ///
    /// # Cancel safety
    /// Dropping the future ends what was started.
    pub async fn start() -> Result<Self, ServerError> {
        SentinelSetup::new().start().await
    }

    /// As [`start`](Self::start), with a proxy in front of each node; see
    /// [`SentinelSetup::start_behind_proxies`].
    ///
    /// # Cancel safety
    /// As [`start`](Self::start).
    pub async fn start_behind_proxies() -> Result<(Self, Vec<Proxy>), ServerError> {
        SentinelSetup::new().start_behind_proxies().await
    }

    /// What the sentinels call the master.
    pub const fn name(&self) -> &str {
        NAME
    }

    /// `redis://127.0.0.1:port` of each sentinel; `rediss://` where they speak TLS.
    pub fn urls(&self) -> Vec<String> {
        self.sentinels.iter().map(|one| if self.tls { one.tls_url() } else { one.url() }).collect()
    }

    /// The addresses of the nodes, as the sentinels name them; of a node behind a proxy, the proxy's.
    pub fn node_addrs(&self) -> &[SocketAddr] {
        &self.announced
    }

    /// The master and the replicas, whichever is what now; never a proxy.
    pub fn nodes(&self) -> &[RedisProcess] {
        &self.nodes
    }

    /// The sentinels, to kill, pause and restart; a restarted one knows what it knew.
    pub fn sentinels(&self) -> &[RedisProcess] {
        &self.sentinels
    }

    /// Kills a node (SIGKILL) and waits until it is gone.
    pub fn kill(&self, node: usize) -> Result<(), ServerError> {
        self.nodes[node].kill()
    }

    /// Kills the master. Answers which node that was.
    ///
    /// # Cancel safety
    /// Asks first; then kills without waiting.
    pub async fn kill_master(&self) -> Result<usize, ServerError> {
        let master = self.master().await?;
        self.kill(master)?;
        Ok(master)
    }

    /// Makes a node hang (SIGSTOP): its connections stay open, it answers nobody.
    pub fn pause(&self, node: usize) -> Result<(), ServerError> {
        self.nodes[node].pause()
    }

    /// Lets it go on. A master that was replaced meanwhile does not know it: until a sentinel makes it a replica,
    /// some ten seconds later, it answers and takes writes as a master.
    pub fn resume(&self, node: usize) -> Result<(), ServerError> {
        self.nodes[node].resume()
    }

    /// Starts a node again, empty, as what it was when it was killed. A master that was replaced meanwhile is one
    /// again, until a sentinel makes it a replica some ten seconds later; [`settled`](Self::settled) waits for
    /// that. One that is back before it is replaced is followed by its replicas, which are empty then as well.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the node killed or starting; `restart` again.
    pub async fn restart(&self, node: usize) -> Result<(), ServerError> {
        self.nodes[node].restart().await
    }
}
