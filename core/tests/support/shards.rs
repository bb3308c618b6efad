//! A store of several shards, each a memory backend, that can be taken away one by one.

use std::collections::HashMap;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use stanchion::cache::AllParts as _;
use stanchion::cache::{
    CacheBuilder, CacheCapabilities, CacheCounters, CacheFeed, CacheLeases, CacheStore, CacheTags, Fetched,
    Fill, FillOutcome, Generation, LeaseRequest, Release, SetEntry, SetOptions, SetOutcome, Shard, Tag,
    Watch, Watcher,
};
use stanchion::clock::ManualClock;
use stanchion::environment::Environment;
use stanchion::key::{Key, Namespace};
use stanchion::random::SeededRandom;
use stanchion::time::{Timestamp, Ttl};
use stanchion::{Effect, Error, ErrorKind, Result};
use stanchion_memory::{MemoryBackend, MemoryConfig};

use super::down;

/// Which shards hold values: the first two. The third holds the generations, unless told otherwise.
pub(crate) const A: u8 = 0;
pub(crate) const B: u8 = 1;
pub(crate) const TAGS: u8 = 2;

#[derive(Debug)]
struct Part {
    store: Arc<dyn CacheStore>,
    down: Arc<AtomicBool>,
    /// It works, and sends no invalidations.
    silent: Arc<AtomicBool>,
    calls: AtomicUsize,
    watchers: Mutex<Vec<Arc<dyn Watcher>>>,
}

/// Between a part and a watcher of the whole.
#[derive(Debug)]
struct Relay {
    shard: Shard,
    watcher: Arc<dyn Watcher>,
    down: Arc<AtomicBool>,
    silent: Arc<AtomicBool>,
}

impl Watcher for Relay {
    fn changed(&self, key: &str) {
        if !self.down.load(SeqCst) && !self.silent.load(SeqCst) {
            self.watcher.changed(key);
        }
    }
    fn lost(&self, _: Shard) {
        self.watcher.lost(self.shard);
    }
    fn restored(&self, _: Shard) {
        if !self.down.load(SeqCst) {
            self.watcher.restored(self.shard);
        }
    }
}

#[derive(Debug)]
pub(crate) struct Sharded {
    parts: Vec<Part>,
    tags_at: u8,
    /// Keys that are elsewhere than where they were at first.
    moved: Mutex<HashMap<String, u8>>,
}

impl Sharded {
    /// Three shards on one clock; generations in this one.
    pub(crate) fn new(tags_at: u8) -> (Arc<Self>, ManualClock) {
        let clock = ManualClock::new();
        let environment =
            Environment::system().clock(Arc::new(clock.clone())).random(Arc::new(SeededRandom::new(7)));
        let part = |_| Part {
            store: MemoryBackend::with(MemoryConfig::new().environment(environment.clone()))
                .stores()
                .cache_store()
                .unwrap(),
            down: Arc::default(),
            silent: Arc::default(),
            calls: AtomicUsize::new(0),
            watchers: Mutex::default(),
        };
        let parts = [A, B, TAGS].into_iter().map(part).collect();
        (Arc::new(Self { parts, tags_at, moved: Mutex::default() }), clock)
    }

    pub(crate) fn cache(self: &Arc<Self>, clock: &ManualClock) -> CacheBuilder<u32> {
        let environment =
            Environment::system().clock(Arc::new(clock.clone())).random(Arc::new(SeededRandom::new(11)));
        CacheBuilder::new(self.clone(), environment, "n")
    }

    /// How many calls a shard had so far.
    pub(crate) fn calls(&self, shard: u8) -> usize {
        self.parts[usize::from(shard)].calls.load(SeqCst)
    }

    /// The store of a shard itself, which works also while the shard is away.
    pub(crate) fn behind(&self, shard: u8) -> &dyn CacheStore {
        &*self.parts[usize::from(shard)].store
    }

    fn notify(&self, shard: u8, notify: impl Fn(&dyn Watcher, Shard)) {
        let watchers = self.parts[usize::from(shard)].watchers.lock().unwrap().clone();
        for watcher in watchers {
            notify(&*watcher, Shard::new(shard));
        }
    }

    /// A shard is away, and its feed with it.
    pub(crate) fn take_away(&self, shard: u8) {
        self.parts[usize::from(shard)].down.store(true, SeqCst);
        self.notify(shard, Watcher::lost);
    }

    /// The feed of a shard is away, and nothing else of it.
    pub(crate) fn lose_feed(&self, shard: u8) {
        self.parts[usize::from(shard)].silent.store(true, SeqCst);
        self.notify(shard, Watcher::lost);
    }

    pub(crate) fn bring_back(&self, shard: u8) {
        self.parts[usize::from(shard)].down.store(false, SeqCst);
        self.notify(shard, Watcher::restored);
    }

    /// Moves a key with its value to another shard, and nobody is notified by the one that it leaves but as the contract says.
    pub(crate) async fn move_key(&self, key: &Key, to: u8) {
        let from = self.shard_of(key).number();
        if let Some(value) = self.behind(from).get(key).await.unwrap() {
            let set = self.behind(to).set(key, value, &SetOptions::new(Ttl::MAX)).await.unwrap();
            assert_eq!(set, SetOutcome::Stored);
        }
        self.moved.lock().unwrap().insert(key.as_str().to_owned(), to);
        self.notify(from, Watcher::lost);
        if !self.parts[usize::from(from)].down.load(SeqCst) {
            self.notify(from, Watcher::restored);
        }
    }

    fn at(&self, key: &Key) -> Result<&dyn CacheStore> {
        let part = &self.parts[usize::from(self.shard_of(key).number())];
        part.calls.fetch_add(1, SeqCst);
        if part.down.load(SeqCst) { Err(down(Effect::Unknown)) } else { Ok(&*part.store) }
    }
}

fn first<T>(mut answers: Vec<T>) -> Result<T> {
    answers.pop().ok_or_else(|| Error::new(ErrorKind::Internal, "no answer"))
}

/// As a batch of calls that fails as a whole.
macro_rules! each {
    ($items:expr, |$item:ident| $call:expr) => {{
        let mut answers = Vec::new();
        for $item in $items {
            answers.push($call);
        }
        Ok(answers)
    }};
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CacheStore for Sharded {
    fn capabilities(&self) -> CacheCapabilities {
        self.parts[0].store.capabilities()
    }
    fn leases(&self) -> Option<&dyn CacheLeases> {
        Some(self)
    }
    fn tags(&self) -> Option<&dyn CacheTags> {
        Some(self)
    }
    fn feed(&self) -> Option<&dyn CacheFeed> {
        Some(self)
    }
    fn counters(&self) -> Option<&dyn CacheCounters> {
        None
    }
    fn now(&self) -> Timestamp {
        self.parts[0].store.now()
    }
    fn shard_of(&self, key: &Key) -> Shard {
        let text = key.as_str();
        let at_first = if text.starts_with("tags:") {
            self.tags_at
        } else {
            // The last digit decides.
            text.bytes().last().unwrap_or_default() % 2
        };
        Shard::new(self.moved.lock().unwrap().get(text).copied().unwrap_or(at_first))
    }
    async fn get(&self, key: &Key) -> Result<Option<Bytes>> {
        self.at(key)?.get(key).await
    }
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        each!(keys, |key| self.at(key)?.get(key).await?)
    }
    async fn get_many_with_ttl(&self, keys: &[Key]) -> Result<Vec<Option<(Bytes, Ttl)>>> {
        each!(keys, |key| first(self.at(key)?.get_many_with_ttl(std::slice::from_ref(key)).await?)?)
    }
    async fn set(&self, key: &Key, value: Bytes, options: &SetOptions) -> Result<SetOutcome> {
        self.at(key)?.set(key, value, options).await
    }
    async fn set_many(&self, entries: &[SetEntry]) -> Result<Vec<SetOutcome>> {
        each!(entries, |one| self.at(&one.key)?.set(&one.key, one.value.clone(), &one.options).await?)
    }
    async fn remove_many(&self, keys: &[Key]) -> Result<u64> {
        let mut removed = 0;
        for key in keys {
            removed += self.at(key)?.remove_many(std::slice::from_ref(key)).await?;
        }
        Ok(removed)
    }
    async fn touch(&self, key: &Key, ttl: Ttl) -> Result<bool> {
        self.at(key)?.touch(key, ttl).await
    }
    async fn ttl(&self, key: &Key) -> Result<Option<Ttl>> {
        self.at(key)?.ttl(key).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CacheLeases for Sharded {
    async fn fetch(&self, requests: &[LeaseRequest]) -> Result<Vec<Fetched>> {
        each!(requests, |one| first(self.at(&one.key)?.fetch(std::slice::from_ref(one)).await?)?)
    }
    async fn fill(&self, fills: &[Fill]) -> Result<Vec<FillOutcome>> {
        each!(fills, |one| first(self.at(&one.key)?.fill(std::slice::from_ref(one)).await?)?)
    }
    async fn release(&self, leases: &[Release]) -> Result<()> {
        for lease in leases {
            self.at(&lease.key)?.release(std::slice::from_ref(lease)).await?;
        }
        Ok(())
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CacheTags for Sharded {
    async fn generations(&self, tags: &[Tag]) -> Result<Vec<(Generation, Duration)>> {
        each!(tags, |tag| first(self.at(tag.key())?.generations(std::slice::from_ref(tag)).await?)?)
    }
    async fn bump(&self, tags: &[Tag]) -> Result<Vec<Generation>> {
        each!(tags, |tag| first(self.at(tag.key())?.bump(std::slice::from_ref(tag)).await?)?)
    }
}

#[deny(clippy::missing_trait_methods)]
impl CacheFeed for Sharded {
    fn watch(&self, namespace: &Namespace, watcher: Arc<dyn Watcher>) -> Result<Watch> {
        let mut watches = Vec::new();
        for (number, part) in [A, B, TAGS].into_iter().zip(&self.parts) {
            let (watcher, down) = (Arc::clone(&watcher), Arc::clone(&part.down));
            let silent = Arc::clone(&part.silent);
            part.watchers.lock().unwrap().push(Arc::clone(&watcher));
            let relay = Relay { shard: Shard::new(number), watcher, down, silent };
            watches.push(part.store.watch(namespace, Arc::new(relay))?);
        }
        Ok(Watch::new(move || drop(watches)))
    }
}
