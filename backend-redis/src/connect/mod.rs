//! The way to the server: one [`Link`] for all commands, standalone or Cluster.

mod cluster;
mod health;
mod node;
mod slots;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::{Cmd, Value};
use stanchion::stores::Environment;
use stanchion::{Effect, Error, ErrorKind, Result};

use self::cluster::Cluster;
pub(crate) use self::health::Board;
pub(crate) use self::node::{Node, PushHandler, Target};
pub(crate) use self::slots::slot;
use crate::config::RedisConfig;
use crate::error::{self, Access, Repeat};
use crate::scripts::Script;

/// What every part of a call needs: its name, and whether it only reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) operation: &'static str,
    pub(crate) access: Access,
}

impl Call {
    pub(crate) const fn read(operation: &'static str) -> Self {
        Self { operation, access: Access::Read }
    }

    pub(crate) const fn write(operation: &'static str) -> Self {
        Self { operation, access: Access::Write }
    }

    /// The error with the names of operation and backend.
    pub(crate) fn named(self, error: Error) -> Error {
        error.with_operation(self.operation).with_backend("redis")
    }

    /// All replies of a batch, or its first error. What has been carried out beside a failure is not undone, so
    /// that the failure of a batch of writes leaves in doubt what was changed.
    pub(crate) fn all(self, replies: Vec<Result<Value>>) -> Result<Vec<Value>> {
        let untouched = |reply: &Result<Value>| matches!(reply, Err(e) if e.effect() == Effect::NotApplied);
        let effect =
            if replies.iter().all(untouched) { Effect::NotApplied } else { self.access.unanswered() };
        replies.into_iter().map(|reply| reply.map_err(|error| error.with_effect(effect))).collect()
    }

    /// The reply could not be understood.
    pub(crate) fn unexpected(self) -> Error {
        self.named(error::unexpected_reply(self.access))
    }
}

/// A command and the slot it belongs to; without a slot any node will do.
#[derive(Debug, Clone)]
pub(crate) struct Routed {
    pub(crate) slot: Option<u16>,
    pub(crate) command: Cmd,
}

impl Routed {
    pub(crate) fn new(key: &str, command: Cmd) -> Self {
        Self { slot: Some(slot(key.as_bytes())), command }
    }
}

#[derive(Debug)]
enum Topology {
    Standalone(Arc<Node>),
    Cluster(Arc<Cluster>),
}

/// The connections that carry commands. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Link(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    topology: Topology,
    deadline: Duration,
    closed: AtomicBool,
}

impl Link {
    /// Connects; one attempt.
    pub(crate) async fn open(
        config: &RedisConfig,
        environment: &Environment,
        board: &Arc<Board>,
    ) -> Result<Self> {
        let topology = if config.cluster {
            Topology::Cluster(Cluster::open(config, environment, board).await?)
        } else {
            let target = Target::one(config.addresses[0].clone())?;
            Topology::Standalone(Node::open(target, None, config.deadline, environment, board).await?)
        };
        Ok(Self(Arc::new(Inner { topology, deadline: config.deadline, closed: AtomicBool::new(false) })))
    }

    /// Answers `Closed` from now on.
    pub(crate) fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
        match &self.0.topology {
            Topology::Standalone(node) => node.close(),
            Topology::Cluster(cluster) => cluster.close(),
        }
    }

    /// A target for another connection to the same deployment, to whichever node answers.
    pub(crate) fn any_target(&self) -> Target {
        match &self.0.topology {
            Topology::Standalone(node) => node.target().clone(),
            Topology::Cluster(cluster) => cluster.any_target(),
        }
    }

    /// Runs one operation within the deadline, and names it in its error.
    async fn within<T>(&self, call: Call, work: impl Future<Output = Result<T>>) -> Result<T> {
        if self.0.closed.load(Ordering::Acquire) {
            return Err(call.named(Error::new(ErrorKind::Closed, "the backend is closed")));
        }
        let Ok(outcome) = tokio::time::timeout(self.0.deadline, work).await else {
            match &self.0.topology {
                Topology::Standalone(node) => node.suspect(),
                Topology::Cluster(cluster) => cluster.suspect(),
            }
            return Err(call.named(error::timed_out(self.0.deadline, call.access)));
        };
        outcome.map_err(|error| call.named(error))
    }

    async fn execute(&self, call: Call, routed: &Routed) -> Result<Value> {
        match &self.0.topology {
            Topology::Standalone(node) => node.command(&routed.command, call.access).await,
            Topology::Cluster(cluster) => cluster.command(routed, call.access).await,
        }
    }

    /// One command for the slot of its key.
    pub(crate) async fn command(&self, call: Call, key: &str, command: Cmd) -> Result<Value> {
        let routed = match self.0.topology {
            Topology::Standalone(_) => Routed { slot: None, command },
            Topology::Cluster(_) => Routed::new(key, command),
        };
        self.within(call, self.execute(call, &routed)).await
    }

    /// One command for any node.
    pub(crate) async fn anywhere(&self, call: Call, command: Cmd) -> Result<Value> {
        self.within(call, self.execute(call, &Routed { slot: None, command })).await
    }

    /// Many commands in one pipelined write per master; the replies in the order of the commands. An error
    /// of one command is its own; a lost connection is that of all its commands.
    pub(crate) async fn batch(&self, call: Call, commands: Vec<Routed>) -> Result<Vec<Result<Value>>> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let work = async {
            Ok(match &self.0.topology {
                Topology::Standalone(node) => node.pipeline(commands, call.access).await,
                Topology::Cluster(cluster) => cluster.batch(commands, call.access).await,
            })
        };
        let replies = self.within(call, work).await?;
        Ok(replies.into_iter().map(|reply| reply.map_err(|error| call.named(error))).collect())
    }

    /// A script on the keys of one slot.
    pub(crate) async fn script(
        &self,
        call: Call,
        script: &Script,
        keys: &[&str],
        args: &[&[u8]],
    ) -> Result<Value> {
        let slot = keys.first().map(|key| slot(key.as_bytes()));
        let work = async {
            let by_hash = Routed { slot, command: script.by_hash(keys, args) };
            match self.execute(call, &by_hash).await {
                // The server forgot it, or never knew it: it has done nothing.
                Err(error) if matches!(Repeat::of(&error), Some(Repeat::WithSource)) => {
                    let by_source = Routed { slot, command: script.by_source(keys, args) };
                    self.execute(call, &by_source).await
                }
                outcome => outcome,
            }
        };
        self.within(call, work).await
    }
}
