//! What the nodes of a Cluster think of it, and waiting until they agree.

use super::super::process::RedisProcess;
use super::super::{Reply, ServerError, replication, wait};
use super::{Cluster, SLOTS, START};

/// Who serves a range of slots, in one node's opinion.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) first: u16,
    pub(super) last: u16,
    pub(super) port: u16,
    pub(super) id: String,
}

pub(super) async fn owners(node: &RedisProcess) -> Result<Vec<Owner>, ServerError> {
    let reply = node.tell(&["CLUSTER", "SLOTS"]).await?;
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

impl Cluster {
    /// The nodes that run and are not cut off.
    pub(super) fn running(&self) -> impl Iterator<Item = (usize, &RedisProcess)> {
        let takes_part =
            |(index, node): &(usize, &RedisProcess)| node.is_running() && !self.bus.is_cut(*index);
        self.nodes.iter().enumerate().filter(takes_part)
    }

    /// The node that serves a slot, if all who run and take part agree.
    ///
    /// # Errors
    /// They don't, or the slot is nobody's.
    ///
    /// # Cancel safety
    /// Reads only.
    pub async fn master_of(&self, slot: u16) -> Result<usize, ServerError> {
        let mut named = Vec::new();
        for (_, node) in self.running() {
            let owners = owners(node).await?;
            let owner = owners.iter().find(|owner| (owner.first..=owner.last).contains(&slot));
            let index = owner.and_then(|owner| self.ids.iter().position(|id| *id == owner.id));
            named.push(index.ok_or_else(|| ServerError::new(format!("slot {slot} is nobody's")))?);
        }
        match named.split_first() {
            Some((first, rest)) if rest.iter().all(|other| other == first) => Ok(*first),
            _ => Err(ServerError::new(format!("slot {slot} is served by {named:?}"))),
        }
    }

    /// The replicas, of those that run and take part, of the node that serves a slot.
    ///
    /// # Errors
    /// As [`master_of`](Self::master_of).
    ///
    /// # Cancel safety
    /// Reads only.
    pub async fn replicas_of(&self, slot: u16) -> Result<Vec<usize>, ServerError> {
        let master = self.id(self.master_of(slot).await?);
        let mut replicas = Vec::new();
        for (index, node) in self.running() {
            // Its own line: id, address, flags, and whose replica it is.
            let nodes = node.tell(&["CLUSTER", "NODES"]).await?.text();
            let me = nodes.lines().find(|line| line.contains("myself"));
            if me.and_then(|line| line.split(' ').nth(3)) == Some(master) {
                replicas.push(index);
            }
        }
        Ok(replicas)
    }

    /// Waits until every node that runs and takes part says that this node serves the slot.
    ///
    /// # Cancel safety
    /// Reads only.
    pub async fn served_by(&self, slot: u16, node: usize) -> Result<(), ServerError> {
        wait::until(&format!("slot {slot}"), START, || async {
            match self.master_of(slot).await? {
                master if master == node => Ok(()),
                other => Err(ServerError::new(format!("node {other} serves it"))),
            }
        })
        .await
    }

    /// Waits until every node that runs and takes part says that all is well and that it knows the owner of every
    /// slot, and each replica among them has what its master has.
    ///
    /// # Cancel safety
    /// Reads only.
    pub async fn settled(&self) -> Result<(), ServerError> {
        for (_, node) in self.running() {
            let what = format!("Cluster node {}", node.addr());
            wait::until(&what, START, || self.is_settled(node)).await?;
        }
        let running: Vec<&RedisProcess> = self.running().map(|(_, node)| node).collect();
        for node in &running {
            let what = format!("the replica on {}", node.addr());
            wait::until(&what, START, || async {
                let Some(master) = replication::master_port(node).await? else {
                    return Ok(());
                };
                let mut nodes = self.nodes.iter().zip(&self.announced);
                let is_it = |(node, addr): &(&RedisProcess, &std::net::SocketAddr)| {
                    [addr.port(), node.node_port().number()].contains(&master)
                };
                let (master, _) =
                    nodes.find(is_it).ok_or_else(|| ServerError::new("its master is not ours"))?;
                replication::in_sync(master, node).await
            })
            .await?;
        }
        Ok(())
    }

    async fn is_settled(&self, node: &RedisProcess) -> Result<(), ServerError> {
        let info = node.tell(&["CLUSTER", "INFO"]).await?.text();
        let known = format!("cluster_known_nodes:{}", self.nodes.len());
        for sign in ["cluster_state:ok", "cluster_slots_ok:16384", &known] {
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
