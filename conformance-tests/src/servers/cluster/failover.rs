//! Masters of a Cluster that are replaced by their replicas.

use std::time::Duration;

use super::super::{ServerError, wait};
use super::{Cluster, START};

/// A replica gives up after 5 seconds, when the votes come too late on a busy machine.
const TRY: Duration = Duration::from_secs(8);

impl Cluster {
    /// Has a replica take the place of the master of a slot, as an operator does (`CLUSTER FAILOVER` at the
    /// replica: the master stops its clients until the replica has everything), and waits until every node knows.
    /// Answers the new master.
    ///
    /// # Cancel safety
    /// The failover goes on by itself.
    pub async fn failover(&self, slot: u16) -> Result<usize, ServerError> {
        let old = self.master_of(slot).await?;
        let new = wait::until("a failover", START, || async {
            // An earlier try may have got there after all.
            if self.master_of(slot).await? == old {
                self.begin_failover(slot).await?;
            }
            self.replaced_within(TRY, slot, old).await
        });
        let new = new.await?;
        self.settled().await?;
        Ok(new)
    }

    /// As [`failover`](Self::failover), without waiting: the replica was told. Answers which one.
    ///
    /// # Cancel safety
    /// As [`failover`](Self::failover).
    pub async fn begin_failover(&self, slot: u16) -> Result<usize, ServerError> {
        let replicas = self.replicas_of(slot).await?;
        let replica = *replicas.first().ok_or_else(|| ServerError::new("its master has no replica"))?;
        self.nodes[replica].tell(&["CLUSTER", "FAILOVER"]).await?;
        Ok(replica)
    }

    /// Kills the master of a slot (SIGKILL). Answers which node that was.
    ///
    /// # Cancel safety
    /// Asks first; then kills without waiting.
    pub async fn kill_master_of(&self, slot: u16) -> Result<usize, ServerError> {
        let master = self.master_of(slot).await?;
        self.kill(master)?;
        Ok(master)
    }

    /// Waits until all who run and take part agree on a master of the slot other than this one. Answers it.
    ///
    /// # Cancel safety
    /// Reads only.
    pub async fn replaced(&self, slot: u16, old: usize) -> Result<usize, ServerError> {
        self.replaced_within(START, slot, old).await
    }

    async fn replaced_within(&self, limit: Duration, slot: u16, old: usize) -> Result<usize, ServerError> {
        wait::until(&format!("another master of slot {slot}"), limit, || async {
            match self.master_of(slot).await? {
                master if master == old => Err(ServerError::new(format!("it is still node {old}"))),
                master => Ok(master),
            }
        })
        .await
    }
}
