//! The backlog: requests that the task has received, and that wait to be sent. How much may wait is [decided](super::queued)
//! before they are handed to the task.

use std::collections::VecDeque;

use stanchion::time::Monotonic;

use super::deadlines::Deadlines;
use super::end::End;
use super::queued::Amount;
use super::request::{Commands, Read, Request, time_out};
use super::room;
use super::status::Status;

/// With more cancelled commands than these among those that wait, they are dropped. Their bytes have gone with their callers.
const SWEPT_AFTER: u64 = 4_096;

/// Commands and reads, each in their order. They do not wait for each other.
#[derive(Default)]
pub(super) struct Backlog {
    commands: VecDeque<Commands>,
    // With the empty places of those that have timed out.
    reads: VecDeque<Option<Read>>,
    // So many cancelled commands were dropped in all.
    dropped: u64,
    // Commands that do not wait any more, and are still counted as if they did,
    sent: Amount,
    // and such reads.
    read: Amount,
}

impl Backlog {
    /// Waits behind the others of its kind.
    pub(super) fn push(&mut self, request: Request, deadlines: &mut Deadlines) {
        match request {
            Request::Commands(commands) => self.commands.push_back(commands),
            Request::Read(read) => {
                deadlines.note(read.due);
                self.reads.push_back(Some(read));
            }
            Request::Close => {}
        }
    }

    /// Drops cancelled commands, if there are so many that it is worth a look at all: what waits is bounded, and they would take
    /// the place of others.
    fn sweep(&mut self, status: &Status) {
        if status.left().saturating_sub(self.dropped) > SWEPT_AFTER {
            let before = self.commands.len();
            self.commands.retain(|commands| !commands.caller.is_cancelled());
            self.drops(before - self.commands.len());
        }
    }

    /// Their places are given back with the next that are sent.
    fn drops(&mut self, cancelled: usize) {
        self.dropped += cancelled as u64;
        self.sent.add(Amount::of_requests(cancelled));
    }

    pub(super) fn has_commands(&self) -> bool {
        !self.commands.is_empty()
    }

    /// The commands that are to be sent next, as they are sent. Those whose callers have left are passed over.
    pub(super) fn next_commands(&mut self) -> Option<(Commands, Vec<u8>)> {
        while let Some(commands) = self.commands.pop_front() {
            if let Some(packed) = commands.caller.take() {
                self.sent.add(Amount::of(packed.len()));
                return Some((commands, packed));
            }
            self.drops(1);
        }
        None
    }

    /// The reads that are to be sent next, at most so many. Cancelled ones are not among them.
    pub(super) fn next_reads(&mut self, at_most: usize) -> Vec<Read> {
        let mut reads = Vec::new();
        while reads.len() < at_most
            && let Some(read) = self.reads.pop_front()
        {
            let Some(read) = read else { continue };
            self.read.add(read.amount());
            if !read.is_cancelled() {
                reads.push(read);
            }
        }
        reads
    }

    /// Ends the reads whose deadline is over, and notes the deadlines of the others.
    pub(super) fn time_out(&mut self, now: Monotonic, deadlines: &mut Deadlines) {
        let over = &mut self.read;
        self.reads.retain_mut(|place| {
            let amount = place.as_ref().map(Read::amount).unwrap_or_default();
            if let Some(due) = time_out(place, now) {
                deadlines.note(due);
                return true;
            }
            over.add(amount);
            false
        });
    }

    /// Takes what waits no longer from what is known to wait, and gives back what a burst has taken.
    pub(super) fn settle(&mut self, status: &Status) {
        self.sweep(status);
        status.commands.remove(std::mem::take(&mut self.sent));
        status.reads.remove(std::mem::take(&mut self.read));
        room::shrink(&mut self.commands);
        room::shrink(&mut self.reads);
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.commands.capacity().max(self.reads.capacity())
    }

    /// Nothing of it will be sent.
    pub(super) fn refuse(self, end: &End) {
        let commands = self.commands.into_iter().map(Request::Commands);
        let waiting = commands.chain(self.reads.into_iter().flatten().map(Request::Read));
        waiting.for_each(|request| request.refuse(end));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use stanchion::key::Key;
    use tokio::sync::oneshot;

    use super::super::handover::{CallerEnd, handover};
    use super::super::queued::MAX_QUEUED;
    use super::super::request::Expected;
    use super::*;
    use crate::error::Access;

    fn commands(status: &Status) -> (Request, CallerEnd<'_>) {
        status.commands.add(0).unwrap();
        let (task, caller) = handover(Vec::new(), status);
        let (expected, access) = (Expected::Values(1), Access::Write);
        (Request::Commands(Commands { expected, access, caller: task }), caller)
    }

    fn read(due: u64, status: &Status) -> (Request, impl Sized) {
        let (reply, caller) = oneshot::channel();
        let (key, deadline) = (Key::new("cache", "t", "k").unwrap(), Duration::from_secs(due));
        status.reads.add(key.as_str().len()).unwrap();
        (Request::Read(Read { key, due: Monotonic::from_origin(deadline), deadline, reply }), caller)
    }

    #[test]
    fn cancelled_commands_do_not_pile_up() {
        let (mut backlog, mut deadlines, status) =
            (Backlog::default(), Deadlines::default(), Status::default());
        let mut wanted = Vec::new();
        for at in 0..2 * MAX_QUEUED {
            let (request, caller) = commands(&status);
            backlog.push(request, &mut deadlines);
            // Most callers give up.
            if at % 100 == 0 {
                wanted.push(caller);
            }
            backlog.settle(&status);
            let (waiting, bound) = (backlog.commands.len() as u64, wanted.len() as u64 + SWEPT_AFTER + 1);
            assert!(waiting <= bound, "{waiting} commands at {at}");
            assert_eq!(status.commands.waiting().requests(), waiting, "each counts as long as it is there");
        }
        // All the places but a few are free again, although none of the others was sent.
        wanted.truncate(1);
        backlog.settle(&status);
        assert!(status.commands.waiting().requests() <= SWEPT_AFTER + 1);
        let mut sent = 0;
        while backlog.next_commands().is_some() {
            sent += 1;
        }
        backlog.settle(&status);
        assert_eq!((sent, status.commands.waiting()), (wanted.len(), Amount::default()));
        assert_eq!(status.left(), backlog.dropped);
        assert!(backlog.commands.capacity() <= room::KEPT);
    }

    #[test]
    fn reads_that_are_over_or_cancelled_are_not_sent() {
        let (mut backlog, mut deadlines, status) =
            (Backlog::default(), Deadlines::default(), Status::default());
        let mut callers = Vec::new();
        for due in [1, 3, 2, 4] {
            let (request, caller) = read(due, &status);
            backlog.push(request, &mut deadlines);
            callers.push(caller);
        }
        drop(callers.remove(1));
        backlog.time_out(Monotonic::from_origin(Duration::from_secs(2)), &mut deadlines);
        backlog.settle(&status);
        assert_eq!(status.reads.waiting().requests(), 2);
        let sent = backlog.next_reads(usize::MAX);
        assert_eq!(sent.iter().map(|read| read.deadline.as_secs()).collect::<Vec<_>>(), [4]);
        backlog.settle(&status);
        assert_eq!(status.reads.waiting(), Amount::default());
    }
}
