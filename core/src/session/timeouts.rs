//! How long sessions live, and how often their use is recorded.

use std::time::Duration;

use crate::time::Ttl;

/// An idle and an absolute timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// How long a session lives without being used.
    pub idle: Ttl,
    /// How long it lives at most, however much it is used.
    pub absolute: Ttl,
}

impl Timeouts {
    /// The longest that there are.
    pub const MAX: Self = Self { idle: Ttl::MAX, absolute: Ttl::MAX };

    /// These two.
    pub const fn new(idle: Ttl, absolute: Ttl) -> Self {
        Self { idle, absolute }
    }

    /// How old a recorded use may be before the next one is recorded: a tenth of the idle timeout, at most a minute, in whole
    /// milliseconds.
    ///
    /// A session lives that much longer than its idle timeout says, since the last use of it may have gone unrecorded for as long:
    /// so a session that is used is never ended too early, and costs one write in that time, however often it is used.
    pub const fn touch_every(self) -> Duration {
        let tenth = self.idle.as_millis() / 10;
        Duration::from_millis(if tenth < 60_000 { tenth } else { 60_000 })
    }
}

/// What a service allows its sessions to live at most, whatever was stored when they were created: by other settings, or an
/// earlier release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionBounds {
    /// For sessions that were created with the service's own timeouts.
    pub usual: Timeouts,
    /// For sessions with [timeouts of their own](super::NewSession::own_timeouts).
    pub own: Timeouts,
}

impl SessionBounds {
    /// What is stored holds.
    pub const NONE: Self = Self { usual: Timeouts::MAX, own: Timeouts::MAX };

    /// These for the two kinds of sessions.
    pub const fn new(usual: Timeouts, own: Timeouts) -> Self {
        Self { usual, own }
    }

    /// The bounds of one session.
    pub const fn of(self, own_timeouts: bool) -> Timeouts {
        if own_timeouts { self.own } else { self.usual }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{days, minutes, seconds};

    #[test]
    fn a_use_is_recorded_every_tenth_of_the_idle_timeout_and_every_minute_at_least() {
        let every = |idle| Timeouts::new(Ttl::new(idle).unwrap_or(Ttl::MAX), Ttl::MAX).touch_every();
        assert_eq!(every(seconds(5)), Duration::from_millis(500));
        assert_eq!(every(minutes(5)), seconds(30));
        assert_eq!(every(minutes(30)), seconds(60));
        assert_eq!(every(days(30)), seconds(60));
        assert_eq!(every(Duration::from_millis(9)), Duration::ZERO);
    }
}
