//! A store whose answers and news come when a test says so.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
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
use stanchion::{Effect, Result};
use stanchion_memory::MemoryBackend;

use super::down;
use stanchion::cache::AllParts as _;

type Hook = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What happens once, if something is to.
async fn happen(hook: &Mutex<Option<Hook>>) {
    let hook = hook.lock().unwrap().take();
    if let Some(hook) = hook {
        hook.await;
    }
}

/// A watcher that can be told late: what is held back is told on release, in its order.
#[derive(Debug)]
pub(crate) struct Gate {
    namespace: String,
    /// The how-manieth watcher of its namespace.
    number: usize,
    inner: Arc<dyn Watcher>,
    pub(crate) held: AtomicBool,
    late: Mutex<Vec<String>>,
    /// This one is never told that it is restored, nor of anything.
    deaf: bool,
}

impl Gate {
    pub(crate) fn release(&self) {
        self.held.store(false, SeqCst);
        for key in std::mem::take(&mut *self.late.lock().unwrap()) {
            self.inner.changed(&key);
        }
    }
}

impl Watcher for Gate {
    fn changed(&self, key: &str) {
        if self.held.load(SeqCst) {
            self.late.lock().unwrap().push(key.to_owned());
        } else if !self.deaf {
            self.inner.changed(key);
        }
    }
    fn lost(&self, shard: Shard) {
        if !self.deaf {
            self.inner.lost(shard);
        }
    }
    fn restored(&self, shard: Shard) {
        if !self.deaf {
            self.inner.restored(shard);
        }
    }
}

/// A store that passes everything on, with a word before some of it.
pub(crate) struct Between {
    inner: Arc<dyn CacheStore>,
    /// What happens before the next request for leases.
    pub(crate) before_fetch: Mutex<Option<Hook>>,
    /// What happens before the next answer to one is heard.
    pub(crate) after_fetch: Mutex<Option<Hook>>,
    /// What happens before the next batch of sets is made, and before its answer is heard.
    pub(crate) before_set: Mutex<Option<Hook>>,
    pub(crate) after_set: Mutex<Option<Hook>>,
    /// The answer to the next batch of sets is lost.
    pub(crate) lose_set: AtomicBool,
    /// What happens before the answer to the next removal is heard.
    pub(crate) after_remove: Mutex<Option<Hook>>,
    /// Nothing is said of generations while this is set.
    pub(crate) no_generations: AtomicBool,
    gates: Mutex<Vec<Arc<Gate>>>,
    deaf_to: Option<&'static str>,
}

impl fmt::Debug for Between {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Between")
    }
}

impl Between {
    pub(crate) fn over(backend: &MemoryBackend, deaf_to: Option<&'static str>) -> Arc<Self> {
        Arc::new(Self {
            inner: backend.handle().stores().cache_store().unwrap(),
            before_fetch: Mutex::default(),
            after_fetch: Mutex::default(),
            before_set: Mutex::default(),
            after_set: Mutex::default(),
            lose_set: AtomicBool::default(),
            after_remove: Mutex::default(),
            no_generations: AtomicBool::default(),
            gates: Mutex::default(),
            deaf_to,
        })
    }
    pub(crate) fn cache(self: &Arc<Self>, clock: &ManualClock) -> CacheBuilder<u32> {
        let environment =
            Environment::system().clock(Arc::new(clock.clone())).random(Arc::new(SeededRandom::new(11)));
        CacheBuilder::new(self.clone(), environment, "n")
    }
    /// The how-manieth watcher of a namespace.
    pub(crate) fn gate(&self, namespace: &str, number: usize) -> Arc<Gate> {
        let gates = self.gates.lock().unwrap();
        gates.iter().find(|gate| gate.namespace == namespace && gate.number == number).unwrap().clone()
    }
}

#[async_trait]
impl CacheStore for Between {
    fn capabilities(&self) -> CacheCapabilities {
        self.inner.capabilities()
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
        self.inner.get(key).await
    }
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        self.inner.get_many(keys).await
    }
    async fn get_many_with_ttl(&self, keys: &[Key]) -> Result<Vec<Option<(Bytes, Ttl)>>> {
        self.inner.get_many_with_ttl(keys).await
    }
    async fn set(&self, key: &Key, value: Bytes, options: &SetOptions) -> Result<SetOutcome> {
        self.inner.set(key, value, options).await
    }
    async fn set_many(&self, entries: &[SetEntry]) -> Result<Vec<SetOutcome>> {
        happen(&self.before_set).await;
        let answer = self.inner.set_many(entries).await;
        happen(&self.after_set).await;
        if self.lose_set.swap(false, SeqCst) { Err(down(Effect::Unknown)) } else { answer }
    }
    async fn remove_many(&self, keys: &[Key]) -> Result<u64> {
        let answer = self.inner.remove_many(keys).await;
        happen(&self.after_remove).await;
        answer
    }
    async fn touch(&self, key: &Key, ttl: Ttl) -> Result<bool> {
        self.inner.touch(key, ttl).await
    }
    async fn ttl(&self, key: &Key) -> Result<Option<Ttl>> {
        self.inner.ttl(key).await
    }
}

#[async_trait]
impl CacheLeases for Between {
    async fn fetch(&self, requests: &[LeaseRequest]) -> Result<Vec<Fetched>> {
        happen(&self.before_fetch).await;
        let answer = self.inner.fetch(requests).await;
        happen(&self.after_fetch).await;
        answer
    }
    async fn fill(&self, fills: &[Fill]) -> Result<Vec<FillOutcome>> {
        self.inner.fill(fills).await
    }
    async fn release(&self, leases: &[Release]) -> Result<()> {
        self.inner.release(leases).await
    }
}

#[async_trait]
impl CacheTags for Between {
    async fn generations(&self, tags: &[Tag]) -> Result<Vec<(Generation, Duration)>> {
        if self.no_generations.load(SeqCst) {
            return Err(down(Effect::NotApplied));
        }
        self.inner.generations(tags).await
    }
    async fn bump(&self, tags: &[Tag]) -> Result<Vec<Generation>> {
        self.inner.bump(tags).await
    }
}

impl CacheFeed for Between {
    fn watch(&self, namespace: &Namespace, watcher: Arc<dyn Watcher>) -> Result<Watch> {
        let mut gates = self.gates.lock().unwrap();
        let namespace_name = namespace.to_string();
        let gate = Arc::new(Gate {
            number: gates.iter().filter(|gate| gate.namespace == namespace_name).count(),
            deaf: self.deaf_to == Some(namespace_name.as_str()),
            namespace: namespace_name,
            inner: watcher,
            held: AtomicBool::default(),
            late: Mutex::default(),
        });
        gates.push(gate.clone());
        drop(gates);
        self.inner.watch(namespace, gate)
    }
}

#[async_trait]
impl CacheCounters for Between {
    async fn add(&self, key: &Key, delta: i64, ttl: Ttl) -> Result<i64> {
        self.inner.add(key, delta, ttl).await
    }
}
