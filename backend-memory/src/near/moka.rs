//! The near cache on moka.

use std::fmt;

use ::moka::policy::EvictionPolicy;
use ::moka::sync::Cache;
use stanchion::cache::{NearEngine, NearEntry};

use super::bound::Bound;

/// What an entry takes beside its key and its value, measured with half a million of them.
const OWN_BYTES: usize = 400;

/// Which entry goes when a [`MokaNear`] is full.
///
/// Measured, 10,000 entries in front of 100,000 keys read by Zipf's law (0.9):
///
/// | hit ratio, % | steady | after the hot keys changed | with a scan of other keys, a quarter of the reads |
/// |---|---|---|---|
/// | `Lru` | 60 | 60 | 41 |
/// | `TinyLfu` | 68 | 61 | 50 |
///
/// Of 100 fresh entries, put into a full cache whose entries had been read ten times each, `Lru` kept 100 and `TinyLfu`
/// none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum MokaEviction {
    /// The least recently used one. The default, because it can be foreseen: what was just read from the store is here
    /// on the next read, whatever else is hot. With `TinyLfu` a new value may need to be read as often as the old ones
    /// were before it is kept at all, and each of those reads is a trip to the store.
    #[default]
    Lru,
    /// The less often used one of the oldest and the newcomer. Better where the cache is much smaller than what is
    /// read, and what is popular stays so; a scan harms it less.
    TinyLfu,
}

/// A near cache on [moka](https://docs.rs/moka). A hit takes some 280 ns, most of it moka's bookkeeping of who was used.
///
/// ```
/// use stanchion_memory::{MokaEviction, MokaNear};
///
/// struct User { name: String }
///
/// let by_number = MokaNear::entries(10_000);
/// let by_size = MokaNear::bytes(64 << 20, |user: &User| user.name.capacity()).eviction(MokaEviction::TinyLfu);
/// ```
pub struct MokaNear {
    cache: Cache<Box<str>, NearEntry>,
    bound: Bound,
    eviction: MokaEviction,
}

impl MokaNear {
    /// At most this many entries, once evictions are done; a burst is over it by some hundreds for a moment.
    pub fn entries(limit: u64) -> Self {
        Self::build(Bound::Entries(limit), MokaEviction::default())
    }

    /// At most about this many bytes. `heap_bytes` says how many a value holds outside of itself, as in its strings and
    /// vectors; itself, its key and the engine's part are counted already. It is called once for an entry. `T` has to be
    /// the type of the cache's values: those of another type count without what they hold.
    pub fn bytes<T: 'static>(limit: u64, heap_bytes: impl Fn(&T) -> usize + Send + Sync + 'static) -> Self {
        Self::build(Bound::bytes(limit, heap_bytes), MokaEviction::default())
    }

    /// With another policy of eviction. To be set before use: entries are lost by it.
    #[must_use]
    pub fn eviction(self, eviction: MokaEviction) -> Self {
        Self::build(self.bound, eviction)
    }

    fn build(bound: Bound, eviction: MokaEviction) -> Self {
        let policy = match eviction {
            MokaEviction::Lru => EvictionPolicy::lru(),
            MokaEviction::TinyLfu => EvictionPolicy::tiny_lfu(),
        };
        let builder =
            Cache::<Box<str>, NearEntry>::builder().max_capacity(bound.limit()).eviction_policy(policy);
        let cache = match &bound {
            Bound::Entries(_) => builder.build(),
            Bound::Bytes(..) => {
                let bound = bound.clone();
                builder.weigher(move |key, entry| bound.weigh(OWN_BYTES, key, entry)).build()
            }
        };
        Self { cache, bound, eviction }
    }
}

impl NearEngine for MokaNear {
    fn get(&self, key: &str) -> Option<NearEntry> {
        self.cache.get(key)
    }

    fn insert(&self, key: &str, entry: NearEntry) {
        self.cache.insert(key.into(), entry);
    }

    fn remove(&self, key: &str) {
        self.cache.invalidate(key);
    }

    fn clear(&self) {
        self.cache.invalidate_all();
        // This hides the entries; the memory comes back with moka's maintenance, which would wait for traffic. One run
        // of it ends by itself after a tenth of a second.
        self.cache.run_pending_tasks();
    }

    fn len(&self) -> u64 {
        self.cache.entry_count()
    }
}

impl fmt::Debug for MokaNear {
    // Without the keys, which may name people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MokaNear")
            .field("bound", &self.bound)
            .field("eviction", &self.eviction)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract;
    use super::*;

    fn settle(engine: &MokaNear) {
        engine.cache.run_pending_tasks();
    }

    #[test]
    fn keeps_the_contract_with_both_policies() {
        for eviction in [MokaEviction::Lru, MokaEviction::TinyLfu] {
            contract::holds(|limit| MokaNear::entries(limit).eviction(eviction), settle);
        }
    }

    #[test]
    fn bytes_are_bounded() {
        contract::bounds_bytes(&MokaNear::bytes(contract::BYTES, contract::heap_bytes), settle);
    }

    /// What the default is chosen for.
    #[test]
    fn a_full_hot_cache_keeps_what_is_fresh() {
        let kept = |eviction| {
            let engine = MokaNear::entries(1_000).eviction(eviction);
            contract::fresh_kept(&engine, settle)
        };
        assert_eq!(kept(MokaEviction::default()), 100);
        assert!(kept(MokaEviction::TinyLfu) < 50);
    }
}
