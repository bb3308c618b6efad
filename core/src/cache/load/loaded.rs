//! What a loader answers, and what a reader is served.

use std::sync::Arc;
use std::time::Duration;

use crate::cache::store::Tag;

/// A loaded value and what is to become of it. A loader may answer the value alone; with this it decides, from the
/// value, how long it is fresh, which tags invalidate it, and whether it is stored at all.
#[derive(Debug, Clone)]
#[must_use]
pub struct Loaded<T> {
    pub(in crate::cache) value: Option<T>,
    pub(in crate::cache) ttl: Option<Duration>,
    pub(in crate::cache) tags: Vec<Tag>,
    pub(in crate::cache) store: bool,
}

impl<T> Loaded<T> {
    /// A value, stored for the life that the cache gives its values.
    pub const fn new(value: T) -> Self {
        Self { value: Some(value), ttl: None, tags: Vec::new(), store: true }
    }

    pub(in crate::cache) const fn none() -> Self {
        Self { value: None, ttl: None, tags: Vec::new(), store: true }
    }

    /// With another life. With a life of zero it is served and [not stored](Self::not_stored).
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// With another tag.
    ///
    /// A tag that is known only now is compared with what happened during the load. One that has been invalidated
    /// meanwhile, or was never used before, can't be told apart from one that was invalidated: then the value is served
    /// and not stored, this time. Tags that follow from the identifier belong into
    /// [`CacheBuilder::tags`](crate::cache::CacheBuilder::tags), which knows no such case.
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
    /// Whether it is fresh.
    pub freshness: Freshness,
}

impl<T> Clone for Served<T> {
    fn clone(&self) -> Self {
        Self { value: Arc::clone(&self.value), freshness: self.freshness }
    }
}

/// Whether a served value is fresh. Closed on purpose: a value is one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Its TTL is not over.
    Fresh,
    /// Its TTL is not over, and it may have been changed all the same: it is a near copy, and the invalidation feed is away
    /// ([`near_in_outage`](crate::cache::CacheBuilder::near_in_outage)).
    Unconfirmed {
        /// For how long changes of it may have been missed.
        age: Duration,
    },
    /// Its TTL is over, and it was served all the same.
    Stale {
        /// For how long it has been stale, as far as this process can tell.
        age: Duration,
        /// Why it was served.
        why: StaleReason,
    },
}

impl Freshness {
    /// Of a value whose TTL is not over, changes of which may have been missed for so long.
    pub(in crate::cache) fn of_near(unconfirmed: Option<Duration>) -> Self {
        unconfirmed.map_or(Self::Fresh, |age| Self::Unconfirmed { age })
    }
}

/// Why a stale value was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StaleReason {
    /// It is being loaded anew, within the time that the policy allows for that.
    Revalidating,
    /// The loader takes longer than its soft timeout.
    LoaderSlow,
    /// The loader failed, or is not run again yet after it did; or the load of another process did.
    LoaderFailed,
    /// The store does not answer, and the loader may not serve in its place
    /// ([`fail_closed`](crate::cache::CacheBuilder::fail_closed)).
    StoreFailed,
}
