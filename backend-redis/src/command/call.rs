//! The operation that commands belong to.

use std::time::Duration;

use redis::Value;
use stanchion::time::Monotonic;
use stanchion::{Effect, Error, Result};

use crate::error::{self, Access};

/// The name of an operation, whether it only reads, and how long it may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) operation: &'static str,
    pub(crate) access: Access,
    /// The backend's own deadline unless set.
    pub(crate) deadline: Option<Duration>,
    /// When that deadline is over, on a Cluster, where a command may have to be retried until then; set once the call is
    /// under way.
    pub(crate) until: Option<Monotonic>,
    pub(crate) lane: Lane,
    /// The deadline is one of silence: it begins anew while something comes on the connection.
    pub(crate) extended: bool,
}

/// The connection to a server that requests go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    Commands,
    /// For what small requests must not wait for.
    Bulk,
    /// For what must not wait for other requests.
    Renewals,
}

impl Call {
    pub(crate) const fn read(operation: &'static str) -> Self {
        Self::new(operation, Access::Read)
    }

    pub(crate) const fn write(operation: &'static str) -> Self {
        Self::new(operation, Access::Write)
    }

    const fn new(operation: &'static str, access: Access) -> Self {
        Self { operation, access, deadline: None, until: None, lane: Lane::Commands, extended: false }
    }

    /// By this connection.
    pub(crate) const fn by(mut self, lane: Lane) -> Self {
        self.lane = lane;
        self
    }

    /// With a deadline that begins anew while something comes.
    pub(crate) const fn extended(mut self, deadline: Duration) -> Self {
        self.extended = true;
        self.within(deadline)
    }

    pub(crate) const fn within(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// The error, with the names of operation and backend.
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

    /// What the replies of a batch say, each read in the same way.
    pub(crate) fn each<T>(
        self,
        replies: Vec<Result<Value>>,
        read: impl Fn(Value) -> Option<T>,
    ) -> Result<Vec<T>> {
        self.all(replies)?.into_iter().map(|reply| read(reply).ok_or_else(|| self.unexpected())).collect()
    }

    /// The reply could not be understood.
    pub(crate) fn unexpected(self) -> Error {
        self.named(error::unexpected_reply(self.access))
    }
}
