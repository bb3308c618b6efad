//! The state of a quota.

use std::time::Duration;

use super::Calendar;
use crate::time::Timestamp;

/// How many permits were taken in the window that begins at `start`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quota {
    pub(super) start: Timestamp,
    pub(super) used: u32,
}

impl Quota {
    /// How many are taken in the present window. A later one was stored before the clock was set back: what was taken in it
    /// counts for this one.
    pub(super) fn used(self, calendar: Calendar, now: Timestamp) -> u32 {
        if self.start >= calendar.window(now).0 { self.used } else { 0 }
    }

    /// For how long it says anything.
    pub(super) fn lasts(self, calendar: Calendar, now: Timestamp) -> Duration {
        if self.used(calendar, now) == 0 {
            return Duration::ZERO;
        }
        calendar.window(now).1.saturating_since(now)
    }
}
