//! What the façade tests share: stores on a clock that they drive, and stores that fail on demand.

#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

pub(crate) mod between;
pub(crate) mod shards;

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use stanchion::cache::{
    Cache, CacheBuilder, CacheCapabilities, CacheCounters, CacheFeed, CacheLeases, CacheStore, CacheTags,
    Fetched, Fill, FillOutcome, Generation, LeaseRequest, LoadError, Release, SetEntry, SetOptions,
    SetOutcome, Shard, Tag, Watch, Watcher,
};
use stanchion::clock::ManualClock;
use stanchion::environment::Environment;
use stanchion::key::{Key, Namespace};
use stanchion::random::SeededRandom;
use stanchion::stores::Stores;
use stanchion::time::{Timestamp, Ttl};
use stanchion::{Effect, Error, ErrorKind, Result};
use stanchion_memory::{MemoryBackend, MemoryConfig};
use tokio::sync::{Notify, oneshot};

use stanchion::cache::AllParts as _;

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

/// A call that loads, in a task of its own.
pub(crate) type Loading<T> = tokio::task::JoinHandle<Result<Arc<T>, LoadError<Infallible>>>;

/// Asks for a value with a loader that waits for a word; answers the task, the word, and when the loader has begun.
pub(crate) fn slow(
    cache: &Cache<u32>,
    id: u32,
) -> (Loading<u32>, oneshot::Sender<u32>, oneshot::Receiver<()>) {
    let (word, value) = oneshot::channel();
    let (began, begun) = oneshot::channel();
    let cache = cache.clone();
    let task = tokio::spawn(async move {
        cache
            .get_or_load(id, move || async move {
                let _ = began.send(());
                Ok::<_, Infallible>(value.await.unwrap())
            })
            .await
    });
    (task, word, begun)
}

/// Asks for a value with a loader that has it.
pub(crate) fn instant(cache: &Cache<u32>, id: u32, value: u32) -> Loading<u32> {
    let cache = cache.clone();
    tokio::spawn(
        async move { cache.get_or_load(id, move || async move { Ok::<_, Infallible>(value) }).await },
    )
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
    /// Leases are granted, values are filled and tags are bumped, and no answer comes.
    pub(crate) mute: AtomicBool,
    /// It is down once it has answered the next batch of reads.
    pub(crate) down_after_reads: AtomicBool,
    /// Others have a turn before each conditional set.
    pub(crate) polite: AtomicBool,
    /// What a read has found is on its way until `arrive` says so.
    pub(crate) late: AtomicBool,
    /// So are the answers of batches of reads.
    pub(crate) late_batches: AtomicBool,
    /// Values are filled only once `arrive` says so.
    pub(crate) late_fills: AtomicBool,
    pub(crate) arrive: Notify,
    pub(crate) calls: AtomicUsize,
    /// The deadline of reads that it declares.
    pub(crate) read_deadline: Mutex<Option<Duration>>,
    /// That of other calls.
    pub(crate) call_deadline: Mutex<Option<Duration>>,
    news: Arc<Mutex<News>>,
    watchers: Mutex<Vec<Arc<dyn Watcher>>>,
}

/// What becomes of the changes that the feed tells.
#[derive(Debug, Default)]
enum News {
    #[default]
    Told,
    /// They are on their way.
    Held(Vec<(Arc<dyn Watcher>, String)>),
    /// The feed is away.
    Missed,
}

/// Between the store and a watcher.
#[derive(Debug)]
struct Relay {
    watcher: Arc<dyn Watcher>,
    news: Arc<Mutex<News>>,
}

impl Watcher for Relay {
    fn changed(&self, key: &str) {
        match &mut *self.news.lock().unwrap() {
            News::Told => self.watcher.changed(key),
            News::Held(held) => held.push((Arc::clone(&self.watcher), key.to_owned())),
            News::Missed => {}
        }
    }
    fn lost(&self, shard: Shard) {
        self.watcher.lost(shard);
    }
    fn restored(&self, shard: Shard) {
        self.watcher.restored(shard);
    }
}

impl Flaky {
    pub(crate) fn over(stores: &Stores) -> Arc<Self> {
        let inner = stores.cache_store().unwrap();
        Arc::new(Self {
            inner,
            down: AtomicBool::new(false),
            hang: AtomicBool::new(false),
            mute: AtomicBool::new(false),
            down_after_reads: AtomicBool::new(false),
            polite: AtomicBool::new(false),
            late: AtomicBool::new(false),
            late_batches: AtomicBool::new(false),
            late_fills: AtomicBool::new(false),
            arrive: Notify::new(),
            calls: AtomicUsize::new(0),
            read_deadline: Mutex::default(),
            call_deadline: Mutex::default(),
            news: Arc::default(),
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
        self.lose_feed();
    }

    /// It answers, and nobody is told of anything.
    pub(crate) fn lose_feed(&self) {
        *self.news.lock().unwrap() = News::Missed;
        self.watchers.lock().unwrap().iter().for_each(|watcher| watcher.lost(Shard::ONLY));
    }

    /// It is up again, and its feed with it; what changed meanwhile is not told.
    pub(crate) fn restore(&self) {
        self.down.store(false, Ordering::SeqCst);
        *self.news.lock().unwrap() = News::Told;
        self.watchers.lock().unwrap().iter().for_each(|watcher| watcher.restored(Shard::ONLY));
    }

    /// What the feed tells from now on is on its way until it is [delivered](Self::deliver_news).
    pub(crate) fn hold_news(&self) {
        *self.news.lock().unwrap() = News::Held(Vec::new());
    }

    /// The first that is on its way.
    pub(crate) fn deliver_one(&self) {
        let first = match &mut *self.news.lock().unwrap() {
            News::Held(held) if !held.is_empty() => Some(held.remove(0)),
            _ => None,
        };
        let (watcher, key) = first.unwrap();
        watcher.changed(&key);
    }

    pub(crate) fn deliver_news(&self) {
        let news = std::mem::take(&mut *self.news.lock().unwrap());
        if let News::Held(held) = news {
            for (watcher, key) in held {
                watcher.changed(&key);
            }
        }
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
        let mut capabilities = self.inner.capabilities();
        if let Some(deadline) = *self.call_deadline.lock().unwrap() {
            capabilities.base.call_deadline = Some(deadline);
        }
        match *self.read_deadline.lock().unwrap() {
            Some(deadline) => capabilities.read_deadline(deadline),
            None => capabilities,
        }
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
        let inner = self.pass()?;
        if self.hang.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let found = inner.get(key).await;
        if self.late.load(Ordering::SeqCst) {
            self.arrive.notified().await;
        }
        found
    }
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        let found = self.pass()?.get_many(keys).await;
        if self.down_after_reads.load(Ordering::SeqCst) {
            self.down.store(true, Ordering::SeqCst);
        }
        if self.late_batches.load(Ordering::SeqCst) {
            self.arrive.notified().await;
        }
        found
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
    async fn touch(&self, key: &Key, ttl: Ttl) -> Result<bool> {
        self.pass()?.touch(key, ttl).await
    }
    async fn ttl(&self, key: &Key) -> Result<Option<Ttl>> {
        self.pass()?.ttl(key).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CacheLeases for Flaky {
    async fn fetch(&self, requests: &[LeaseRequest]) -> Result<Vec<Fetched>> {
        let answer = self.pass()?.fetch(requests).await;
        self.answer(answer).await
    }
    async fn fill(&self, fills: &[Fill]) -> Result<Vec<FillOutcome>> {
        let inner = self.pass()?;
        if self.late_fills.load(Ordering::SeqCst) {
            self.arrive.notified().await;
        }
        let answer = inner.fill(fills).await;
        self.answer(answer).await
    }
    async fn release(&self, leases: &[Release]) -> Result<()> {
        self.pass()?.release(leases).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CacheTags for Flaky {
    async fn generations(&self, tags: &[Tag]) -> Result<Vec<(Generation, Duration)>> {
        self.pass()?.generations(tags).await
    }
    async fn bump(&self, tags: &[Tag]) -> Result<Vec<Generation>> {
        let answer = self.pass()?.bump(tags).await;
        self.answer(answer).await
    }
}

#[deny(clippy::missing_trait_methods)]
impl CacheFeed for Flaky {
    fn watch(&self, namespace: &Namespace, watcher: Arc<dyn Watcher>) -> Result<Watch> {
        self.watchers.lock().unwrap().push(Arc::clone(&watcher));
        self.inner.watch(namespace, Arc::new(Relay { watcher, news: Arc::clone(&self.news) }))
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CacheCounters for Flaky {
    async fn add(&self, key: &Key, delta: i64, ttl: Ttl) -> Result<i64> {
        self.pass()?.add(key, delta, ttl).await
    }
}
