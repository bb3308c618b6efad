//! How a Cluster is started.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::super::port::Port;
use super::super::process::{RedisProcess, binary, on_free_port};
use super::super::{Proxy, ServerError, TlsFiles, wait};
use super::bus::Bus;
use super::{Cluster, RANGES, START};

/// What a Cluster is to be like: three masters, and what is asked for here.
#[derive(Debug, Clone)]
#[must_use]
pub struct ClusterSetup {
    binary: Option<PathBuf>,
    replicas: bool,
    node_timeout: Duration,
    tls: Option<TlsFiles>,
    bus: bool,
    args: Vec<String>,
}

impl Default for ClusterSetup {
    fn default() -> Self {
        Self::new()
    }
}

impl ClusterSetup {
    /// Three masters without replicas; a node counts as failed after 3 seconds without a sign of life.
    pub const fn new() -> Self {
        let node_timeout = Duration::from_secs(3);
        Self { binary: None, replicas: false, node_timeout, tls: None, bus: false, args: Vec::new() }
    }

    /// Of this binary; else of the one that `STANCHION_REDIS_SERVER` names, or `redis-server` on the `PATH`.
    pub fn binary(self, binary: impl Into<PathBuf>) -> Self {
        Self { binary: Some(binary.into()), ..self }
    }

    /// With a replica of each master: nodes 3, 4 and 5 are those of 0, 1 and 2.
    pub const fn replicas(mut self) -> Self {
        self.replicas = true;
        self
    }

    /// How long a node may be silent before the others count it as failed (`cluster-node-timeout`). From then
    /// on its replica waits another 0.5 to 1 s for the votes of the masters.
    pub const fn node_timeout(mut self, timeout: Duration) -> Self {
        self.node_timeout = timeout;
        self
    }

    /// The nodes speak TLS as well, and among themselves.
    pub fn tls(self, files: &TlsFiles) -> Self {
        Self { tls: Some(files.clone()), ..self }
    }

    /// A node's bus can be cut off ([`Cluster::cut_bus`]): the nodes reach each other through relays. Not with TLS.
    pub const fn breakable_bus(mut self) -> Self {
        self.bus = true;
        self
    }

    /// Further arguments of every node.
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(ToString::to_string));
        self
    }

    /// Starts it and waits until each node knows and serves all slots, and each replica has what its master has.
    ///
    /// # Cancel safety
    /// Dropping the future ends what was started.
    pub async fn start(&self) -> Result<Cluster, ServerError> {
        let started = self.nodes(|_| None).await?;
        self.join(started, None).await
    }

    /// As [`start`](Self::start), with a proxy in front of each node: the nodes announce the proxies' ports, so
    /// that clients and replicas go through them; the bus does not.
    ///
    /// # Cancel safety
    /// As [`start`](Self::start).
    pub async fn start_behind_proxies(&self) -> Result<(Cluster, Vec<Proxy>), ServerError> {
        let mut proxies = Vec::new();
        for _ in 0..self.size() {
            // The node needs the proxy's port and the proxy the node's; the proxy learns it last.
            proxies.push(Proxy::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 1))).await?);
        }
        let started = self.nodes(|node| proxies.get(node).map(|proxy| proxy.addr().port())).await?;
        for (proxy, node) in proxies.iter().zip(&started.nodes) {
            proxy.forward_to(node.addr());
        }
        let announced = proxies.iter().map(Proxy::addr).collect();
        Ok((self.join(started, Some(announced)).await?, proxies))
    }

    const fn size(&self) -> usize {
        if self.replicas { 2 * RANGES.len() } else { RANGES.len() }
    }

    async fn nodes(&self, announce: impl Fn(usize) -> Option<u16>) -> Result<Started, ServerError> {
        if self.bus && self.tls.is_some() {
            return Err(ServerError::new("who is at the other end of a bus that speaks TLS can't be seen"));
        }
        let binary = self.binary.clone().map_or_else(binary, Ok)?;
        let mut bus = Bus::default();
        let mut nodes = Vec::new();
        for index in 0..self.size() {
            let relay = if self.bus { Some(bus.add().await?) } else { None };
            let args = |port: &Port| self.arguments(port, announce(index), relay);
            let node = match &self.tls {
                Some(files) => RedisProcess::launch_tls(&binary, files, args).await?,
                None => on_free_port(|port| RedisProcess::launch(&binary, port, args)).await?,
            };
            if self.bus {
                bus.leads_to(index, node.bus_addr());
            }
            nodes.push(node);
        }
        Ok(Started { nodes, bus })
    }

    fn arguments(&self, port: &Port, data: Option<u16>, relay: Option<u16>) -> Vec<String> {
        let mut args = vec![
            "--cluster-enabled yes --cluster-config-file nodes.conf".to_owned(),
            format!("--cluster-node-timeout {}", self.node_timeout.as_millis()),
        ];
        if self.tls.is_some() {
            args.push("--tls-cluster yes".to_owned());
        }
        if data.is_some() || relay.is_some() {
            let (data, bus) = (data.unwrap_or(port.number()), relay.unwrap_or(port.bus()));
            args.push(format!("--cluster-announce-ip 127.0.0.1 --cluster-announce-port {data}"));
            args.push(format!("--cluster-announce-bus-port {bus}"));
        }
        let words = args.iter().flat_map(|line| line.split(' ')).map(ToOwned::to_owned);
        words.chain(self.args.iter().cloned()).collect()
    }

    /// Makes one Cluster of the nodes.
    async fn join(&self, started: Started, behind: Option<Vec<SocketAddr>>) -> Result<Cluster, ServerError> {
        let Started { nodes, bus } = started;
        let announced = behind.unwrap_or_else(|| nodes.iter().map(RedisProcess::addr).collect());
        let mut ids = Vec::new();
        for node in &nodes {
            ids.push(node.tell(&["CLUSTER", "MYID"]).await?.text());
        }
        for (index, (node, (first, last))) in nodes.iter().zip(RANGES).enumerate() {
            // An epoch each, or they would have to settle who is who among themselves.
            let epoch = (index + 1).to_string();
            node.tell(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).await?;
            // The range form of this command is newer than 6.2.
            let slots: Vec<String> = (first..=last).map(|slot| slot.to_string()).collect();
            let words: Vec<&str> =
                ["CLUSTER", "ADDSLOTS"].into_iter().chain(slots.iter().map(String::as_str)).collect();
            node.tell(&words).await?;
        }
        for (index, other) in nodes.iter().enumerate().skip(1) {
            let port = other.node_port().number().to_string();
            let bus = bus.port(index).unwrap_or(other.node_port().bus()).to_string();
            nodes[0].tell(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]).await?;
        }
        let cluster = Cluster { nodes, announced, ids, bus };
        for (replica, master) in (RANGES.len()..cluster.nodes.len()).zip(0..) {
            let node = &cluster.nodes[replica];
            let words = ["CLUSTER", "REPLICATE", cluster.id(master)];
            // It has to have heard of its master.
            wait::until(&format!("replica {}", node.addr()), START, || node.tell(&words)).await?;
        }
        cluster.settled().await?;
        Ok(cluster)
    }
}

/// Nodes that do not know each other yet.
struct Started {
    nodes: Vec<RedisProcess>,
    bus: Bus,
}
