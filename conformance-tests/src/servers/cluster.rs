//! A Redis Cluster of three masters, each a process of the test's own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use super::port::Port;
use super::process::{RedisProcess, binary};
use super::{Proxy, Reply, ServerError, TlsFiles, link, wait};

/// A master waits two seconds of its own before it says that the Cluster is well; a busy machine takes longer.
const START: Duration = Duration::from_mins(1);
const SLOTS: u16 = 16_384;
/// The slots of the masters: `[first, last]`.
const RANGES: [(u16, u16); 3] = [(0, 5_460), (5_461, 10_922), (10_923, 16_383)];
const SETTINGS: &str = "--cluster-enabled yes --cluster-config-file nodes.conf --cluster-node-timeout 3000";

/// Three masters without replicas that know each other and serve all slots.
///
/// A node that others can't reach for 3 seconds counts as failed; then, until it is back, no slot is served
/// (`cluster-require-full-coverage` is on, as by default; a test may set both with `CONFIG SET`).
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<RedisProcess>,
    /// The address that clients connect to.
    announced: Vec<SocketAddr>,
    ids: Vec<String>,
}

impl Cluster {
    /// Starts three masters and waits until each serves and knows all slots.
    ///
    /// # Cancel safety
    /// Dropping the future ends what was started.
    pub async fn start() -> Result<Self, ServerError> {
        Self::start_binary(&binary()?).await
    }

    /// As [`start`](Self::start), of this binary.
    ///
    /// # Cancel safety
    /// As [`start`](Self::start).
    pub async fn start_binary(binary: &Path) -> Result<Self, ServerError> {
        let mut nodes = Vec::new();
        for _ in RANGES {
            nodes.push(node(binary, None).await?);
        }
        let announced = nodes.iter().map(RedisProcess::addr).collect();
        Self::join(nodes, announced).await
    }

    /// As [`start`](Self::start); the nodes speak TLS as well, and among themselves.
    ///
    /// # Cancel safety
    /// As [`start`](Self::start).
    pub async fn start_tls(files: &TlsFiles) -> Result<Self, ServerError> {
        let (binary, mut nodes) = (binary()?, Vec::new());
        let args = || format!("{SETTINGS} --tls-cluster yes").split(' ').map(ToOwned::to_owned).collect();
        for _ in RANGES {
            nodes.push(RedisProcess::launch_tls(&binary, files, args).await?);
        }
        let announced = nodes.iter().map(RedisProcess::addr).collect();
        Self::join(nodes, announced).await
    }

    /// As [`start`](Self::start), with a proxy in front of each node: the nodes announce the proxies' ports, so
    /// that clients go through them; the nodes themselves talk directly.
    ///
    /// # Cancel safety
    /// As [`start`](Self::start).
    pub async fn start_behind_proxies() -> Result<(Self, Vec<Proxy>), ServerError> {
        let (mut nodes, mut proxies) = (Vec::new(), Vec::new());
        for _ in RANGES {
            // The node needs the proxy's port and the proxy the node's; the proxy learns it last.
            let proxy = Proxy::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 1))).await?;
            let node = node(&binary()?, Some(proxy.addr().port())).await?;
            proxy.forward_to(node.addr());
            nodes.push(node);
            proxies.push(proxy);
        }
        let announced = proxies.iter().map(Proxy::addr).collect();
        Ok((Self::join(nodes, announced).await?, proxies))
    }

    async fn join(nodes: Vec<RedisProcess>, announced: Vec<SocketAddr>) -> Result<Self, ServerError> {
        let mut ids = Vec::new();
        for (index, (node, (first, last))) in nodes.iter().zip(RANGES).enumerate() {
            // An epoch each, or they would have to settle who is who among themselves.
            let epoch = (index + 1).to_string();
            link::tell(node.addr(), &["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).await?;
            // The range form of this command is newer than 6.2.
            let slots: Vec<String> = (first..=last).map(|slot| slot.to_string()).collect();
            let words: Vec<&str> =
                ["CLUSTER", "ADDSLOTS"].into_iter().chain(slots.iter().map(String::as_str)).collect();
            link::tell(node.addr(), &words).await?;
            ids.push(link::tell(node.addr(), &["CLUSTER", "MYID"]).await?.text());
        }
        for other in &nodes[1..] {
            let (port, bus) = (other.node_port().number().to_string(), other.node_port().bus().to_string());
            link::tell(nodes[0].addr(), &["CLUSTER", "MEET", "127.0.0.1", &port, &bus]).await?;
        }
        let cluster = Self { nodes, announced, ids };
        cluster.settled().await?;
        Ok(cluster)
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
        let reply = link::tell(self.nodes[0].addr(), &["CLUSTER", "KEYSLOT", key]).await?;
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

    /// Starts a node again, empty, with its id and its slots, and waits until all serve.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the node killed or starting; `restart` again.
    pub async fn restart(&self, node: usize) -> Result<(), ServerError> {
        self.nodes[node].restart().await?;
        self.settled().await
    }

    /// Waits until every node says that all is well and that it knows the owner of every slot.
    ///
    /// # Cancel safety
    /// Reads only.
    pub async fn settled(&self) -> Result<(), ServerError> {
        for node in &self.nodes {
            let what = format!("Cluster node {}", node.addr());
            wait::until(&what, START, || self.is_settled(node)).await?;
        }
        Ok(())
    }

    async fn is_settled(&self, node: &RedisProcess) -> Result<(), ServerError> {
        let info = link::tell(node.addr(), &["CLUSTER", "INFO"]).await?.text();
        for sign in ["cluster_state:ok", "cluster_slots_ok:16384", "cluster_known_nodes:3"] {
            if !info.lines().any(|line| line.trim() == sign) {
                return Err(ServerError::new(format!("no {sign} in {}", info.replace("\r\n", " "))));
            }
        }
        let owners = owners(node).await?;
        let (known, others): (Vec<_>, Vec<_>) =
            owners.iter().partition(|owner| self.announced.iter().any(|addr| addr.port() == owner.port));
        if let Some(other) = others.first() {
            return Err(ServerError::new(format!("port {} is not ours", other.port)));
        }
        let covered: u32 = known.iter().map(|owner| u32::from(owner.last - owner.first) + 1).sum();
        if covered == u32::from(SLOTS) { Ok(()) } else { Err(ServerError::new(format!("{covered} slots"))) }
    }
}

async fn node(binary: &Path, announce: Option<u16>) -> Result<RedisProcess, ServerError> {
    let mut failed = None;
    for _ in 0..5 {
        let port = Port::claim()?;
        let started = RedisProcess::launch(binary, port, |port| {
            let announced = announce.map(|proxy| {
                let bus = port.bus();
                format!(
                    " --cluster-announce-ip 127.0.0.1 --cluster-announce-port {proxy} \
                     --cluster-announce-bus-port {bus}"
                )
            });
            let args = format!("{SETTINGS}{}", announced.unwrap_or_default());
            args.split(' ').map(ToOwned::to_owned).collect()
        });
        match started.await {
            Err(error) if error.to_string().contains("Address already in use") => failed = Some(error),
            done => return done,
        }
    }
    Err(failed.unwrap_or_else(|| ServerError::new("no port was free")))
}

/// Who serves a range of slots, in one node's opinion.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) first: u16,
    pub(super) last: u16,
    pub(super) port: u16,
    pub(super) id: String,
}

pub(super) async fn owners(node: &RedisProcess) -> Result<Vec<Owner>, ServerError> {
    let reply = link::tell(node.addr(), &["CLUSTER", "SLOTS"]).await?;
    let number = |reply: Option<&Reply>| reply.and_then(Reply::int).and_then(|n| u16::try_from(n).ok());
    let read = |range: &Reply| {
        let [first, last, master, ..] = range.items() else {
            return None;
        };
        Some(Owner {
            first: number(Some(first))?,
            last: number(Some(last))?,
            port: number(master.items().get(1))?,
            id: master.items().get(2)?.text(),
        })
    };
    let owners = reply.items().iter().map(read).collect::<Option<Vec<_>>>();
    owners.ok_or_else(|| ServerError::new(format!("no slot map: {reply:?}")))
}
