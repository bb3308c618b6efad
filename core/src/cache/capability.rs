//! What a cache backend can take.

use std::time::Duration;

use crate::error::{Error, Result};

/// The bounds of a cache backend, declared and checked before a call reaches its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheCapabilities {
    /// The largest value, in bytes.
    pub max_value_bytes: usize,
    /// The most keys in one batch.
    pub max_batch: usize,
    /// Whether [`watch`](super::CacheStore::watch) tells of changes. Without, there is no near cache, and the
    /// generations of tags are read each time.
    pub watch: bool,
    /// Within what time a read is answered or fails, whatever becomes of the store; `None` if the store keeps no
    /// deadline. A façade that wants less runs a timer of its own.
    pub read_deadline: Option<Duration>,
}

impl CacheCapabilities {
    /// 1 MiB a value, 10,000 keys a batch, changes are told.
    pub const fn new() -> Self {
        Self { max_value_bytes: 1024 * 1024, max_batch: 10_000, watch: true, read_deadline: None }
    }

    /// With another cap on values.
    #[must_use]
    pub const fn max_value_bytes(mut self, bytes: usize) -> Self {
        self.max_value_bytes = bytes;
        self
    }

    /// With another cap on batches.
    #[must_use]
    pub const fn max_batch(mut self, keys: usize) -> Self {
        self.max_batch = keys;
        self
    }

    /// With a deadline for reads.
    #[must_use]
    pub const fn read_deadline(mut self, deadline: Duration) -> Self {
        self.read_deadline = Some(deadline);
        self
    }

    /// Without being told of changes.
    #[must_use]
    pub const fn without_watch(mut self) -> Self {
        self.watch = false;
        self
    }

    /// Refuses a value over the cap.
    pub fn check_value(&self, bytes: usize) -> Result<()> {
        if bytes > self.max_value_bytes {
            return Err(Error::invalid(format!(
                "a value may have {} bytes, got {bytes}; store less, or raise the backend's cap",
                self.max_value_bytes
            )));
        }
        Ok(())
    }

    /// Refuses a batch over the cap.
    pub fn check_batch(&self, keys: usize) -> Result<()> {
        if keys > self.max_batch {
            return Err(Error::invalid(format!(
                "a batch may have {} keys, got {keys}; split it",
                self.max_batch
            )));
        }
        Ok(())
    }
}

impl Default for CacheCapabilities {
    fn default() -> Self {
        Self::new()
    }
}
