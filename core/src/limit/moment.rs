//! The time of a decision.

use crate::time::Timestamp;

/// The time by which limits are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitTime {
    /// For rates: any clock of the backend, better one that is never set back.
    pub(super) steady: Timestamp,
    /// For quotas: the wall clock.
    pub(super) wall: Timestamp,
}

impl LimitTime {
    /// A backend that has a clock which is never set back counts rates by it, and quotas by the wall clock.
    pub const fn new(steady: Timestamp, wall: Timestamp) -> Self {
        Self { steady, wall }
    }

    /// Everything by the wall clock.
    pub const fn wall(now: Timestamp) -> Self {
        Self::new(now, now)
    }
}
