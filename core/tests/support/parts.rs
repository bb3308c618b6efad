//! The optional parts of a store that is known to have them, as if they were its own methods.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use stanchion::cache::{
    CacheStore, Fetched, Fill, FillOutcome, Generation, LeaseRequest, LeaseToken, Tag, Watch, Watcher,
};
use stanchion::key::{Key, Namespace};
use stanchion::time::Ttl;
use stanchion::{Error, Result};

fn absent(part: &str) -> Error {
    Error::unsupported(format!("the store has no {part}"))
}

#[async_trait]
pub(crate) trait Parts {
    async fn fetch(&self, requests: &[LeaseRequest]) -> Result<Vec<Fetched>>;
    async fn fill(&self, fills: &[Fill]) -> Result<Vec<FillOutcome>>;
    async fn release(&self, leases: &[(Key, LeaseToken)]) -> Result<()>;
    async fn generations(&self, tags: &[Tag]) -> Result<Vec<(Generation, Duration)>>;
    async fn bump(&self, tags: &[Tag]) -> Result<Vec<Generation>>;
    async fn add(&self, key: &Key, delta: i64, ttl: Ttl) -> Result<i64>;
    fn watch(&self, namespace: &Namespace, watcher: Arc<dyn Watcher>) -> Result<Watch>;
}

#[async_trait]
impl<S: CacheStore + ?Sized> Parts for S {
    async fn fetch(&self, requests: &[LeaseRequest]) -> Result<Vec<Fetched>> {
        self.leases().ok_or_else(|| absent("leases"))?.fetch(requests).await
    }
    async fn fill(&self, fills: &[Fill]) -> Result<Vec<FillOutcome>> {
        self.leases().ok_or_else(|| absent("leases"))?.fill(fills).await
    }
    async fn release(&self, leases: &[(Key, LeaseToken)]) -> Result<()> {
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
