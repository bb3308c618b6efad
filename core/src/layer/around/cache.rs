//! A cache store with a layer around each call, and its optional parts where the store has them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Around, Layered};
use crate::cache::{
    CacheCapabilities, CacheCounters, CacheFeed, CacheLeases, CacheStore, CacheTags, Fetched, Fill,
    FillOutcome, Generation, LeaseRequest, Release, SetEntry, SetOptions, SetOutcome, Shard, Tag, Watch,
    Watcher,
};
use crate::error::{Error, Result};
use crate::key::{Key, Namespace};
use crate::layer::Call;
use crate::time::{Timestamp, Ttl};

type LayeredCache<A> = Layered<dyn CacheStore, A>;

/// A part that the accessors have not handed out.
fn absent() -> Error {
    Error::unsupported("this store does not have this part")
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<A: Around> CacheStore for LayeredCache<A> {
    fn capabilities(&self) -> CacheCapabilities {
        let mut capabilities = self.inner.capabilities();
        capabilities.base = self.base(capabilities.base);
        capabilities.read_deadline =
            capabilities.read_deadline.and_then(|own| self.around.deadline(Some(own)));
        capabilities
    }

    fn leases(&self) -> Option<&dyn CacheLeases> {
        self.inner.leases().map(|_| self as &dyn CacheLeases)
    }

    fn tags(&self) -> Option<&dyn CacheTags> {
        self.inner.tags().map(|_| self as &dyn CacheTags)
    }

    fn feed(&self) -> Option<&dyn CacheFeed> {
        self.inner.feed().map(|_| self as &dyn CacheFeed)
    }

    fn counters(&self) -> Option<&dyn CacheCounters> {
        self.inner.counters().map(|_| self as &dyn CacheCounters)
    }

    fn now(&self) -> Timestamp {
        self.inner.now()
    }

    fn shard_of(&self, key: &Key) -> Shard {
        self.inner.shard_of(key)
    }

    async fn get(&self, key: &Key) -> Result<Option<Bytes>> {
        self.around.call(Call::CACHE_GET, || self.inner.get(key)).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        self.around.call(Call::CACHE_GET_MANY, || self.inner.get_many(keys)).await
    }

    async fn get_many_with_ttl(&self, keys: &[Key]) -> Result<Vec<Option<(Bytes, Ttl)>>> {
        self.around.call(Call::CACHE_GET_MANY_WITH_TTL, || self.inner.get_many_with_ttl(keys)).await
    }

    async fn set(&self, key: &Key, value: Bytes, options: &SetOptions) -> Result<SetOutcome> {
        self.around.call(Call::set(options), || self.inner.set(key, value.clone(), options)).await
    }

    async fn set_many(&self, entries: &[SetEntry]) -> Result<Vec<SetOutcome>> {
        self.around.call(Call::set_many(entries), || self.inner.set_many(entries)).await
    }

    async fn remove_many(&self, keys: &[Key]) -> Result<u64> {
        self.around.call(Call::CACHE_REMOVE_MANY, || self.inner.remove_many(keys)).await
    }

    async fn touch(&self, key: &Key, ttl: Ttl) -> Result<bool> {
        self.around.call(Call::CACHE_TOUCH, || self.inner.touch(key, ttl)).await
    }

    async fn ttl(&self, key: &Key) -> Result<Option<Ttl>> {
        self.around.call(Call::CACHE_TTL, || self.inner.ttl(key)).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<A: Around> CacheLeases for LayeredCache<A> {
    async fn fetch(&self, requests: &[LeaseRequest]) -> Result<Vec<Fetched>> {
        let leases = self.inner.leases().ok_or_else(absent)?;
        self.around.call(Call::CACHE_FETCH, || leases.fetch(requests)).await
    }

    async fn fill(&self, fills: &[Fill]) -> Result<Vec<FillOutcome>> {
        let leases = self.inner.leases().ok_or_else(absent)?;
        self.around.call(Call::CACHE_FILL, || leases.fill(fills)).await
    }

    async fn release(&self, released: &[Release]) -> Result<()> {
        let leases = self.inner.leases().ok_or_else(absent)?;
        self.around.call(Call::CACHE_RELEASE, || leases.release(released)).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<A: Around> CacheTags for LayeredCache<A> {
    async fn generations(&self, tags: &[Tag]) -> Result<Vec<(Generation, Duration)>> {
        let part = self.inner.tags().ok_or_else(absent)?;
        self.around.call(Call::CACHE_GENERATIONS, || part.generations(tags)).await
    }

    async fn bump(&self, tags: &[Tag]) -> Result<Vec<Generation>> {
        let part = self.inner.tags().ok_or_else(absent)?;
        self.around.call(Call::CACHE_BUMP, || part.bump(tags)).await
    }
}

#[deny(clippy::missing_trait_methods)]
impl<A: Around> CacheFeed for LayeredCache<A> {
    fn watch(&self, namespace: &Namespace, watcher: Arc<dyn Watcher>) -> Result<Watch> {
        self.inner.feed().ok_or_else(absent)?.watch(namespace, watcher)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<A: Around> CacheCounters for LayeredCache<A> {
    async fn add(&self, key: &Key, delta: i64, ttl: Ttl) -> Result<i64> {
        let counters = self.inner.counters().ok_or_else(absent)?;
        self.around.call(Call::CACHE_ADD, || counters.add(key, delta, ttl)).await
    }
}
