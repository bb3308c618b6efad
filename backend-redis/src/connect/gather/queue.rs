//! The reads that wait to be sent, and how many senders there are to send them.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use stanchion::key::Key;
use stanchion::time::Monotonic;
use stanchion::{Error, ErrorKind, Result};
use tokio::sync::oneshot;

use super::measure::Measure;

/// So many reads wait for one master; more are refused, as it is far behind.
pub(super) const WAITING: usize = 65_536;
/// The room that is kept for those that come next.
const ROOM: usize = 1_024;

#[derive(Default)]
pub(super) struct Queue {
    waiting: VecDeque<Waiting>,
    senders: usize,
}

pub(super) struct Waiting {
    pub(super) key: Key,
    pub(super) caller: Caller,
}

pub(super) struct Caller {
    pub(super) since: Monotonic,
    pub(super) reply: oneshot::Sender<Result<Option<Bytes>>>,
}

impl Caller {
    pub(super) fn answer(self, answer: Result<Option<Bytes>>) {
        // Nobody minds one who left.
        let _ = self.reply.send(answer);
    }

    pub(super) fn is_late(&self, now: Monotonic, deadline: Duration) -> bool {
        self.since.saturating_add(deadline) <= now
    }
}

/// What a sender takes.
pub(super) struct Taken {
    pub(super) batch: Vec<Waiting>,
    /// One more sender is to be started, and is counted already.
    pub(super) another: bool,
}

impl Queue {
    pub(super) fn senders(&self) -> usize {
        self.senders
    }

    /// Puts a read in; answers whether a sender is to be started, which is counted already.
    pub(super) fn push(&mut self, read: Waiting, measure: &Measure) -> Result<bool> {
        if self.waiting.len() >= WAITING {
            return Err(Error::new(
                ErrorKind::Throttled,
                format!("{WAITING} reads wait for this server already"),
            )
            .with_retry_after(Duration::from_millis(100)));
        }
        self.waiting.push_back(read);
        Ok(self.count_another(measure))
    }

    fn count_another(&mut self, measure: &Measure) -> bool {
        let another = self.senders < measure.senders;
        self.senders += usize::from(another);
        another
    }

    /// What has waited longest; or nothing, and the sender that asked is counted no more.
    pub(super) fn take(&mut self, measure: &Measure) -> Option<Taken> {
        let waiting = self.waiting.len();
        if waiting == 0 {
            self.gone();
            return None;
        }
        // Of many that wait each sender takes its part of what the others have left: two thirds go in a round of all senders,
        // so that a burst takes few rounds, however far the server is.
        let most = measure.batch.max(waiting.div_ceil(measure.senders));
        if most >= waiting {
            let room = VecDeque::with_capacity(waiting.min(ROOM));
            let batch = std::mem::replace(&mut self.waiting, room).into();
            return Some(Taken { batch, another: false });
        }
        let batch = self.waiting.drain(..most).collect();
        // There may have been fewer when they came.
        Some(Taken { batch, another: self.count_another(measure) })
    }

    /// A sender was cut off, or never ran; answers whom nobody will send any more.
    pub(super) fn cut_off(&mut self) -> VecDeque<Waiting> {
        self.gone();
        if self.senders == 0 { std::mem::take(&mut self.waiting) } else { VecDeque::new() }
    }

    fn gone(&mut self) {
        self.senders = self.senders.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::super::measure::{HEAVY, LIGHT};
    use super::*;

    fn read(n: usize) -> Waiting {
        let reply = oneshot::channel().0;
        Waiting {
            key: Key::new("cache", "user", n).unwrap(),
            caller: Caller { since: Monotonic::default(), reply },
        }
    }

    /// A queue in which so many wait; answers how many senders were started.
    fn filled(many: usize, measure: &Measure) -> (Queue, usize) {
        let mut queue = Queue::default();
        let started = (0..many).filter(|n| queue.push(read(*n), measure).unwrap()).count();
        (queue, started)
    }

    #[test]
    fn small_values_are_taken_all_at_once_by_two_senders() {
        let (mut queue, started) = filled(5_000, &LIGHT);
        assert_eq!((started, queue.senders()), (2, 2));
        let taken = queue.take(&LIGHT).unwrap();
        assert_eq!((taken.batch.len(), taken.another), (5_000, false));
        assert!(queue.take(&LIGHT).is_none() && queue.take(&LIGHT).is_none());
        assert_eq!(queue.senders(), 0);
    }

    #[test]
    fn large_values_are_taken_in_order_and_many_in_few_rounds() {
        for many in [1, 32, 33, 384, 385, 5_000] {
            let (mut queue, started) = filled(many, &HEAVY);
            assert_eq!(started, many.min(HEAVY.senders));
            let mut next = 0;
            for _ in 0..HEAVY.senders {
                let Some(taken) = queue.take(&HEAVY) else { break };
                assert!(!taken.another && taken.batch.len() <= HEAVY.batch.max(many / HEAVY.senders + 1));
                for read in taken.batch {
                    assert_eq!(read.key, Key::new("cache", "user", next).unwrap());
                    next += 1;
                }
            }
            assert!(
                next == many || (many > HEAVY.senders * HEAVY.batch && next > many * 3 / 5),
                "{next} of {many}"
            );
        }
    }

    #[test]
    fn what_waited_before_values_were_known_to_be_large_gets_all_senders() {
        let (mut queue, mut senders) = filled(5_000, &LIGHT);
        assert_eq!(senders, 2);
        // Those that are there each take once; whoever is started does so as well.
        let mut taking = senders;
        while taking > 0 {
            taking -= 1;
            let taken = queue.take(&HEAVY).unwrap();
            senders += usize::from(taken.another);
            taking += usize::from(taken.another);
        }
        assert_eq!((senders, queue.senders()), (HEAVY.senders, HEAVY.senders));
    }

    #[test]
    fn too_many_are_refused_and_nobody_is_left_behind_by_the_last_sender() {
        let (mut queue, started) = filled(WAITING, &LIGHT);
        let refused = queue.push(read(0), &LIGHT).unwrap_err();
        assert_eq!(
            (refused.kind(), refused.retry_after()),
            (ErrorKind::Throttled, Some(Duration::from_millis(100)))
        );
        assert_eq!(started, 2);
        assert!(queue.cut_off().is_empty(), "another is there");
        assert_eq!((queue.cut_off().len(), queue.senders()), (WAITING, 0));
    }
}
