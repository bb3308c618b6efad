//! What the server has been asked, in the order of its replies.

use redis::RedisResult;
use stanchion::Error;
use stanchion::time::Monotonic;

use super::answering::Answering;
use super::incoming::Incoming;
use super::reads::Reads;
use crate::error::Access;

pub(super) enum Asked {
    Commands(Answering),
    Reads(Reads),
}

/// What was read.
pub(super) struct Taken {
    /// So many callers have all that they asked for.
    pub(super) answers: usize,
    /// The next reply is to something else.
    pub(super) done: bool,
}

impl Asked {
    /// Reads the next reply, or part of it, if it has come.
    pub(super) fn take(&mut self, incoming: &mut Incoming) -> RedisResult<Option<Taken>> {
        match self {
            Self::Commands(commands) => commands.take(incoming),
            Self::Reads(reads) => reads.take(incoming),
        }
    }

    /// Tells those who have waited too long; answers when the next one will have.
    pub(super) fn expire(&mut self, now: Monotonic) -> Option<Monotonic> {
        match self {
            Self::Commands(_) => None,
            Self::Reads(reads) => reads.expire(now),
        }
    }

    /// Whoever waits is told that there will be no reply.
    pub(super) fn fail(self, why: impl Fn(Access) -> Error) {
        match self {
            Self::Commands(commands) => commands.fail(why),
            Self::Reads(reads) => reads.fail(why),
        }
    }
}
