//! How a memory backend is set up.

use stanchion::cache::CacheCapabilities;
use stanchion::stores::Environment;

/// Settings of a [`MemoryBackend`](crate::MemoryBackend).
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

    /// With another clock, randomness or hashing key.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// With other bounds of values and batches.
    #[must_use]
    pub fn cache(mut self, capabilities: CacheCapabilities) -> Self {
        self.cache = capabilities;
        self
    }

    /// With a bound on the bytes of the cache.
    #[must_use]
    pub fn max_cache_bytes(mut self, bytes: usize) -> Self {
        self.max_cache_bytes = Some(bytes);
        self
    }
}
