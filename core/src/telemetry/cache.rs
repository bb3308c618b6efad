//! What caches measure, each under its kind (`user` of `stores.cache("user")`).

use super::metric::catalogue;
use super::{Metric, Unit};

catalogue! {
    HITS = counter(
        "stanchion_cache_hits_total",
        "Reads that found a value, or that there is none: near, in this process, or in the store."
    ).labels(&["cache", "level"]);
    OUTAGE_HITS = counter(
        "stanchion_cache_outage_hits_total",
        "Near copies that were served while the invalidation feed was away."
    ).labels(&["cache"]);
    MISSES = counter("stanchion_cache_misses_total", "Reads that found nothing that can be served.").labels(&["cache"]);
    STALE_SERVED = counter("stanchion_cache_stale_served_total", "Stale values that were served.").labels(&["cache"]);
    LOADS = counter("stanchion_cache_loads_total", "Loaders that were started.").labels(&["cache"]);
    LOAD_FAILURES = counter(
        "stanchion_cache_load_failures_total",
        "Loaders that failed, panicked or took too long."
    ).labels(&["cache"]);
    LOAD_SECONDS = seconds("stanchion_cache_load_seconds", "How long loaders took.").labels(&["cache"]);
    LEASE_WAITS = counter(
        "stanchion_cache_lease_waits_total",
        "Waits for a load of another process."
    ).labels(&["cache"]);
    WAITS_ENDED = counter(
        "stanchion_cache_waits_ended_total",
        "Callers that had waited for somebody else's load for long enough, and loaded for themselves."
    ).labels(&["cache"]);
    RELOADS_SKIPPED = counter(
        "stanchion_cache_reloads_skipped_total",
        "Background loads that were not started, because as many were running as may."
    ).labels(&["cache"]);
    FENCED_FILLS = counter(
        "stanchion_cache_fenced_fills_total",
        "Loaded values that were not stored, because something was written or invalidated meanwhile."
    ).labels(&["cache"]);
    FENCED_NEAR = counter(
        "stanchion_cache_fenced_near_total",
        "Values that were read and not kept in the near cache, because they were invalidated meanwhile."
    ).labels(&["cache"]);
    UNDECODABLE = counter(
        "stanchion_cache_undecodable_total",
        "Misses because the stored bytes could not be decoded."
    ).labels(&["cache"]);
    NEWER_SCHEMA = counter(
        "stanchion_cache_newer_schema_total",
        "Misses because the stored value has a newer schema."
    ).labels(&["cache"]);
    DROPPED_BY_TAG = counter(
        "stanchion_cache_dropped_by_tag_total",
        "Misses because a tag of the value, or the whole cache, was invalidated."
    ).labels(&["cache"]);
    STORE_FAILURES = counter(
        "stanchion_cache_store_failures_total",
        "Reads and fills that the store did not answer, where the loader served instead."
    ).labels(&["cache"]);
    UNSTORABLE = counter(
        "stanchion_cache_unstorable_total",
        "Loaded values that were served and can't be stored: too large, say."
    ).labels(&["cache"]);
    INVALIDATIONS = counter(
        "stanchion_cache_invalidations_total",
        "Changes of which the invalidation feed notified the near cache."
    ).labels(&["cache"]);
    INVALIDATION_LAG_SECONDS = seconds(
        "stanchion_cache_invalidation_lag_seconds",
        "From a write of this process until the invalidation feed brought it back."
    ).labels(&["cache"]);
    EPOCH_FLUSHES = counter(
        "stanchion_cache_epoch_flushes_total",
        "How often the near cache, or on a Cluster a master's part of it, became unreadable: the feed was lost, or the cache invalidated."
    ).labels(&["cache"]);
    BYTES = counter(
        "stanchion_cache_bytes_total",
        "Bytes of values that were read from the store, or written to it."
    ).unit(Unit::Bytes).labels(&["cache", "direction"]);
}
