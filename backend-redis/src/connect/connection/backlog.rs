//! The backlog: requests that wait to be sent.

use std::collections::VecDeque;
use std::time::Duration;

use stanchion::time::Monotonic;
use stanchion::{Error, ErrorKind};

use super::deadlines::Deadlines;
use super::request::{Commands, Read, Request, time_out};

/// So many reads may wait, and so many commands; more are refused, as the server is far behind.
pub(super) const MAX_BACKLOG: usize = 65_536;
/// With so many commands more than were wanted at the last look, it is looked for those that are cancelled.
const SWEPT_AFTER: usize = 4_096;

/// Commands and reads, each in their order. They do not wait for each other.
pub(super) struct Backlog {
    commands: VecDeque<Commands>,
    // With the empty places of those that have timed out.
    reads: VecDeque<Option<Read>>,
    // With more commands than these the cancelled ones are dropped.
    sweep_above: usize,
}

impl Default for Backlog {
    fn default() -> Self {
        Self { commands: VecDeque::new(), reads: VecDeque::new(), sweep_above: SWEPT_AFTER }
    }
}

impl Backlog {
    /// Waits behind the others of its kind, or is refused.
    pub(super) fn push(&mut self, request: Request, deadlines: &mut Deadlines) {
        match request {
            Request::Commands(commands) if self.commands.len() < MAX_BACKLOG => {
                self.commands.push_back(commands);
            }
            Request::Read(read) if self.reads.len() < MAX_BACKLOG => {
                deadlines.note(read.due);
                self.reads.push_back(Some(read));
            }
            one_too_many => one_too_many.refuse(full()),
        }
    }

    /// Drops cancelled commands, if there are so many that it may be worth a look.
    pub(super) fn sweep(&mut self) {
        if self.commands.len() > self.sweep_above {
            self.commands.retain(|commands| !commands.is_cancelled());
            self.sweep_above = 2 * self.commands.len() + SWEPT_AFTER;
        }
    }

    pub(super) fn has_commands(&self) -> bool {
        !self.commands.is_empty()
    }

    /// The commands that are to be sent next; they may be cancelled.
    pub(super) fn next_commands(&mut self) -> Option<Commands> {
        self.commands.pop_front()
    }

    /// The reads that are to be sent next, at most so many. Cancelled ones are not among them.
    pub(super) fn next_reads(&mut self, at_most: usize) -> Vec<Read> {
        let mut reads = Vec::new();
        while reads.len() < at_most
            && let Some(read) = self.reads.pop_front()
        {
            reads.extend(read.filter(|read| !read.is_cancelled()));
        }
        reads
    }

    /// Ends the reads whose deadline is over, and notes the deadlines of the others.
    pub(super) fn time_out(&mut self, now: Monotonic, deadlines: &mut Deadlines) {
        self.reads.retain_mut(|read| {
            let Some(due) = time_out(read, now) else { return false };
            deadlines.note(due);
            true
        });
    }

    /// Nothing of it will be sent.
    pub(super) fn refuse(self, why: impl Fn() -> Error) {
        let commands = self.commands.into_iter().map(Request::Commands);
        let waiting = commands.chain(self.reads.into_iter().flatten().map(Request::Read));
        waiting.for_each(|request| request.refuse(why()));
    }
}

fn full() -> Error {
    Error::new(ErrorKind::Throttled, format!("{MAX_BACKLOG} requests wait for this server already"))
        .with_retry_after(Duration::from_millis(100))
}

#[cfg(test)]
mod tests {
    use stanchion::key::Key;
    use tokio::sync::oneshot;

    use super::super::request::Expected;
    use super::*;
    use crate::error::Access;

    fn commands() -> (Request, impl Sized) {
        let (reply, caller) = oneshot::channel();
        let (packed, expected, access) = (Vec::new(), Expected::Values(1), Access::Write);
        (Request::Commands(Commands { packed, expected, access, reply }), caller)
    }

    fn read(due: u64) -> (Request, impl Sized) {
        let (reply, caller) = oneshot::channel();
        let (key, deadline) = (Key::new("cache", "t", "k").unwrap(), Duration::from_secs(due));
        (Request::Read(Read { key, due: Monotonic::from_origin(deadline), deadline, reply }), caller)
    }

    #[test]
    fn cancelled_commands_do_not_pile_up() {
        let (mut backlog, mut deadlines) = (Backlog::default(), Deadlines::default());
        let mut wanted = Vec::new();
        for at in 0..MAX_BACKLOG {
            let (request, caller) = commands();
            backlog.push(request, &mut deadlines);
            // Most callers give up.
            if at % 100 == 0 {
                wanted.push(caller);
            }
            backlog.sweep();
            let bound = 2 * wanted.len() + SWEPT_AFTER + 1;
            assert!(backlog.commands.len() <= bound, "{} commands at {at}", backlog.commands.len());
        }
    }

    #[test]
    fn reads_that_are_over_or_cancelled_are_not_sent() {
        let (mut backlog, mut deadlines) = (Backlog::default(), Deadlines::default());
        let mut callers = Vec::new();
        for due in [1, 3, 2, 4] {
            let (request, caller) = read(due);
            backlog.push(request, &mut deadlines);
            callers.push(caller);
        }
        drop(callers.remove(1));
        backlog.time_out(Monotonic::from_origin(Duration::from_secs(2)), &mut deadlines);
        let sent = backlog.next_reads(usize::MAX);
        assert_eq!(sent.iter().map(|read| read.deadline.as_secs()).collect::<Vec<_>>(), [4]);
    }
}
