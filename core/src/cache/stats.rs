//! What a cache has counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

use crate::key::Name;
use crate::telemetry::{Counter, Histogram, LabelValue, Metric, cache as metric};

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident: $metric:ident $([$value:literal])?,)*) => {
        /// Counts since the cache was built, of this process. A snapshot: the counts are read one after the other.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
        #[non_exhaustive]
        pub struct CacheStats {
            /// Reads that found a value, near or in the store; also one that is known to be absent.
            pub hits: u64,
            $($(#[$doc])* pub $name: u64,)*
            /// The time that all loads took together.
            pub load_time: Duration,
            /// The longest that a write of this process was seen to take until the invalidation feed brought it back.
            pub invalidation_lag: Duration,
            /// About how many values the near cache holds.
            pub near_entries: u64,
        }

        #[derive(Debug)]
        pub(super) struct Counts {
            $(pub(super) $name: Count,)*
            pub(super) load_time: Times,
            pub(super) invalidation_lag: Times,
        }

        impl Counts {
            /// Counters of one cache, exported under its kind where the feature `metrics` is on.
            pub(super) fn of(cache: &Name) -> Self {
                Self {
                    $($name: Count::new(&metric::$metric, &[cache.into() $(, $value.into())?]),)*
                    load_time: Times::new(&metric::LOAD_SECONDS, cache),
                    invalidation_lag: Times::new(&metric::INVALIDATION_LAG_SECONDS, cache),
                }
            }

            pub(super) fn snapshot(&self) -> CacheStats {
                let mut stats = CacheStats {
                    hits: 0,
                    $($name: self.$name.get(),)*
                    load_time: self.load_time.total(),
                    invalidation_lag: self.invalidation_lag.longest(),
                    near_entries: 0,
                };
                stats.hits = stats.near_hits.saturating_add(stats.outage_hits).saturating_add(stats.store_hits);
                stats
            }
        }
    };
}

counts! {
    /// Reads that found a value in the near cache.
    near_hits: HITS ["near"],
    /// Reads that found a value in the near cache while the invalidation feed was away
    /// ([`near_in_outage`](crate::cache::CacheBuilder::near_in_outage)).
    outage_hits: OUTAGE_HITS,
    /// Reads that found a value in the store.
    store_hits: HITS ["store"],
    /// Reads that found nothing that can be served.
    misses: MISSES,
    /// Stale values that were served.
    stale_served: STALE_SERVED,
    /// Loaders that were started.
    loads: LOADS,
    /// Loaders that failed, panicked or timed out.
    load_failures: LOAD_FAILURES,
    /// Waits for another process's load.
    lease_waits: LEASE_WAITS,
    /// Callers that had waited for somebody else's load for long enough, and loaded for themselves.
    waits_ended: WAITS_ENDED,
    /// Background loads that were not started, because as many were running as may.
    reloads_skipped: RELOADS_SKIPPED,
    /// Loaded values that were not stored, because something was written or invalidated meanwhile.
    fenced: FENCED_FILLS,
    /// Values that were read and not kept near, because they were invalidated meanwhile.
    near_fenced: FENCED_NEAR,
    /// Misses because the stored bytes could not be decoded.
    undecodable: UNDECODABLE,
    /// Misses because the value has a newer schema.
    newer: NEWER_SCHEMA,
    /// Misses because a tag of the value, or the whole cache, was invalidated.
    dropped: DROPPED_BY_TAG,
    /// Reads and fills that the store did not answer, where the loader served instead.
    store_failures: STORE_FAILURES,
    /// Loaded values that were served and can't be stored: too large, say.
    unstorable: UNSTORABLE,
    /// Changes of which the invalidation feed notified the near cache.
    invalidations: INVALIDATIONS,
    /// How often the near cache, or a shard's part of it, became unreadable: the feed was lost, or the cache
    /// invalidated.
    epoch_flushes: EPOCH_FLUSHES,
    /// Bytes of values that were read from the store.
    bytes_read: BYTES ["read"],
    /// Bytes of values that were written to the store.
    bytes_written: BYTES ["written"],
}

/// A counter that orders nothing.
#[derive(Debug)]
pub(super) struct Count {
    counted: AtomicU64,
    exported: Counter,
}

impl Count {
    fn new(metric: &Metric, labels: &[LabelValue<'_>]) -> Self {
        Self { counted: AtomicU64::new(0), exported: Counter::new(metric, labels) }
    }

    pub(super) fn one(&self) {
        self.add(1);
    }

    pub(super) fn add(&self, n: u64) {
        self.counted.fetch_add(n, Ordering::Relaxed);
        self.exported.add(n);
    }

    pub(super) fn get(&self) -> u64 {
        self.counted.load(Ordering::Relaxed)
    }
}

/// Lengths of time, each exported to a histogram.
#[derive(Debug)]
pub(super) struct Times {
    total_micros: AtomicU64,
    longest_micros: AtomicU64,
    exported: Histogram,
}

impl Times {
    fn new(metric: &Metric, cache: &Name) -> Self {
        let exported = Histogram::new(metric, &[cache.into()]);
        Self { total_micros: AtomicU64::new(0), longest_micros: AtomicU64::new(0), exported }
    }

    pub(super) fn add(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.total_micros.fetch_add(micros, Ordering::Relaxed);
        self.longest_micros.fetch_max(micros, Ordering::Relaxed);
        self.exported.record(time);
    }

    fn total(&self) -> Duration {
        Duration::from_micros(self.total_micros.load(Ordering::Relaxed))
    }

    fn longest(&self) -> Duration {
        Duration::from_micros(self.longest_micros.load(Ordering::Relaxed))
    }
}
