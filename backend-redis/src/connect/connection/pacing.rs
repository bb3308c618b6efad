//! Replies are delivered in small shares, so that the requests that follow them are written together.
//!
//! A caller that gets its reply is woken, and sends its next request. If each then wakes the task that drives the connection
//! at once, most requests cost a system call of their own; if all of them are written together, client and server work, and
//! sleep, by turns. Between the two is this: of many replies that have come the task delivers a few, and yields to the
//! callers that it has woken. When it runs again it writes their requests in one piece, so that the server has something to
//! do, and delivers the next few. There is no timer and no minimum. Where the task is run late, because the runtime has much
//! else to do, all replies that are there are delivered.

use std::time::Duration;

use stanchion::clock::Clock;
use stanchion::time::Monotonic;

/// A share is one reply, or one of so many that are waited for: the more callers there are, the more write together.
const SHARE: usize = 16;
/// If other tasks have run for so long since the task yielded, more is lost by waiting for them than is gained.
const LATE: Duration = Duration::from_micros(50);
/// After a late run all replies are delivered, for so many polls of the task.
const UNPACED_POLLS: u32 = 32;

/// What the task has delivered since it yielded.
#[derive(Debug, Default)]
pub(super) struct Pacing {
    replied: usize,
    // Polls in which all replies are delivered.
    unpaced: u32,
    yielded: Option<Monotonic>,
}

impl Pacing {
    /// The task is polled.
    pub(super) fn polled(&mut self, clock: &dyn Clock) {
        let late = self.yielded.take().is_some_and(|yielded| clock.now().saturating_since(yielded) > LATE);
        self.unpaced = if late { UNPACED_POLLS } else { self.unpaced.saturating_sub(1) };
    }

    /// So many callers have been replied to.
    pub(super) fn replied(&mut self, callers: usize) {
        self.replied += callers;
    }

    /// Whether the share is delivered, while so many requests are in flight.
    pub(super) fn is_used_up(&self, in_flight: usize) -> bool {
        self.unpaced == 0 && self.replied > 0 && self.replied >= in_flight / SHARE
    }

    /// The task lets others run, although there is more to deliver.
    pub(super) fn yields(&mut self, clock: &dyn Clock) {
        self.waits();
        self.yielded = Some(clock.now());
    }

    /// All that has come is delivered: the next reply begins a new share.
    pub(super) fn waits(&mut self) {
        self.replied = 0;
    }
}
