//! The cache store.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use stanchion::cache::{
    CacheCapabilities, CacheCounters, CacheFeed, CacheLeases, CacheParts, CacheStore, CacheTags, Fetched,
    Fill, FillOutcome, Generation, LeaseRequest, Release, SetEntry, SetOptions, SetOutcome, Shard, Tag,
    Watch, Watcher,
};
use stanchion::key::{Key, Namespace};
use stanchion::time::{Timestamp, Ttl};
use stanchion::{Error, Result};

use super::state::State;
use crate::shared::{Handle, locked};

#[derive(Debug)]
pub(crate) struct MemoryCache {
    handle: Arc<Handle>,
    state: Arc<Mutex<State>>,
    capabilities: CacheCapabilities,
    parts: CacheParts,
}

impl MemoryCache {
    pub(crate) fn new(
        handle: &Arc<Handle>,
        state: &Arc<Mutex<State>>,
        capabilities: CacheCapabilities,
        parts: CacheParts,
    ) -> Self {
        Self { handle: Arc::clone(handle), state: Arc::clone(state), capabilities, parts }
    }
}

#[async_trait]
impl CacheStore for MemoryCache {
    fn capabilities(&self) -> CacheCapabilities {
        self.capabilities
    }

    fn leases(&self) -> Option<&dyn CacheLeases> {
        self.parts.leases.then_some(self)
    }

    fn tags(&self) -> Option<&dyn CacheTags> {
        self.parts.tags.then_some(self)
    }

    fn feed(&self) -> Option<&dyn CacheFeed> {
        self.parts.feed.then_some(self)
    }

    fn counters(&self) -> Option<&dyn CacheCounters> {
        self.parts.counters.then_some(self)
    }

    fn now(&self) -> Timestamp {
        self.handle.wall()
    }

    fn shard_of(&self, _: &Key) -> Shard {
        Shard::ONLY
    }

    async fn get(&self, key: &Key) -> Result<Option<Bytes>> {
        self.handle.operate("cache.get", || Ok(locked(&self.state).get(key, self.handle.now())))
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        self.handle.operate("cache.get_many", || {
            self.capabilities().check_batch(keys.len())?;
            let (mut state, now) = (locked(&self.state), self.handle.now());
            Ok(keys.iter().map(|key| state.get(key, now)).collect())
        })
    }

    async fn get_many_with_ttl(&self, keys: &[Key]) -> Result<Vec<Option<(Bytes, Ttl)>>> {
        self.handle.operate("cache.get_many_with_ttl", || {
            self.capabilities().check_batch(keys.len())?;
            let (mut state, now) = (locked(&self.state), self.handle.now());
            Ok(keys.iter().map(|key| state.get_with_ttl(key, now)).collect())
        })
    }

    async fn set(&self, key: &Key, value: Bytes, options: &SetOptions) -> Result<SetOutcome> {
        self.handle.operate("cache.set", || {
            self.capabilities().check_value(value.len())?;
            let (mut state, now) = (locked(&self.state), self.handle.now());
            state.set(key, &value, options, now)
        })
    }

    async fn set_many(&self, entries: &[SetEntry]) -> Result<Vec<SetOutcome>> {
        self.handle.operate("cache.set_many", || {
            self.capabilities().check_batch(entries.len())?;
            entries.iter().try_for_each(|entry| self.capabilities().check_value(entry.value.len()))?;
            let (mut state, now) = (locked(&self.state), self.handle.now());
            entries.iter().map(|entry| state.set(&entry.key, &entry.value, &entry.options, now)).collect()
        })
    }

    async fn remove_many(&self, keys: &[Key]) -> Result<u64> {
        self.handle.operate("cache.remove_many", || {
            self.capabilities().check_batch(keys.len())?;
            let (mut state, now) = (locked(&self.state), self.handle.now());
            let distinct: HashSet<_> = keys.iter().collect();
            Ok(distinct.into_iter().map(|key| u64::from(state.remove(key, now))).sum())
        })
    }

    async fn touch(&self, key: &Key, ttl: Ttl) -> Result<bool> {
        self.handle.operate("cache.touch", || {
            let (mut state, now) = (locked(&self.state), self.handle.now());
            Ok(state.touch(key, ttl, now))
        })
    }

    async fn ttl(&self, key: &Key) -> Result<Option<Ttl>> {
        self.handle.operate("cache.ttl", || {
            let (state, now) = (locked(&self.state), self.handle.now());
            state.ttl(key, now)
        })
    }
}

#[async_trait]
impl CacheLeases for MemoryCache {
    async fn fetch(&self, requests: &[LeaseRequest]) -> Result<Vec<Fetched>> {
        self.handle.operate("cache.fetch", || {
            self.capabilities().check_batch(requests.len())?;
            let (mut state, now) = (locked(&self.state), self.handle.now());
            Ok(requests.iter().map(|request| state.fetch(request, now)).collect())
        })
    }

    async fn fill(&self, fills: &[Fill]) -> Result<Vec<FillOutcome>> {
        self.handle.operate("cache.fill", || {
            self.capabilities().check_batch(fills.len())?;
            fills.iter().try_for_each(|fill| self.capabilities().check_value(fill.value.len()))?;
            let (mut state, now) = (locked(&self.state), self.handle.now());
            Ok(fills.iter().map(|fill| state.fill(fill, now)).collect())
        })
    }

    async fn release(&self, leases: &[Release]) -> Result<()> {
        self.handle.operate("cache.release", || {
            let (mut state, now) = (locked(&self.state), self.handle.now());
            for lease in leases {
                state.release(lease, now);
            }
            Ok(())
        })
    }
}

#[async_trait]
impl CacheTags for MemoryCache {
    async fn generations(&self, tags: &[Tag]) -> Result<Vec<(Generation, Duration)>> {
        self.handle.operate("cache.generations", || {
            self.capabilities().check_batch(tags.len())?;
            let ((mut state, now), wall) = ((locked(&self.state), self.handle.now()), self.handle.wall());
            let read = |tag| {
                let generation = state.generation(tag, now, wall);
                // By the wall clock that it is made of; one set back makes it young, which is safe.
                (generation, wall.saturating_since(Timestamp::from_micros(generation.get())))
            };
            Ok(tags.iter().map(read).collect())
        })
    }

    async fn bump(&self, tags: &[Tag]) -> Result<Vec<Generation>> {
        self.handle.operate("cache.bump", || {
            self.capabilities().check_batch(tags.len())?;
            let ((mut state, now), wall) = ((locked(&self.state), self.handle.now()), self.handle.wall());
            Ok(tags.iter().map(|tag| state.bump(tag, now, wall)).collect())
        })
    }
}

impl CacheFeed for MemoryCache {
    fn watch(&self, namespace: &Namespace, watcher: Arc<dyn Watcher>) -> Result<Watch> {
        self.handle.operate("cache.watch", || {
            if !self.parts.feed {
                return Err(Error::unsupported("this backend is set to have no invalidation feed"));
            }
            let mut state = locked(&self.state);
            self.handle.check_open()?;
            let number = state.watch(self.handle.number, namespace, watcher);
            let state = Arc::downgrade(&self.state);
            Ok(Watch::new(move || {
                if let Some(state) = state.upgrade() {
                    locked(&state).end_watch(number);
                }
            }))
        })
    }
}

#[async_trait]
impl CacheCounters for MemoryCache {
    async fn add(&self, key: &Key, delta: i64, ttl: Ttl) -> Result<i64> {
        self.handle.operate("cache.add", || {
            let (mut state, now) = (locked(&self.state), self.handle.now());
            state.add(key, delta, ttl, now)
        })
    }
}
