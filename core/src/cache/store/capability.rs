//! What a cache backend can take.

use std::time::Duration;

use super::CacheStore;
use crate::contract::{BaseCapabilities, Contract};
use crate::error::{Error, Result};

/// The bounds of a cache backend, declared and checked before a call reaches its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheCapabilities {
    /// What every store declares.
    pub base: BaseCapabilities,
    /// The largest value, in bytes.
    pub max_value_bytes: usize,
    /// The most keys in one batch.
    pub max_batch: usize,
    /// Within what time a read is answered or fails, whatever becomes of the store, where that is less than
    /// [`call_deadline`](BaseCapabilities::call_deadline). A façade that wants less runs a timer of its own. A batch of several
    /// keys may take longer than either by its size, and a large one for as long as something comes: the backend says how much.
    pub read_deadline: Option<Duration>,
}

impl CacheCapabilities {
    /// 1 MiB a value, 10,000 keys a batch.
    pub const fn new(contract: Contract) -> Self {
        Self {
            base: BaseCapabilities::new(contract),
            max_value_bytes: 1024 * 1024,
            max_batch: 10_000,
            read_deadline: None,
        }
    }

    /// With a deadline for every call.
    #[must_use]
    pub const fn call_deadline(mut self, deadline: Duration) -> Self {
        self.base = self.base.call_deadline(deadline);
        self
    }

    /// With another cap on values.
    #[must_use]
    pub const fn max_value_bytes(mut self, bytes: usize) -> Self {
        self.max_value_bytes = bytes;
        self
    }

    /// With another cap on batches.
    #[must_use]
    pub const fn max_batch(mut self, keys: usize) -> Self {
        self.max_batch = keys;
        self
    }

    /// With a deadline for reads.
    #[must_use]
    pub const fn read_deadline(mut self, deadline: Duration) -> Self {
        self.read_deadline = Some(deadline);
        self
    }

    /// Refuses a value over the cap.
    pub fn check_value(&self, bytes: usize) -> Result<()> {
        if bytes > self.max_value_bytes {
            return Err(Error::invalid(format!(
                "a value may have {} bytes, got {bytes}; store less, or raise the backend's cap",
                self.max_value_bytes
            )));
        }
        Ok(())
    }

    /// Refuses a batch over the cap.
    pub fn check_batch(&self, keys: usize) -> Result<()> {
        if keys > self.max_batch {
            return Err(Error::invalid(format!(
                "a batch may have {} keys, got {keys}; split it",
                self.max_batch
            )));
        }
        Ok(())
    }
}

/// Which optional parts a cache store has: for suites, reports and settings. The accessors of [`CacheStore`] are what
/// counts; this is made from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "one fact each")]
pub struct CacheParts {
    /// [`CacheStore::leases`].
    pub leases: bool,
    /// [`CacheStore::tags`].
    pub tags: bool,
    /// [`CacheStore::feed`].
    pub feed: bool,
    /// [`CacheStore::counters`].
    pub counters: bool,
}

impl CacheParts {
    /// Every part.
    pub const fn all() -> Self {
        Self { leases: true, tags: true, feed: true, counters: true }
    }

    /// None of them: values alone.
    pub const fn none() -> Self {
        Self { leases: false, tags: false, feed: false, counters: false }
    }

    /// Those of a store.
    pub fn of(store: &dyn CacheStore) -> Self {
        Self {
            leases: store.leases().is_some(),
            tags: store.tags().is_some(),
            feed: store.feed().is_some(),
            counters: store.counters().is_some(),
        }
    }

    /// With or without leases.
    #[must_use]
    pub const fn leases(mut self, has: bool) -> Self {
        self.leases = has;
        self
    }

    /// With or without tags.
    #[must_use]
    pub const fn tags(mut self, has: bool) -> Self {
        self.tags = has;
        self
    }

    /// With or without a feed.
    #[must_use]
    pub const fn feed(mut self, has: bool) -> Self {
        self.feed = has;
        self
    }

    /// With or without counters.
    #[must_use]
    pub const fn counters(mut self, has: bool) -> Self {
        self.counters = has;
        self
    }
}

impl Default for CacheParts {
    fn default() -> Self {
        Self::all()
    }
}
