//! How servers under Sentinel are started.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::process::{RedisProcess, binary};
use super::super::{Proxy, ServerError, TlsFiles, replication, wait};
use super::file::{self, Kind, words};
use super::{NAME, QUORUM, START, Sentinel};

const NODES: usize = 3;
const SENTINELS: usize = 3;

/// What a master, two replicas and three sentinels are to be like.
#[derive(Debug, Clone)]
#[must_use]
pub struct SentinelSetup {
    binary: Option<PathBuf>,
    down_after: Duration,
    failover_timeout: Duration,
    password: Option<String>,
    sentinel_password: Option<String>,
    tls: Option<TlsFiles>,
    args: Vec<String>,
}

impl Default for SentinelSetup {
    fn default() -> Self {
        Self::new()
    }
}

impl SentinelSetup {
    /// A node counts as down after 1 second of silence; a failover that gets nowhere is given up after 5.
    pub const fn new() -> Self {
        Self {
            binary: None,
            down_after: Duration::from_secs(1),
            failover_timeout: Duration::from_secs(5),
            password: None,
            sentinel_password: None,
            tls: None,
            args: Vec::new(),
        }
    }

    /// Of this binary; else of the one that `STANCHION_REDIS_SERVER` names, or `redis-server` on the `PATH`.
    pub fn binary(self, binary: impl Into<PathBuf>) -> Self {
        Self { binary: Some(binary.into()), ..self }
    }

    /// How long a node may be silent before a sentinel counts it as down (`down-after-milliseconds`).
    pub const fn down_after(mut self, time: Duration) -> Self {
        self.down_after = time;
        self
    }

    /// How long a step of a failover may take; after twice as long it is tried again (`failover-timeout`).
    pub const fn failover_timeout(mut self, time: Duration) -> Self {
        self.failover_timeout = time;
        self
    }

    /// The nodes want this password of the default user.
    pub fn password(self, password: &str) -> Self {
        Self { password: Some(password.to_owned()), ..self }
    }

    /// The sentinels want this password of the default user.
    pub fn sentinel_password(self, password: &str) -> Self {
        Self { sentinel_password: Some(password.to_owned()), ..self }
    }

    /// Nodes and sentinels speak TLS as well, and among themselves; the sentinels name the TLS ports.
    pub fn tls(self, files: &TlsFiles) -> Self {
        Self { tls: Some(files.clone()), ..self }
    }

    /// Further arguments of every node.
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(ToString::to_string));
        self
    }

    /// Starts them and waits until the sentinels know of each other and of every node, and the replicas have what
    /// the master has.
    ///
    /// # Cancel safety
    /// Dropping the future ends what was started.
    pub async fn start(&self) -> Result<Sentinel, ServerError> {
        self.start_as(None).await
    }

    /// As [`start`](Self::start), with a proxy in front of each node: clients, replicas and sentinels all go
    /// through it. The sentinels have none.
    ///
    /// # Cancel safety
    /// As [`start`](Self::start).
    pub async fn start_behind_proxies(&self) -> Result<(Sentinel, Vec<Proxy>), ServerError> {
        if self.tls.is_some() {
            return Err(ServerError::new("a proxy can't see what goes past by TLS"));
        }
        let mut proxies = Vec::new();
        for _ in 0..NODES {
            // The node needs the proxy's port and the proxy the node's; the proxy learns it last.
            proxies.push(Proxy::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 1))).await?);
        }
        let sentinel = self.start_as(Some(&proxies)).await?;
        Ok((sentinel, proxies))
    }

    async fn start_as(&self, proxies: Option<&[Proxy]>) -> Result<Sentinel, ServerError> {
        let binary = self.binary.clone().map_or_else(binary, Ok)?;
        let mut nodes: Vec<RedisProcess> = Vec::new();
        let mut announced: Vec<SocketAddr> = Vec::new();
        for index in 0..NODES {
            let proxy = proxies.and_then(|proxies| proxies.get(index));
            let node = self.node(&binary, proxy.map(Proxy::addr), announced.first().copied()).await?;
            if let Some(proxy) = proxy {
                proxy.forward_to(node.addr());
            }
            announced.push(proxy.map_or_else(|| node.node_port().addr(), Proxy::addr));
            nodes.push(node);
        }
        // A sentinel asks the master for its replicas when it starts, and then every ten seconds only.
        for replica in &nodes[1..] {
            let what = format!("the replica on {}", replica.addr());
            wait::until(&what, START, || replication::in_sync(&nodes[0], replica)).await?;
        }
        let mut sentinels = Vec::new();
        for _ in 0..SENTINELS {
            sentinels.push(self.sentinel(&binary, announced[0]).await?);
        }
        let sentinel = Sentinel { nodes, announced, sentinels, tls: self.tls.is_some() };
        sentinel.settled().await?;
        Ok(sentinel)
    }

    async fn node(
        &self,
        binary: &Path,
        announce: Option<SocketAddr>,
        master: Option<SocketAddr>,
    ) -> Result<RedisProcess, ServerError> {
        // A replica that the master has to send everything gets it at once, not after five seconds.
        let mut settings = words(&["--repl-diskless-sync-delay", "0"]);
        if let Some(addr) = announce {
            let (ip, port) = (addr.ip().to_string(), addr.port().to_string());
            settings.extend(words(&["--replica-announce-ip", &ip, "--replica-announce-port", &port]));
        }
        if let Some(password) = &self.password {
            settings.extend(words(&["--requirepass", password, "--masterauth", password]));
        }
        if let Some(addr) = master {
            settings.extend(words(&["--replicaof", &addr.ip().to_string(), &addr.port().to_string()]));
        }
        settings.extend_from_slice(&self.args);
        let node = file::start(binary, Kind::Node, self.tls.as_ref(), &settings).await?;
        Ok(node.with_password(self.password.as_ref()))
    }

    async fn sentinel(&self, binary: &Path, master: SocketAddr) -> Result<RedisProcess, ServerError> {
        let of_master =
            |name: &str, values: &[&str]| [words(&["--sentinel", name, NAME]), words(values)].concat();
        let time = |time: Duration| time.as_millis().to_string();
        let (ip, port, quorum) = (master.ip().to_string(), master.port().to_string(), QUORUM.to_string());
        let mut settings = [
            of_master("monitor", &[&ip, &port, &quorum]),
            of_master("down-after-milliseconds", &[&time(self.down_after)]),
            of_master("failover-timeout", &[&time(self.failover_timeout)]),
            // All replicas at once.
            of_master("parallel-syncs", &[&NODES.to_string()]),
        ]
        .concat();
        if let Some(password) = &self.password {
            settings.extend(of_master("auth-pass", &[password]));
        }
        if let Some(password) = &self.sentinel_password {
            settings.extend(words(&["--requirepass", password, "--sentinel", "sentinel-pass", password]));
        }
        let sentinel = file::start(binary, Kind::Sentinel, self.tls.as_ref(), &settings).await?;
        Ok(sentinel.with_password(self.sentinel_password.as_ref()))
    }
}
