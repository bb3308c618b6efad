//! The optional parts of a store that is known to have them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

#[cfg(doc)]
use super::{CacheCounters, CacheFeed, CacheLeases, CacheTags};
use super::{CacheStore, Fetched, Fill, FillOutcome, Generation, LeaseRequest, Release, Tag, Watch, Watcher};
use crate::error::{Error, Result};
use crate::key::{Key, Namespace};
use crate::time::Ttl;

fn absent(part: &str) -> Error {
    Error::unsupported(format!("the store has no {part}"))
}

/// Calls of a store's optional parts as if they were its own, for tests of backends: each answers `Unsupported` where the
/// part is absent.
#[async_trait]
pub trait AllParts {
    /// [`CacheLeases::fetch`].
    async fn fetch(&self, requests: &[LeaseRequest]) -> Result<Vec<Fetched>>;
    /// [`CacheLeases::fill`].
    async fn fill(&self, fills: &[Fill]) -> Result<Vec<FillOutcome>>;
    /// [`CacheLeases::release`].
    async fn release(&self, leases: &[Release]) -> Result<()>;
    /// [`CacheTags::generations`].
    async fn generations(&self, tags: &[Tag]) -> Result<Vec<(Generation, Duration)>>;
    /// [`CacheTags::bump`].
    async fn bump(&self, tags: &[Tag]) -> Result<Vec<Generation>>;
    /// [`CacheCounters::add`].
    async fn add(&self, key: &Key, delta: i64, ttl: Ttl) -> Result<i64>;
    /// [`CacheFeed::watch`].
    fn watch(&self, namespace: &Namespace, watcher: Arc<dyn Watcher>) -> Result<Watch>;
}

#[async_trait]
impl<S: CacheStore + ?Sized> AllParts for S {
    async fn fetch(&self, requests: &[LeaseRequest]) -> Result<Vec<Fetched>> {
        self.leases().ok_or_else(|| absent("leases"))?.fetch(requests).await
    }
    async fn fill(&self, fills: &[Fill]) -> Result<Vec<FillOutcome>> {
        self.leases().ok_or_else(|| absent("leases"))?.fill(fills).await
    }
    async fn release(&self, leases: &[Release]) -> Result<()> {
        self.leases().ok_or_else(|| absent("leases"))?.release(leases).await
    }
    async fn generations(&self, tags: &[Tag]) -> Result<Vec<(Generation, Duration)>> {
        self.tags().ok_or_else(|| absent("tags"))?.generations(tags).await
    }
    async fn bump(&self, tags: &[Tag]) -> Result<Vec<Generation>> {
        self.tags().ok_or_else(|| absent("tags"))?.bump(tags).await
    }
    async fn add(&self, key: &Key, delta: i64, ttl: Ttl) -> Result<i64> {
        self.counters().ok_or_else(|| absent("counters"))?.add(key, delta, ttl).await
    }
    fn watch(&self, namespace: &Namespace, watcher: Arc<dyn Watcher>) -> Result<Watch> {
        self.feed().ok_or_else(|| absent("feed"))?.watch(namespace, watcher)
    }
}
