//! Stepping a store's wall clock.

use std::time::Duration;

use stanchion::time::Timestamp;

/// A jump of a wall clock, as an operator or a time server makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WallStep {
    /// It shows an earlier time now.
    Back(Duration),
    /// It shows a later time now.
    Forth(Duration),
}

impl WallStep {
    /// What a clock shows after the step that showed this time before it.
    #[must_use]
    pub fn from(self, time: Timestamp) -> Timestamp {
        match self {
            Self::Back(by) => Timestamp::from_micros(time.as_micros().saturating_sub(micros(by))),
            Self::Forth(by) => time.saturating_add(by),
        }
    }
}

/// How a step was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stepped {
    /// The clock was set.
    Clock,
    /// The clock can't be set; what is stored was moved by as much in the other direction. That is the same to the store,
    /// and numbers that are made of the time, and were answered before, have moved with it.
    Stored,
}

/// A step that was made, for the case that asked for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) step: WallStep,
    pub(crate) stepped: Stepped,
}

impl Frame {
    /// What a number that was answered before the step is now: a fence, a generation, an epoch.
    pub(crate) fn now(self, number: u64) -> u64 {
        match (self.stepped, self.step) {
            (Stepped::Clock, _) => number,
            (Stepped::Stored, WallStep::Back(by)) => number.saturating_add(micros(by)),
            (Stepped::Stored, WallStep::Forth(by)) => number.saturating_sub(micros(by)),
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_and_stored_numbers_that_were_moved_are_as_far_apart() {
        let (clock, stored) = (Timestamp::from_secs(10_000), 10_000_000_000_u64);
        for step in [WallStep::Back(Duration::from_secs(7)), WallStep::Forth(Duration::from_secs(7))] {
            let set = i128::from(stored) - i128::from(step.from(clock).as_micros());
            let moved = Frame { step, stepped: Stepped::Stored }.now(stored);
            assert_eq!(set, i128::from(moved) - i128::from(clock.as_micros()), "{step:?}");
            assert_eq!(Frame { step, stepped: Stepped::Clock }.now(stored), stored);
        }
    }
}
