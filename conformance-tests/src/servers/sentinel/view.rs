//! What the sentinels say, and waiting until they agree.

use std::time::Duration;

use super::super::process::RedisProcess;
use super::super::{Reply, ServerError, replication, wait};
use super::{NAME, QUORUM, START, Sentinel};

/// Sentinels give a failover up that gets nowhere, as on a busy machine, and don't begin it again by themselves.
const TRY: Duration = Duration::from_secs(12);

impl Sentinel {
    /// The node that is the master, as two sentinels at least say and none denies.
    ///
    /// # Errors
    /// They say otherwise.
    ///
    /// # Cancel safety
    /// Reads only.
    pub async fn master(&self) -> Result<usize, ServerError> {
        let mut named = Vec::new();
        for sentinel in self.sentinels.iter().filter(|one| one.is_running()) {
            let reply = sentinel.tell(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]).await?;
            let port = reply.items().get(1).and_then(|port| port.text().parse().ok());
            let index = self.announced.iter().position(|addr| Some(addr.port()) == port);
            named.push(
                index.ok_or_else(|| ServerError::new(format!("a master that is not ours: {reply:?}")))?,
            );
        }
        match named.split_first() {
            Some((first, rest)) if named.len() >= QUORUM && rest.iter().all(|other| other == first) => {
                Ok(*first)
            }
            _ => Err(ServerError::new(format!("the sentinels name {named:?}"))),
        }
    }

    /// Has the sentinels replace the master (`SENTINEL FAILOVER`) and waits until they, and the nodes, agree on
    /// the new one. Answers it.
    ///
    /// The old master takes writes until it is made a replica of the new one, and these are lost: a failover by
    /// this command does not stop clients as that of a Cluster does.
    ///
    /// # Cancel safety
    /// The failover goes on by itself.
    pub async fn failover(&self) -> Result<usize, ServerError> {
        let old = self.master().await?;
        let new = wait::until("a failover", START, || async {
            // An earlier try may have got there after all.
            if self.master().await? == old {
                self.begin_failover().await?;
            }
            self.replaced_within(TRY, old).await
        });
        let new = new.await?;
        self.settled().await?;
        Ok(new)
    }

    /// As [`failover`](Self::failover), without waiting. Answers the old master.
    ///
    /// # Cancel safety
    /// As [`failover`](Self::failover).
    pub async fn begin_failover(&self) -> Result<usize, ServerError> {
        wait::until("a failover to begin", START, || async {
            let old = self.master().await?;
            let sentinel = self.sentinels.iter().find(|one| one.is_running());
            let sentinel = sentinel.ok_or_else(|| ServerError::new("no sentinel runs"))?;
            // Refused while it knows of no replica that is good enough.
            sentinel.tell(&["SENTINEL", "FAILOVER", NAME]).await?;
            Ok::<_, ServerError>(old)
        })
        .await
    }

    /// Waits until the sentinels name a master other than this one. Answers it.
    ///
    /// # Cancel safety
    /// Reads only.
    pub async fn replaced(&self, old: usize) -> Result<usize, ServerError> {
        self.replaced_within(START, old).await
    }

    async fn replaced_within(&self, limit: Duration, old: usize) -> Result<usize, ServerError> {
        wait::until("another master", limit, || async {
            match self.master().await? {
                master if master == old => Err(ServerError::new(format!("it is still node {old}"))),
                master => Ok(master),
            }
        })
        .await
    }

    /// Waits until the sentinels that run know of each other, agree on the master, and see it and every node that
    /// runs; and until those nodes are its replicas and have what it has.
    ///
    /// # Cancel safety
    /// Reads only.
    pub async fn settled(&self) -> Result<(), ServerError> {
        wait::until("the sentinels", START, || async {
            let master = self.master().await?;
            for sentinel in self.sentinels.iter().filter(|one| one.is_running()) {
                self.is_settled(sentinel, master).await?;
            }
            let name = self.announced[master].port();
            if let Some(of) = replication::master_port(&self.nodes[master]).await? {
                return Err(ServerError::new(format!("the master is a replica of port {of}")));
            }
            for (_, node) in self.replicas(master) {
                if replication::master_port(node).await? != Some(name) {
                    return Err(ServerError::new(format!("{} is no replica of port {name}", node.addr())));
                }
                replication::in_sync(&self.nodes[master], node).await?;
            }
            Ok(())
        })
        .await
    }

    /// The nodes that run, but for the master.
    fn replicas(&self, master: usize) -> impl Iterator<Item = (usize, &RedisProcess)> {
        self.nodes.iter().enumerate().filter(move |(index, node)| *index != master && node.is_running())
    }

    async fn is_settled(&self, sentinel: &RedisProcess, master: usize) -> Result<(), ServerError> {
        let missing = |what: &str, reply: &Reply| {
            ServerError::new(format!("{what}, as {} sees it: {}", sentinel.addr(), text(reply)))
        };
        let state = sentinel.tell(&["SENTINEL", "MASTER", NAME]).await?;
        let others = (self.sentinels.len() - 1).to_string();
        for (name, value) in [("flags", "master"), ("num-other-sentinels", &others)] {
            if field(&state, name).as_deref() != Some(value) {
                return Err(missing(&format!("{name} of the master should be {value}"), &state));
            }
        }
        let known = sentinel.tell(&["SENTINEL", "REPLICAS", NAME]).await?;
        for (index, _) in self.replicas(master) {
            let port = self.announced[index].port().to_string();
            let replica = known.items().iter().find(|one| field(one, "port").as_ref() == Some(&port));
            let flags = replica.and_then(|one| field(one, "flags"));
            if !matches!(flags.as_deref(), Some("slave" | "replica")) {
                return Err(missing(&format!("the replica on port {port} is not well"), &known));
            }
        }
        Ok(())
    }
}

/// One field of a flat map.
fn field(reply: &Reply, name: &str) -> Option<String> {
    let pair = reply.items().chunks(2).find(|pair| pair[0].text() == name)?;
    pair.get(1).map(Reply::text)
}

fn text(reply: &Reply) -> String {
    let words: Vec<String> = reply
        .items()
        .iter()
        .map(|item| if item.items().is_empty() { item.text() } else { text(item) })
        .collect();
    words.join(" ")
}
