//! How a memory backend is set up.

use stanchion::cache::CacheParts;
use stanchion::environment::Environment;

/// Settings of a [`MemoryBackend`](crate::MemoryBackend).
///
/// | setting | default | |
/// |---|---|---|
/// | [`environment`](Self::environment) | the machine's clock and randomness, no hashing key, the current runtime | |
/// | [`max_value_bytes`](Self::max_value_bytes) | 1 MiB | larger cached values are refused |
/// | [`max_batch`](Self::max_batch) | 10,000 keys | larger batches are refused |
/// | [`max_cache_bytes`](Self::max_cache_bytes) | none | over it, the least recently used cached values are evicted |
/// | [`cache_parts`](Self::cache_parts) | all | which optional parts the cache has |
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct MemoryConfig {
    /// Clock, randomness, hashing key and runtime.
    pub environment: Environment,
    /// The largest cached value, in bytes.
    pub max_value_bytes: usize,
    /// The most keys in one batch.
    pub max_batch: usize,
    /// How many bytes of keys and values the cache may hold; over that, the least recently used are evicted.
    /// `None`: no bound. Sessions, locks, tokens and limits are never evicted.
    pub max_cache_bytes: Option<usize>,
    /// Which optional parts the cache has: fewer, to see how a service does on a smaller backend.
    pub cache_parts: CacheParts,
}

impl MemoryConfig {
    /// The defaults of the table above.
    pub fn new() -> Self {
        Self {
            environment: Environment::system(),
            max_value_bytes: 1024 * 1024,
            max_batch: 10_000,
            max_cache_bytes: None,
            cache_parts: CacheParts::all(),
        }
    }

    /// With another clock, randomness or hashing key.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// With another cap on cached values.
    #[must_use]
    pub fn max_value_bytes(mut self, bytes: usize) -> Self {
        self.max_value_bytes = bytes;
        self
    }

    /// With another cap on batches.
    #[must_use]
    pub fn max_batch(mut self, keys: usize) -> Self {
        self.max_batch = keys;
        self
    }

    /// With a bound on the bytes of the cache.
    #[must_use]
    pub fn max_cache_bytes(mut self, bytes: usize) -> Self {
        self.max_cache_bytes = Some(bytes);
        self
    }

    /// With these optional parts of the cache.
    #[must_use]
    pub fn cache_parts(mut self, parts: CacheParts) -> Self {
        self.cache_parts = parts;
        self
    }
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self::new()
    }
}
