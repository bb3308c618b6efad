//! What a cache has counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident: $metric:literal $([$($label:literal = $value:literal),*])?,)*) => {
        /// Counts since the cache was built, of this process. A snapshot: the counts are read one after the other.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
        #[non_exhaustive]
        pub struct CacheStats {
            /// Reads that found a value, near or in the store; also one that is known to be absent.
            pub hits: u64,
            $($(#[$doc])* pub $name: u64,)*
            /// The time that all loads took together.
            pub load_time: Duration,
            /// The longest that a change of this process's own was seen to take until the feed told of it.
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
            pub(super) fn of(cache: &str) -> Self {
                Self {
                    $($name: Count::exported($metric, cache, &[$($(($label, $value)),*)?]),)*
                    load_time: Times::exported("stanchion_cache_load_seconds", cache),
                    invalidation_lag: Times::exported("stanchion_cache_invalidation_lag_seconds", cache),
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
                stats.hits = stats.near_hits.saturating_add(stats.store_hits);
                stats
            }
        }
    };
}

counts! {
    /// Reads that found a value in the near cache.
    near_hits: "stanchion_cache_hits_total" ["level" = "near"],
    /// Reads that found a value in the store.
    store_hits: "stanchion_cache_hits_total" ["level" = "store"],
    /// Reads that found nothing, or nothing that counts.
    misses: "stanchion_cache_misses_total",
    /// Stale values that were served.
    stale_served: "stanchion_cache_stale_served_total",
    /// Loaders that were started.
    loads: "stanchion_cache_loads_total",
    /// Loaders that failed, panicked or timed out.
    load_failures: "stanchion_cache_load_failures_total",
    /// Waits for another process's load.
    lease_waits: "stanchion_cache_lease_waits_total",
    /// Loaded values that were not stored, because something was written meanwhile.
    fenced: "stanchion_cache_fenced_fills_total",
    /// Values that were read and not kept near, because something was told meanwhile.
    near_fenced: "stanchion_cache_fenced_near_total",
    /// Misses because the stored bytes could not be decoded.
    undecodable: "stanchion_cache_undecodable_total",
    /// Misses because the value has a newer schema.
    newer: "stanchion_cache_newer_schema_total",
    /// Misses because something that the value is tagged with was dropped.
    dropped: "stanchion_cache_dropped_by_tag_total",
    /// Reads and fills that the store did not answer, where the loader served instead.
    store_failures: "stanchion_cache_store_failures_total",
    /// Loaded values that were served and can't be stored: too large, say.
    unstorable: "stanchion_cache_unstorable_total",
    /// Changes that the feed told of.
    invalidations: "stanchion_cache_invalidations_total",
    /// How often the whole near cache became unreadable: the feed was lost, or the namespace dropped.
    epoch_flushes: "stanchion_cache_epoch_flushes_total",
    /// Bytes of values that were read from the store.
    bytes_read: "stanchion_cache_bytes_total" ["direction" = "read"],
    /// Bytes of values that were written to the store.
    bytes_written: "stanchion_cache_bytes_total" ["direction" = "written"],
}

/// A counter that orders nothing.
#[derive(Debug)]
pub(super) struct Count {
    counted: AtomicU64,
    #[cfg(feature = "metrics")]
    exported: Exported<metrics::Counter>,
}

/// Lengths of time, each exported to a histogram.
#[derive(Debug)]
pub(super) struct Times {
    total_micros: AtomicU64,
    longest_micros: AtomicU64,
    #[cfg(feature = "metrics")]
    exported: Exported<metrics::Histogram>,
}

impl Times {
    #[cfg(feature = "metrics")]
    fn exported(metric: &'static str, cache: &str) -> Self {
        let exported = Exported(metrics::histogram!(metric, "cache" => cache.to_owned()));
        Self { total_micros: AtomicU64::new(0), longest_micros: AtomicU64::new(0), exported }
    }

    #[cfg(not(feature = "metrics"))]
    fn exported(_metric: &'static str, _cache: &str) -> Self {
        Self { total_micros: AtomicU64::new(0), longest_micros: AtomicU64::new(0) }
    }

    pub(super) fn add(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.total_micros.fetch_add(micros, Ordering::Relaxed);
        self.longest_micros.fetch_max(micros, Ordering::Relaxed);
        #[cfg(feature = "metrics")]
        self.exported.0.record(time.as_secs_f64());
    }

    fn total(&self) -> Duration {
        Duration::from_micros(self.total_micros.load(Ordering::Relaxed))
    }

    fn longest(&self) -> Duration {
        Duration::from_micros(self.longest_micros.load(Ordering::Relaxed))
    }
}

/// A handle of the recorder, which says nothing of itself.
#[cfg(feature = "metrics")]
struct Exported<H>(H);

#[cfg(feature = "metrics")]
impl<H> std::fmt::Debug for Exported<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Exported")
    }
}

impl Count {
    #[cfg(feature = "metrics")]
    fn exported(metric: &'static str, cache: &str, labels: &[(&'static str, &'static str)]) -> Self {
        let mut all = vec![metrics::Label::new("cache", cache.to_owned())];
        all.extend(labels.iter().map(|(name, value)| metrics::Label::from_static_parts(name, value)));
        Self { counted: AtomicU64::new(0), exported: Exported(metrics::counter!(metric, all)) }
    }

    #[cfg(not(feature = "metrics"))]
    fn exported(_metric: &'static str, _cache: &str, _labels: &[(&'static str, &'static str)]) -> Self {
        Self { counted: AtomicU64::new(0) }
    }

    pub(super) fn one(&self) {
        self.add(1);
    }

    pub(super) fn add(&self, n: u64) {
        self.counted.fetch_add(n, Ordering::Relaxed);
        #[cfg(feature = "metrics")]
        self.exported.0.increment(n);
    }

    pub(super) fn get(&self) -> u64 {
        self.counted.load(Ordering::Relaxed)
    }
}
