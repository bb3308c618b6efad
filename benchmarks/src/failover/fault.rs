//! How a master is replaced.

use std::time::Duration;

use stanchion_conformance::servers::Cluster;

use super::Failure;

/// A slot of the master that is replaced; the keys that are written are all of that master.
pub(super) const SLOT: u16 = 0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Planned,
    Killed,
}

impl Fault {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Killed => "killed",
        }
    }

    /// Has it happen, and waits until all nodes agree on the new master. Answers which node the old one was.
    pub(super) async fn happen(self, cluster: &Cluster) -> Result<usize, Failure> {
        match self {
            Self::Planned => {
                let old = cluster.master_of(SLOT).await?;
                cluster.failover(SLOT).await?;
                Ok(old)
            }
            Self::Killed => {
                let old = cluster.kill_master_of(SLOT).await?;
                cluster.replaced(SLOT, old).await?;
                Ok(old)
            }
        }
    }

    /// Brings back what was killed, as a replica, and waits until all is well.
    pub(super) async fn mend(self, cluster: &Cluster, old: usize) -> Result<(), Failure> {
        match self {
            Self::Planned => Ok(cluster.settled().await?),
            Self::Killed => Ok(cluster.restart(old).await?),
        }
    }
}

/// So many keys of the master that is replaced, made of numbers by this.
pub(super) async fn keys(cluster: &Cluster, key_of: impl Fn(usize) -> String) -> Result<Vec<usize>, Failure> {
    const KEYS: usize = 16;
    let master = Cluster::first_owner_of(SLOT);
    let mut numbers = Vec::new();
    for number in 0.. {
        if Cluster::first_owner_of(cluster.slot_of(&key_of(number)).await?) == master {
            numbers.push(number);
        }
        if numbers.len() == KEYS {
            break;
        }
    }
    Ok(numbers)
}

/// The expiry of what is written.
pub(super) const TTL: Duration = Duration::from_hours(1);
