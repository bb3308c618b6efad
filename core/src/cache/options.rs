//! How a value is set, and what came of it.

use bytes::Bytes;

use crate::time::Ttl;

/// The condition under which a value is set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum When {
    /// Whatever is there.
    #[default]
    Always,
    /// Only if the key holds nothing.
    Absent,
    /// Only if the key holds a value.
    Present,
    /// Only if the key holds exactly these bytes (compare and set).
    Equals(Bytes),
}

/// How a value is set. Every entry has a TTL.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SetOptions {
    /// How long the value lives from now, by the store's clock.
    pub ttl: Ttl,
    /// The condition.
    pub when: When,
}

impl SetOptions {
    /// Set whatever is there.
    pub const fn new(ttl: Ttl) -> Self {
        Self { ttl, when: When::Always }
    }

    /// With a condition.
    #[must_use]
    pub fn when(mut self, when: When) -> Self {
        self.when = when;
        self
    }
}

/// Whether a conditional set was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a conditional set may not have stored the value"]
pub enum SetOutcome {
    /// The value is stored.
    Stored,
    /// The condition did not hold; nothing was changed.
    NotStored,
}
