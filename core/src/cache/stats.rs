//! What a cache has counted.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Counts since the cache was built, of this process. A snapshot: the counts are read one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct CacheStats {
    /// Reads that found a value.
    pub hits: u64,
    /// Reads that found nothing, or nothing readable.
    pub misses: u64,
    /// Loaders that were started.
    pub loads: u64,
    /// Loaders that failed or panicked.
    pub load_failures: u64,
    /// Misses because the stored bytes could not be decoded.
    pub undecodable: u64,
    /// Reads and fills that the store could not answer, where the loader served instead.
    pub store_failures: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) hits: Count,
    pub(super) misses: Count,
    pub(super) loads: Count,
    pub(super) load_failures: Count,
    pub(super) undecodable: Count,
    pub(super) store_failures: Count,
}

/// A counter that orders nothing.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counts {
    pub(super) fn snapshot(&self) -> CacheStats {
        CacheStats {
            hits: self.hits.get(),
            misses: self.misses.get(),
            loads: self.loads.get(),
            load_failures: self.load_failures.get(),
            undecodable: self.undecodable.get(),
            store_failures: self.store_failures.get(),
        }
    }
}
