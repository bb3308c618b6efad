//! What the façade tests share: stores on a clock that they drive, and stores that fail on demand.

#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

pub(crate) mod between;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use stanchion::cache::{
    CacheBuilder, CacheCapabilities, CacheStore, Fetched, Fill, FillOutcome, Generation, LeaseRequest,
    LeaseToken, SetEntry, SetOptions, SetOutcome, Tag, Watch, Watcher,
};
use stanchion::clock::ManualClock;
use stanchion::key::{Key, Namespace};
use stanchion::random::SeededRandom;
use stanchion::stores::{Environment, Stores};
use stanchion::time::{Timestamp, Ttl};
use stanchion::{Effect, Error, ErrorKind, Result};
use stanchion_memory::{MemoryBackend, MemoryConfig};

/// A memory backend on a manual clock.
pub(crate) fn manual() -> (MemoryBackend, ManualClock) {
    let clock = ManualClock::new();
    let environment =
        Environment::system().clock(Arc::new(clock.clone())).random(Arc::new(SeededRandom::new(7)));
    (MemoryBackend::with(MemoryConfig::new().environment(environment)), clock)
}

/// Lets every task that can run do so.
pub(crate) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

pub(crate) fn down(effect: Effect) -> Error {
    Error::new(ErrorKind::Unavailable, "down").with_effect(effect)
}

/// A cache store that counts its calls, and fails while it is told to.
#[derive(Debug)]
pub(crate) struct Flaky {
    pub(crate) inner: Arc<dyn CacheStore>,
    pub(crate) down: AtomicBool,
    /// Reads are never answered while this is set.
    pub(crate) hang: AtomicBool,
    /// Leases are granted and values are filled, and no answer comes.
    pub(crate) mute: AtomicBool,
    /// Others have a turn before each conditional set.
    pub(crate) polite: AtomicBool,
    pub(crate) calls: AtomicUsize,
    watchers: Mutex<Vec<Arc<dyn Watcher>>>,
}

impl Flaky {
    pub(crate) fn over(stores: &Stores) -> Arc<Self> {
        let inner = stores.cache_store().unwrap();
        Arc::new(Self {
            inner,
            down: AtomicBool::new(false),
            hang: AtomicBool::new(false),
            mute: AtomicBool::new(false),
            polite: AtomicBool::new(false),
            calls: AtomicUsize::new(0),
            watchers: Mutex::default(),
        })
    }

    /// A cache on it, with this clock.
    pub(crate) fn cache(self: &Arc<Self>, clock: &ManualClock) -> CacheBuilder<u32> {
        let environment =
            Environment::system().clock(Arc::new(clock.clone())).random(Arc::new(SeededRandom::new(9)));
        CacheBuilder::new(self.clone(), environment, "n")
    }

    /// It is down, and its feed with it.
    pub(crate) fn lose(&self) {
        self.down.store(true, Ordering::SeqCst);
        self.watchers.lock().unwrap().iter().for_each(|watcher| watcher.lost());
    }

    async fn answer<R>(&self, answer: R) -> R {
        if self.mute.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        answer
    }

    fn pass(&self) -> Result<&dyn CacheStore> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.down.load(Ordering::SeqCst) { Err(down(Effect::Unknown)) } else { Ok(&*self.inner) }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CacheStore for Flaky {
    fn capabilities(&self) -> CacheCapabilities {
        self.inner.capabilities()
    }
    fn now(&self) -> Timestamp {
        self.inner.now()
    }
    async fn get(&self, key: &Key) -> Result<Option<Bytes>> {
        let inner = self.pass()?;
        if self.hang.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        inner.get(key).await
    }
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        self.pass()?.get_many(keys).await
    }
    async fn get_many_with_ttl(&self, keys: &[Key]) -> Result<Vec<Option<(Bytes, Ttl)>>> {
        self.pass()?.get_many_with_ttl(keys).await
    }
    async fn set(&self, key: &Key, value: Bytes, options: &SetOptions) -> Result<SetOutcome> {
        let inner = self.pass()?;
        if self.polite.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        inner.set(key, value, options).await
    }
    async fn set_many(&self, entries: &[SetEntry]) -> Result<Vec<SetOutcome>> {
        self.pass()?.set_many(entries).await
    }
    async fn remove_many(&self, keys: &[Key]) -> Result<u64> {
        self.pass()?.remove_many(keys).await
    }
    async fn add(&self, key: &Key, delta: i64, ttl: Ttl) -> Result<i64> {
        self.pass()?.add(key, delta, ttl).await
    }
    async fn touch(&self, key: &Key, ttl: Ttl) -> Result<bool> {
        self.pass()?.touch(key, ttl).await
    }
    async fn ttl(&self, key: &Key) -> Result<Option<Ttl>> {
        self.pass()?.ttl(key).await
    }
    async fn fetch(&self, requests: &[LeaseRequest]) -> Result<Vec<Fetched>> {
        let answer = self.pass()?.fetch(requests).await;
        self.answer(answer).await
    }
    async fn fill(&self, fills: &[Fill]) -> Result<Vec<FillOutcome>> {
        let answer = self.pass()?.fill(fills).await;
        self.answer(answer).await
    }
    async fn abandon(&self, leases: &[(Key, LeaseToken)]) -> Result<()> {
        self.pass()?.abandon(leases).await
    }
    async fn generations(&self, tags: &[Tag]) -> Result<Vec<(Generation, Duration)>> {
        self.pass()?.generations(tags).await
    }
    async fn bump(&self, tags: &[Tag]) -> Result<Vec<Generation>> {
        self.pass()?.bump(tags).await
    }
    fn watch(&self, namespace: &Namespace, watcher: Arc<dyn Watcher>) -> Result<Watch> {
        self.watchers.lock().unwrap().push(Arc::clone(&watcher));
        self.inner.watch(namespace, watcher)
    }
}
