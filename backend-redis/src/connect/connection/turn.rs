//! Answers in small shares, so that the requests that follow them are written together.
//!
//! Whoever is answered is woken, and asks for the next thing. Either each then wakes the task that drives the connection at
//! once, and most requests cost a system call of their own; or all of them are written together, and client and server work,
//! and sleep, in turn. Between the two is this: of many replies that have come the task hands out a few, and goes behind those
//! whom it has woken. When it is its turn again it writes in one piece what has been asked, so that the server has something
//! to do, and hands out the next few. Nothing waits for anything but its turn: no timer, and no minimum. Where turns come
//! late, because the runtime has much else to do, the next ones have everything.

use std::time::Duration;

use stanchion::clock::Clock;
use stanchion::time::Monotonic;

/// A turn has one answer, or one of so many that are waited for: the more callers there are, the more write together.
const PART: usize = 16;
/// Others that are ready have taken so long since the last turn that more is lost by waiting for them than is gained.
const LATE: Duration = Duration::from_micros(50);
/// From a late turn on everything is handed out, for so many polls of the task.
const FREE_TURNS: u32 = 32;

/// What the task has handed out in its turn. A turn that was not ended goes on.
#[derive(Debug, Default)]
pub(super) struct Turn {
    answers: usize,
    // Polls in which everything is handed out.
    free: u32,
    ended: Option<Monotonic>,
}

impl Turn {
    /// The task is polled.
    pub(super) fn begin(&mut self, clock: &dyn Clock) {
        let late = self.ended.take().is_some_and(|ended| clock.now().saturating_since(ended) > LATE);
        self.free = if late { FREE_TURNS } else { self.free.saturating_sub(1) };
    }

    pub(super) fn answered(&mut self, callers: usize) {
        self.answers += callers;
    }

    /// Whether it is over, while so many requests are not answered.
    pub(super) fn is_over(&self, waited_for: usize) -> bool {
        self.free == 0 && self.answers > 0 && self.answers >= waited_for / PART
    }

    /// Lets others run.
    pub(super) fn end(&mut self, clock: &dyn Clock) {
        self.all_is_answered();
        self.ended = Some(clock.now());
    }

    /// The next one waits for nobody.
    pub(super) fn all_is_answered(&mut self) {
        self.answers = 0;
    }
}
