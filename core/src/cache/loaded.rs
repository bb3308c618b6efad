//! What a loader answers, and what a reader is served.

use std::sync::Arc;
use std::time::Duration;

use super::Tag;

/// A loaded value and what is to become of it. A loader may answer the value alone; with this it decides, from the
/// value, how long it counts, what drops it, and whether it is stored at all.
#[derive(Debug, Clone)]
#[must_use]
pub struct Loaded<T> {
    pub(super) value: Option<T>,
    pub(super) ttl: Option<Duration>,
    pub(super) tags: Vec<Tag>,
    pub(super) store: bool,
}

impl<T> Loaded<T> {
    /// A value, stored for the life that the cache gives its values.
    pub const fn new(value: T) -> Self {
        Self { value: Some(value), ttl: None, tags: Vec::new(), store: true }
    }

    pub(super) const fn none() -> Self {
        Self { value: None, ttl: None, tags: Vec::new(), store: true }
    }

    /// With another life.
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// With another tag.
    ///
    /// A tag that is known only now is compared with what happened during the load. One that has been dropped
    /// meanwhile, or was never used before, can't be told apart from one that was dropped: then the value is served
    /// and not stored, this time. Tags that follow from the identifier belong into
    /// [`CacheBuilder::tags`](super::CacheBuilder::tags), which knows no such case.
    pub fn tag(mut self, tag: Tag) -> Self {
        self.tags.push(tag);
        self
    }

    /// Served to those who wait for it, and not stored.
    pub const fn not_stored(mut self) -> Self {
        self.store = false;
        self
    }
}

impl<T> From<T> for Loaded<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

/// A value as it was served.
#[derive(Debug)]
#[non_exhaustive]
pub struct Served<T> {
    /// The value.
    pub value: Arc<T>,
    /// Whether it counts.
    pub freshness: Freshness,
}

impl<T> Clone for Served<T> {
    fn clone(&self) -> Self {
        Self { value: Arc::clone(&self.value), freshness: self.freshness }
    }
}

/// Whether a served value still counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Its life is not over.
    Fresh,
    /// Its life is over, and it was served all the same.
    Stale {
        /// How long its life has been over, as far as this process can tell.
        age: Duration,
        /// Why it was served.
        why: StaleReason,
    },
}

/// Why a stale value was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StaleReason {
    /// It is being loaded anew, within the time that the policy allows for that.
    Revalidating,
    /// The loader takes longer than its soft timeout.
    LoaderSlow,
    /// The loader failed, or is left alone after it did.
    LoaderFailed,
    /// The store does not answer, and the loader may not serve in its place
    /// ([`fail_closed`](super::CacheBuilder::fail_closed)).
    StoreFailed,
}
