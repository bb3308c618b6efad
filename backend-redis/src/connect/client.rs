//! What operations send their commands by: each within its deadline, and named in its error.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use redis::{Cmd, Value};
use stanchion::cache::Shard;
use stanchion::key::Key;
use stanchion::{Error, ErrorKind, Result};

use super::connection::{Late, within};
use super::context::Context;
use super::masters::{MasterObserver, Observed};
use super::target::Target;
use super::topology::Topology;
use crate::command::{Call, Routed};
use crate::config::RedisConfig;
use crate::error;

/// Where a deadline begins anew while something comes, it does so for no longer than this, unless it is longer itself.
const LONGEST: Duration = Duration::from_secs(30);

/// The connections that carry commands. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Client(Arc<Inner>);

struct Inner {
    topology: Topology,
    context: Arc<Context>,
    deadline: Duration,
    closed: AtomicBool,
    observed: Arc<Observed>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.topology.fmt(f)
    }
}

impl Client {
    /// Connects; one attempt.
    pub(crate) async fn open(config: &RedisConfig, context: &Arc<Context>) -> Result<Self> {
        let observed = Arc::new(Observed::default());
        let topology = Topology::open(config, context, &observed).await?;
        let closed = AtomicBool::new(false);
        let context = Arc::clone(context);
        Ok(Self(Arc::new(Inner { topology, context, deadline: config.deadline, closed, observed })))
    }

    /// Notifies this observer of the masters from now on, of each before the first command is sent there.
    pub(crate) fn observe_masters(&self, observer: Weak<dyn MasterObserver>) {
        self.0.observed.set(observer);
        self.0.topology.notify(&self.0.observed);
    }

    /// The shard of a slot.
    pub(crate) fn shard_of(&self, slot: impl FnOnce() -> u16) -> Shard {
        self.0.topology.shard_of(slot)
    }

    /// To be called when another connection to a server was lost: those that carry commands are pinged, and a Cluster's map is
    /// drawn anew, because a slot that moves away now does so unheard.
    pub(crate) fn after_loss(&self) -> impl Fn() + Send + Sync + 'static {
        let inner = Arc::downgrade(&self.0);
        move || {
            if let Some(inner) = inner.upgrade() {
                inner.topology.request_heartbeats();
            }
        }
    }

    /// Refuses every call from now on, as `Closed`.
    pub(crate) fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.topology.close();
        self.0.context.renewals.end();
    }

    /// A target for another connection to the same deployment, to whichever node accepts it.
    pub(crate) fn any_target(&self) -> Target {
        self.0.topology.any_target()
    }

    fn check_open(&self, call: Call) -> Result<()> {
        if self.0.closed.load(Ordering::Acquire) {
            return Err(call.named(Error::new(ErrorKind::Closed, "the backend is closed")));
        }
        Ok(())
    }

    /// Runs one operation within the deadline, and names it in its error. The work is made in here, of the call under way:
    /// one that was handed over would be in this future twice.
    pub(crate) async fn within<T, F>(&self, mut call: Call, work: impl FnOnce(Call) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        self.check_open(call)?;
        let deadline = call.deadline.unwrap_or(self.0.deadline);
        call.until = self.0.topology.until(deadline);
        let bound = if call.extended { deadline.max(LONGEST) } else { deadline };
        match within(bound, || work(call)).await {
            Ok(outcome) => outcome.map_err(|error| call.named(error)),
            Err(Late { sent, not_run }) => {
                self.timed_out();
                Err(call.named(error::late(bound, call.access, sent, not_run)))
            }
        }
    }

    /// A reply is overdue: a heartbeat of each connection finds those that are dead.
    fn timed_out(&self) {
        self.0.topology.request_heartbeats();
        if let Some(observer) = self.0.observed.observer() {
            observer.call_timed_out();
        }
    }

    /// One command, without a deadline of its own.
    pub(super) async fn send(&self, call: Call, routed: &Routed) -> Result<Value> {
        self.0.topology.command(routed, call).await
    }

    /// Many commands, without a deadline of their own.
    pub(super) async fn send_all(&self, call: Call, commands: Vec<Routed>) -> Vec<Result<Value>> {
        let replies = self.0.topology.batch(commands, call).await;
        let is_overdue =
            |reply: &Result<Value>| matches!(reply, Err(error) if error.kind() == ErrorKind::Timeout);
        if call.extended && replies.iter().any(is_overdue) {
            self.timed_out();
        }
        replies
    }

    /// Reads a key, together with others that are read at the same time.
    pub(crate) async fn get(&self, call: Call, key: &Key) -> Result<Option<Bytes>> {
        self.check_open(call)?;
        let deadline = call.deadline.unwrap_or(self.0.deadline);
        let value = self.0.topology.get(key, deadline).await;
        value.map_err(|error| {
            if error.kind() == ErrorKind::Timeout {
                self.timed_out();
            }
            call.named(error)
        })
    }

    /// One command for any node.
    pub(crate) async fn anywhere(&self, call: Call, command: Cmd) -> Result<Value> {
        let routed = Routed::anywhere(command);
        self.within(call, |call| self.send(call, &routed)).await
    }

    /// Many commands in one pipelined write per master; the replies in the order of the commands. An error
    /// of one command is its own; a lost connection is that of all its commands.
    pub(crate) async fn batch(&self, call: Call, commands: Vec<Routed>) -> Result<Vec<Result<Value>>> {
        let replies =
            self.within(call, |call| async move { Ok(self.send_all(call, commands).await) }).await?;
        Ok(replies.into_iter().map(|reply| reply.map_err(|error| call.named(error))).collect())
    }
}
