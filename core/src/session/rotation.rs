//! Giving a session another id, and what comes of that.

use std::time::Duration;

use super::{Patch, SessionId, SessionRecord};

/// How a session is rotated.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Rotation {
    /// The id that it goes on under, in the same bucket.
    pub to: SessionId,
    /// What changes in the same step.
    pub patch: Patch,
    /// For how long the old id leads to the new one; not at all if zero. Whole milliseconds, rounded down.
    pub grace: Duration,
}

impl Rotation {
    /// The longest grace: five minutes.
    pub const MAX_GRACE: Duration = Duration::from_mins(5);

    /// How many rotations in a row, each within its grace, an old id leads through: 8.
    pub const MAX_HOPS: usize = 8;

    /// To this id, with no other change and without a grace.
    pub fn to(id: SessionId) -> Self {
        Self { to: id, patch: Patch::new(), grace: Duration::ZERO }
    }

    /// With a change in the same step.
    #[must_use]
    pub fn patch(mut self, patch: Patch) -> Self {
        self.patch = patch;
        self
    }

    /// With a grace, at most [`MAX_GRACE`](Self::MAX_GRACE).
    #[must_use]
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }
}

/// What came of rotating a session.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "the session may not have been rotated"]
pub enum RotateOutcome {
    /// It goes on under the new id.
    Rotated {
        /// The session.
        record: SessionRecord,
    },
    /// Somebody else has rotated it first; nothing was changed.
    Superseded {
        /// The id that it goes on under.
        by: SessionId,
    },
    /// Somebody else changed it first; nothing was changed.
    Conflict {
        /// The version it has.
        version: u64,
    },
    /// There is a session under the new id already; nothing was changed.
    IdTaken,
    /// There is no such session of this user, or no longer; nothing was created.
    Gone,
}
