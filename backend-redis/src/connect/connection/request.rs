//! What callers hand to the task that drives a connection.

use std::time::Duration;

use bytes::Bytes;
use redis::Value;
use stanchion::key::Key;
use stanchion::time::Monotonic;
use stanchion::{Error, ErrorKind, Result};
use tokio::sync::oneshot;

use crate::error::{self, Access};

pub(super) enum Request {
    Read(Read),
    Commands(Commands),
    /// Nothing is to be done any more.
    Close,
}

/// A key that is to be read.
pub(super) struct Read {
    pub(super) key: Key,
    /// When its caller's deadline is over,
    pub(super) due: Monotonic,
    /// which was so long.
    pub(super) deadline: Duration,
    pub(super) reply: oneshot::Sender<Result<Option<Bytes>>>,
}

impl Read {
    pub(super) fn answer(self, answer: Result<Option<Bytes>>) {
        // Nobody minds one who left.
        let _ = self.reply.send(answer);
    }

    /// Its caller has left.
    pub(super) fn is_forgotten(&self) -> bool {
        self.reply.is_closed()
    }

    pub(super) fn is_late(&self, now: Monotonic) -> bool {
        self.due <= now
    }

    pub(super) fn tell_late(self) {
        let late = error::timed_out(self.deadline, Access::Read);
        self.answer(Err(late));
    }
}

/// Commands of one caller, who wants the replies to all of them, and knows himself how long he waits.
pub(super) struct Commands {
    pub(super) packed: Vec<u8>,
    pub(super) expected: Expected,
    pub(super) access: Access,
    pub(super) reply: oneshot::Sender<Result<Vec<Value>>>,
}

impl Commands {
    /// Their caller has left.
    pub(super) fn is_forgotten(&self) -> bool {
        self.reply.is_closed()
    }
}

/// What the server answers to them.
#[derive(Debug, Clone, Copy)]
pub(super) enum Expected {
    /// So many values.
    Values(usize),
    /// So many pushed messages, each of which says that a subscription has begun or ended; or one error.
    Confirmations(usize),
}

impl Request {
    pub(super) fn refuse(self, why: Error) {
        match self {
            Self::Read(read) => read.answer(Err(why)),
            Self::Commands(commands) => drop(commands.reply.send(Err(why))),
            Self::Close => {}
        }
    }
}

pub(super) fn never_sent() -> Error {
    Error::new(ErrorKind::Unavailable, "the connection broke before the request was sent; reconnecting")
        .with_retry_after(Duration::from_millis(100))
}

pub(super) fn closed(access: Access) -> Error {
    Error::new(ErrorKind::Closed, "the backend was closed before the answer came")
        .with_effect(access.unanswered())
}
