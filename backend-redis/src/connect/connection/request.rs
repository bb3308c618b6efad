//! The requests that callers hand to the task that drives a connection.

use std::time::Duration;

use bytes::Bytes;
use stanchion::Result;
use stanchion::key::Key;
use stanchion::time::Monotonic;
use tokio::sync::oneshot;

use super::end::End;
use super::handover::TaskEnd;
use super::queued::Amount;
use crate::error::{self, Access};

pub(super) enum Request {
    Read(Read),
    Commands(Commands),
    /// Ends the connection.
    Close,
}

/// The read of one key.
pub(super) struct Read {
    pub(super) key: Key,
    /// When its caller's deadline is over,
    pub(super) due: Monotonic,
    /// which was so long.
    pub(super) deadline: Duration,
    pub(super) reply: oneshot::Sender<Result<Option<Bytes>>>,
}

impl Read {
    pub(super) fn reply(self, outcome: Result<Option<Bytes>>) {
        // It may be cancelled by now.
        let _ = self.reply.send(outcome);
    }

    /// Its caller has dropped the future.
    pub(super) fn is_cancelled(&self) -> bool {
        self.reply.is_closed()
    }

    /// What it counts for while it waits.
    pub(super) fn amount(&self) -> Amount {
        Amount::of(self.key.as_str().len())
    }
}

/// Ends a read whose deadline is over, and leaves its place empty; answers the deadline of one whose is not.
pub(super) fn time_out(place: &mut Option<Read>, now: Monotonic) -> Option<Monotonic> {
    let read = place.take()?;
    if read.due <= now {
        let timed_out = error::timed_out(read.deadline, Access::Read);
        read.reply(Err(timed_out));
        return None;
    }
    let due = read.due;
    *place = Some(read);
    Some(due)
}

/// Commands of one caller, who wants the replies to all of them, and keeps a deadline itself.
pub(super) struct Commands {
    pub(super) expected: Expected,
    pub(super) access: Access,
    pub(super) caller: TaskEnd,
}

/// The replies of the server to them.
#[derive(Debug, Clone, Copy)]
pub(super) enum Expected {
    /// So many values.
    Values(usize),
    /// So many pushed messages, each of which says that a subscription has begun or ended; or one error.
    Confirmations(usize),
}

impl Request {
    /// Fails, with nothing sent.
    pub(super) fn refuse(self, end: &End) {
        match self {
            Self::Read(read) => read.reply(Err(end.error(Access::Read, false))),
            Self::Commands(commands) => {
                let why = end.error(commands.access, false);
                commands.caller.reply(Err(why));
            }
            Self::Close => {}
        }
    }
}
