//! The servers, and how their master is replaced.

use std::net::SocketAddr;
use std::time::Duration;

use stanchion_conformance::servers::{Cluster, RedisProcess, Sentinel};
use stanchion_redis::RedisConfig;

use super::Failure;
use super::fault::Fault;
use super::load::LIMIT;

/// A slot of the master of the Cluster that is replaced; the keys that are written are all of that master.
const SLOT: u16 = 0;
const KEYS: usize = 16;

/// The expiry of what is written.
pub(super) const TTL: Duration = Duration::from_hours(1);

pub(super) enum Deployment {
    Cluster(Cluster),
    Sentinel(Sentinel),
}

impl Deployment {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Cluster(_) => "Cluster",
            Self::Sentinel(_) => "Sentinel",
        }
    }

    pub(super) fn nodes(&self) -> &[RedisProcess] {
        match self {
            Self::Cluster(cluster) => cluster.nodes(),
            Self::Sentinel(sentinel) => sentinel.nodes(),
        }
    }

    /// What clients are to connect to: nodes, or sentinels.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let servers = match self {
            Self::Cluster(cluster) => cluster.nodes(),
            Self::Sentinel(sentinel) => sentinel.sentinels(),
        };
        servers.iter().map(RedisProcess::addr).collect()
    }

    pub(super) fn config(&self) -> Result<RedisConfig, Failure> {
        let config = match self {
            Self::Cluster(cluster) => RedisConfig::cluster(cluster.urls().iter().map(String::as_str))?,
            Self::Sentinel(sentinel) => {
                RedisConfig::sentinel(sentinel.name(), sentinel.urls().iter().map(String::as_str))?
            }
        };
        Ok(config.deadline(LIMIT).cache_deadline(LIMIT))
    }

    /// So many keys of the master that is replaced, made of numbers by this.
    pub(super) async fn keys(&self, key_of: impl Fn(usize) -> String) -> Result<Vec<usize>, Failure> {
        let cluster = match self {
            Self::Cluster(cluster) => cluster,
            Self::Sentinel(_) => return Ok((0..KEYS).collect()),
        };
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

    /// Has it happen, and waits until all nodes, or all sentinels, agree on the new master. Answers which node the old one was.
    pub(super) async fn suffer(&self, fault: Fault) -> Result<usize, Failure> {
        match (self, fault) {
            (Self::Cluster(cluster), Fault::Planned) => {
                let old = cluster.master_of(SLOT).await?;
                cluster.failover(SLOT).await?;
                Ok(old)
            }
            (Self::Cluster(cluster), Fault::Killed) => {
                let old = cluster.kill_master_of(SLOT).await?;
                cluster.replaced(SLOT, old).await?;
                Ok(old)
            }
            (Self::Sentinel(sentinel), Fault::Planned) => {
                let old = sentinel.master().await?;
                sentinel.failover().await?;
                Ok(old)
            }
            (Self::Sentinel(sentinel), Fault::Killed) => {
                let old = sentinel.kill_master().await?;
                sentinel.replaced(old).await?;
                Ok(old)
            }
        }
    }

    /// Brings back what was killed, as a replica, and waits until all is well.
    pub(super) async fn mend(&self, fault: Fault, old: usize) -> Result<(), Failure> {
        match (self, fault) {
            (Self::Cluster(cluster), Fault::Planned) => Ok(cluster.settled().await?),
            (Self::Cluster(cluster), Fault::Killed) => Ok(cluster.restart(old).await?),
            (Self::Sentinel(sentinel), fault) => {
                if fault == Fault::Killed {
                    sentinel.restart(old).await?;
                }
                Ok(sentinel.settled().await?)
            }
        }
    }
}
