//! Standalone, found by sentinels or not, or Cluster.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::Value;
use stanchion::Result;
use stanchion::cache::Shard;
use stanchion::key::Key;
use stanchion::time::Monotonic;

use super::cluster::Cluster;
use super::context::Context;
use super::masters::{Masters, Observed};
use super::node::Node;
use super::sentinel::Sentinels;
use super::supervisor;
use super::target::Target;
use crate::command::{Call, Routed};
use crate::config::RedisConfig;

/// The servers of a deployment, by their connections for commands.
#[derive(Debug)]
pub(super) enum Topology {
    Standalone(Arc<Node>),
    Cluster(Arc<Cluster>),
}

impl Topology {
    /// Connects; one attempt.
    pub(super) async fn open(
        config: &RedisConfig,
        context: &Arc<Context>,
        observed: &Arc<Observed>,
    ) -> Result<Self> {
        if config.cluster {
            return Ok(Self::Cluster(Cluster::open(config, context, observed).await?));
        }
        if let Some(sentinels) = Sentinels::of(config, context) {
            let node = supervisor::open(sentinels.target(), None, context).await?;
            sentinels.keep_listening()?;
            return Ok(Self::Standalone(node));
        }
        let target = Target::one(config.addresses[0].clone());
        Ok(Self::Standalone(supervisor::open(target, None, context).await?))
    }

    /// One command, sent where it belongs.
    pub(super) async fn command(&self, routed: &Routed, call: Call) -> Result<Value> {
        match self {
            Self::Standalone(node) => node.command(&routed.command, call.access).await,
            Self::Cluster(cluster) => cluster.command(routed, call).await,
        }
    }

    /// Many commands, in one pipelined write per master; the replies in the order of the commands.
    pub(super) async fn batch(&self, commands: Vec<Routed>, call: Call) -> Vec<Result<Value>> {
        match self {
            _ if commands.is_empty() => Vec::new(),
            Self::Standalone(node) => node.pipeline(commands, call).await,
            Self::Cluster(cluster) => cluster.batch(commands, call).await,
        }
    }

    /// Reads a key, together with others that are read at the same time.
    pub(super) async fn get(&self, key: &Key, deadline: Duration) -> Result<Option<Bytes>> {
        match self {
            Self::Standalone(node) => node.get(key, deadline).await,
            Self::Cluster(cluster) => cluster.get(key, deadline).await,
        }
    }

    /// When a deadline that begins now is over, where a command may have to be retried until then.
    pub(super) fn until(&self, deadline: Duration) -> Option<Monotonic> {
        match self {
            Self::Standalone(_) => None,
            Self::Cluster(cluster) => Some(cluster.now().saturating_add(deadline)),
        }
    }

    /// The shard of a slot.
    pub(super) fn shard_of(&self, slot: impl FnOnce() -> u16) -> Shard {
        match self {
            Self::Standalone(_) => Shard::ONLY,
            Self::Cluster(cluster) => cluster.shard_of(slot()),
        }
    }

    /// Has all connections pinged at once.
    pub(super) fn request_heartbeats(&self) {
        match self {
            Self::Standalone(node) => node.request_heartbeat(),
            Self::Cluster(cluster) => cluster.request_heartbeats(),
        }
    }

    /// Notifies the observer, which has just been set, of the masters as they are.
    pub(super) fn notify(&self, observed: &Observed) {
        match self {
            Self::Standalone(node) => {
                if let Some(observer) = observed.observer() {
                    let all = &[(node.target().clone(), Shard::ONLY)];
                    observer.masters_changed(&Masters { all, left: &HashSet::new(), copies: &Vec::new() });
                }
            }
            Self::Cluster(cluster) => cluster.notify_observer(),
        }
    }

    /// A target for another connection to the same deployment, to whichever node accepts it.
    pub(super) fn any_target(&self) -> Target {
        match self {
            Self::Standalone(node) => node.target().clone(),
            Self::Cluster(cluster) => cluster.any_target(),
        }
    }

    pub(super) fn close(&self) {
        match self {
            Self::Standalone(node) => node.close(),
            Self::Cluster(cluster) => cluster.close(),
        }
    }
}
