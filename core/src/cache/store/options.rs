//! How a value is set, and what came of it.

use bytes::Bytes;

use crate::key::Key;
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
    /// The schema number in the value's header, 0 for none. A set with a number does not overwrite a value with a
    /// greater one: see [`SetOutcome::Newer`]. A set with 0 overwrites whatever is there.
    pub schema: u32,
}

impl SetOptions {
    /// Set whatever is there.
    pub const fn new(ttl: Ttl) -> Self {
        Self { ttl, when: When::Always, schema: 0 }
    }

    /// With a condition.
    #[must_use]
    pub fn when(mut self, when: When) -> Self {
        self.when = when;
        self
    }

    /// With a schema number.
    #[must_use]
    pub const fn schema(mut self, schema: u32) -> Self {
        self.schema = schema;
        self
    }
}

/// One value of a batch to be set.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SetEntry {
    /// The entry.
    pub key: Key,
    /// The value.
    pub value: Bytes,
    /// How it is set.
    pub options: SetOptions,
}

impl SetEntry {
    /// An entry.
    pub const fn new(key: Key, value: Bytes, options: SetOptions) -> Self {
        Self { key, value, options }
    }
}

/// What came of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "the value may not have been stored"]
pub enum SetOutcome {
    /// The value is stored.
    Stored,
    /// The condition did not hold; nothing was changed.
    NotStored,
    /// There was a value of a greater [schema](SetOptions::schema). It was removed, since this set made it out of
    /// date, and the value of the lesser schema was not put in its place.
    Newer,
}
