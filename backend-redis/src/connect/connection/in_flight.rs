//! The requests in flight: sent, or about to be, and not answered yet.

use std::collections::VecDeque;

use redis::{PushKind, RedisError, RedisResult};
use stanchion::time::Monotonic;

use super::deadlines::Deadlines;
use super::end::End;
use super::incoming::Incoming;
use super::pending::Pending;
use super::room;

/// The requests in flight, in the order of their replies, and two counts of them.
///
/// **Invariant.** `requests` is the sum of [`Pending::unanswered`] over the whole queue, and `reads` that sum over the reads
/// in it. So `reads <= requests`, and both are 0 when the queue is empty. It holds between any two calls: whatever
/// changes an entry does so in here, and takes from both counts what the entry has lost.
///
/// Both bound something. No more reads are sent while `reads` is at its limit, and the replies that are delivered at a time
/// are a share of `requests`.
#[derive(Default)]
pub(super) struct InFlight {
    queue: VecDeque<Sent>,
    requests: usize,
    reads: usize,
}

/// A request in flight.
struct Sent {
    pending: Pending,
    /// Where it begins in all that is written on this connection.
    begins: u64,
}

/// What one reply did.
pub(super) struct Handled {
    /// So many callers have been replied to.
    pub(super) replied: usize,
    /// The request that it was the last reply to.
    pub(super) finished: Option<Pending>,
}

impl InFlight {
    /// Requests that are not answered: the commands of a caller are one, and each read of a key is.
    pub(super) fn requests(&self) -> usize {
        self.requests
    }

    /// The reads among them.
    pub(super) fn reads(&self) -> usize {
        self.reads
    }

    /// It is sent, behind all that is in flight, and begins at this place of what is written.
    pub(super) fn push(&mut self, pending: Pending, begins: u64) {
        let count = pending.unanswered();
        self.requests += count;
        if let Pending::Reads(_) = pending {
            self.reads += count;
        }
        self.queue.push_back(Sent { pending, begins });
    }

    /// Reads the next reply, or part of it, if it has come.
    ///
    /// # Errors
    /// If it can't be read, or is to no request: whatever follows would be taken for the reply to another.
    pub(super) fn read_reply(&mut self, incoming: &mut Incoming) -> RedisResult<Option<Handled>> {
        let Some(Sent { pending: first, .. }) = self.queue.front_mut() else { return Err(unrequested()) };
        let before = first.unanswered();
        let Some(progress) = first.read_reply(incoming)? else { return Ok(None) };
        let after = if progress.done { 0 } else { first.unanswered() };
        let finished = self.first_has_lost(before - after, progress.done);
        Ok(Some(Handled { replied: progress.replied, finished }))
    }

    /// Takes a pushed message; answers the request of which it is the last confirmation, if it is.
    pub(super) fn confirm(&mut self, kind: &PushKind) -> Option<Pending> {
        let first = &mut self.queue.front_mut()?.pending;
        let before = first.unanswered();
        if first.confirm(kind) { self.first_has_lost(before, true) } else { None }
    }

    /// Takes from the counts what the first entry no longer waits for, and the entry from the queue if it is done.
    fn first_has_lost(&mut self, count: usize, done: bool) -> Option<Pending> {
        self.requests -= count;
        if let Some(Sent { pending: Pending::Reads(_), .. }) = self.queue.front() {
            self.reads -= count;
        }
        if done { self.queue.pop_front().map(|sent| sent.pending) } else { None }
    }

    /// Ends the reads whose deadline is over, and notes the deadlines of the others. The places of those that end stay, since
    /// the server replies to them all the same; so the counts stay too.
    pub(super) fn time_out(&mut self, now: Monotonic, deadlines: &mut Deadlines) {
        for due in self.queue.iter_mut().filter_map(|sent| sent.pending.time_out(now)) {
            deadlines.note(due);
        }
    }

    /// There will be no more replies. So much was written of all: what begins behind that has not left this process.
    pub(super) fn fail(self, end: &End, written: u64) {
        self.queue.into_iter().for_each(|sent| sent.pending.fail(end, sent.begins < written));
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.queue.capacity()
    }

    /// Gives back what a burst has taken.
    pub(super) fn shrink(&mut self) {
        room::shrink(&mut self.queue);
    }
}

fn unrequested() -> RedisError {
    RedisError::from((redis::ErrorKind::Parse, "the server sent a reply to no request"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use stanchion::key::Key;
    use tokio::sync::oneshot;

    use super::super::handover::handover;
    use super::super::pending_commands::PendingCommands;
    use super::super::pending_reads::{PendingReads, ReadForm};
    use super::super::request::{Commands, Expected, Read};
    use super::super::status::Status;
    use super::*;
    use crate::error::Access;

    impl InFlight {
        /// Whether the invariant holds.
        fn is_consistent(&self) -> bool {
            let of = |reads: bool| {
                let all = self.queue.iter().map(|sent| &sent.pending);
                let counted = all.filter(|p| !reads || matches!(p, Pending::Reads(_)));
                counted.map(Pending::unanswered).sum::<usize>()
            };
            (self.requests, self.reads) == (of(false), of(true))
        }
    }

    /// A request, and what the server sends for it.
    #[derive(Debug, Clone)]
    enum Request {
        Commands(usize),
        Subscribe(usize),
        Get(Vec<bool>),
        Mget(Vec<bool>),
        MgetDenied(usize),
        MgetOddly(usize),
    }

    fn sent() -> impl Strategy<Value = Request> {
        let found = || prop::collection::vec(any::<bool>(), 1..6);
        prop_oneof![
            (1..5_usize).prop_map(Request::Commands),
            (1..4_usize).prop_map(Request::Subscribe),
            found().prop_map(Request::Get),
            found().prop_map(Request::Mget),
            (1..6_usize).prop_map(Request::MgetDenied),
            (1..6_usize).prop_map(Request::MgetOddly),
        ]
    }

    fn reads(count: usize, due: u64, form: ReadForm) -> Pending {
        let read = |_| Read {
            key: Key::new("cache", "t", "k").unwrap(),
            due: Monotonic::from_origin(Duration::from_secs(due)),
            deadline: Duration::from_secs(1),
            reply: oneshot::channel().0,
        };
        Pending::Reads(PendingReads::new((0..count).map(read).collect(), form))
    }

    fn commands(expected: Expected) -> Pending {
        let (caller, _) = handover(Vec::new(), &Status::default());
        let commands = Commands { expected, access: Access::Write, caller };
        Pending::Commands(PendingCommands::new(commands).unwrap())
    }

    impl Request {
        fn pending(&self, due: u64) -> Pending {
            match self {
                Self::Commands(count) => commands(Expected::Values(*count)),
                Self::Subscribe(count) => commands(Expected::Confirmations(*count)),
                Self::Get(found) => reads(found.len(), due, ReadForm::Get),
                Self::Mget(found) => reads(found.len(), due, ReadForm::Mget),
                Self::MgetDenied(count) | Self::MgetOddly(count) => reads(*count, due, ReadForm::Mget),
            }
        }

        /// The replies, one after the other; none for what is confirmed by pushed messages.
        fn replies(&self) -> String {
            let values = |found: &[bool]| -> String {
                found.iter().map(|found| if *found { "$1\r\na\r\n" } else { "$-1\r\n" }).collect()
            };
            match self {
                Self::Commands(count) => "+OK\r\n".repeat(*count),
                Self::Subscribe(_) => String::new(),
                Self::Get(found) => values(found),
                Self::Mget(found) => format!("*{}\r\n{}", found.len(), values(found)),
                Self::MgetDenied(_) => "-NOPERM no\r\n".to_owned(),
                Self::MgetOddly(_) => "+OK\r\n".to_owned(),
            }
        }
    }

    proptest! {
        #[test]
        fn the_counts_are_those_of_the_queue_after_every_step(
            all in prop::collection::vec(sent(), 1..20),
            late in any::<bool>(),
        ) {
            let mut in_flight = InFlight::default();
            for (at, sent) in all.iter().enumerate() {
                in_flight.push(sent.pending(at as u64), 0);
                prop_assert!(in_flight.is_consistent());
            }
            if late {
                let now = Monotonic::from_origin(Duration::from_secs(all.len() as u64 / 2));
                in_flight.time_out(now, &mut Deadlines::default());
                prop_assert!(in_flight.is_consistent(), "who timed out leaves a place");
            }
            for sent in &all {
                let mut incoming = Incoming::of(sent.replies().as_bytes());
                let mut finished = false;
                while !finished {
                    finished = if let Request::Subscribe(_) = sent {
                        prop_assert!(in_flight.confirm(&PushKind::Message).is_none());
                        in_flight.confirm(&PushKind::Subscribe).is_some()
                    } else {
                        in_flight.read_reply(&mut incoming).unwrap().unwrap().finished.is_some()
                    };
                    prop_assert!(in_flight.is_consistent() && in_flight.reads() <= in_flight.requests());
                }
                prop_assert!(incoming.is_empty());
            }
            prop_assert_eq!((in_flight.requests(), in_flight.reads()), (0, 0));
        }
    }

    #[test]
    fn a_reply_to_no_request_is_an_error() {
        assert!(InFlight::default().read_reply(&mut Incoming::of(b"+OK\r\n")).is_err());
    }
}
