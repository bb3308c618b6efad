//! How a memory backend is set up.

use stanchion::cache::CacheCapabilities;
use stanchion::stores::Environment;

/// Settings of a [`MemoryBackend`](crate::MemoryBackend).
///
/// | setting | default | unit and bounds |
/// |---|---|---|
/// | [`environment`](Self::environment()) | [`Environment::system`] | clock, randomness, hashing key and runtime |
/// | [`cache`](Self::cache()) | [`CacheCapabilities::new`] | at most 1 MiB a value and 10,000 keys a batch, unless set there |
/// | [`max_cache_bytes`](Self::max_cache_bytes()) | none: no bound | bytes of keys and values, any number; what is larger by itself is not kept |
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct MemoryConfig {
    /// Clock, randomness, hashing key and runtime.
    pub environment: Environment,
    /// The bounds of cached values and batches.
    pub cache: CacheCapabilities,
    /// How many bytes of keys and values the cache may hold; over that, the least recently used are evicted.
    /// `None`: no bound. Sessions, locks, tokens and limits are never evicted.
    pub max_cache_bytes: Option<usize>,
}

impl MemoryConfig {
    /// The machine's clock and randomness, no bound on the cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// With another clock, randomness or hashing key; the machine's own and the unkeyed hash unless set.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// With other bounds of values and batches: the bytes of a value, the keys of a batch, and whether there is an
    /// invalidation feed.
    #[must_use]
    pub fn cache(mut self, capabilities: CacheCapabilities) -> Self {
        self.cache = capabilities;
        self
    }

    /// With a bound on the bytes of keys and values in the cache; none unless set. Over it the least recently used entries
    /// are evicted, and an entry that is larger by itself is not kept.
    #[must_use]
    pub fn max_cache_bytes(mut self, bytes: usize) -> Self {
        self.max_cache_bytes = Some(bytes);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the table at [`MemoryConfig`] says.
    #[test]
    fn the_defaults_are_those_of_the_table() {
        let config = MemoryConfig::new();
        assert_eq!(config.cache, CacheCapabilities::new());
        assert_eq!((config.cache.max_value_bytes, config.cache.max_batch), (1024 * 1024, 10_000));
        assert_eq!(config.max_cache_bytes, None);
    }
}
