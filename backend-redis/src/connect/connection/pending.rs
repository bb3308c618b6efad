//! A request that waits for its replies.

use redis::{PushKind, RedisResult};
use stanchion::time::Monotonic;

use super::end::End;
use super::incoming::Incoming;
use super::pending_commands::PendingCommands;
use super::pending_reads::PendingReads;
use super::progress::Progress;

pub(super) enum Pending {
    Commands(PendingCommands),
    Reads(PendingReads),
}

impl Pending {
    /// Reads the next reply, or part of it, if it has come.
    pub(super) fn read_reply(&mut self, incoming: &mut Incoming) -> RedisResult<Option<Progress>> {
        match self {
            Self::Commands(commands) => commands.read_reply(incoming),
            Self::Reads(reads) => reads.read_reply(incoming),
        }
    }

    /// Takes a pushed message; answers whether it is the last confirmation that was waited for.
    pub(super) fn confirm(&mut self, kind: &PushKind) -> bool {
        match self {
            Self::Commands(commands) => commands.confirm(kind),
            Self::Reads(_) => false,
        }
    }

    /// How many requests are not answered yet: one for the commands of a caller, and one for each key that is read.
    pub(super) fn unanswered(&self) -> usize {
        match self {
            Self::Commands(_) => 1,
            Self::Reads(reads) => reads.unanswered(),
        }
    }

    /// Ends the reads whose deadline is over; answers the earliest deadline of the others.
    pub(super) fn time_out(&mut self, now: Monotonic) -> Option<Monotonic> {
        match self {
            // Their callers keep the deadline themselves.
            Self::Commands(_) => None,
            Self::Reads(reads) => reads.time_out(now),
        }
    }

    /// There will be no reply to what was sent, at least in part, or not.
    pub(super) fn fail(self, end: &End, sent: bool) {
        match self {
            Self::Commands(commands) => commands.fail(end, sent),
            Self::Reads(reads) => reads.fail(end, sent),
        }
    }
}
