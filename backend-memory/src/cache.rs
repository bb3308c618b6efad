//! Cached values.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use stanchion::cache::{
    CacheCapabilities, CacheCounters, CacheFeed, CacheLeases, CacheStore, CacheTags, Fetched, Fill,
    FillOutcome, Generation, LeaseRequest, LeaseToken, SetEntry, SetOptions, SetOutcome, Tag, Want, Watch,
    Watcher, When, schema_of,
};
use stanchion::key::{Key, Namespace};
use stanchion::time::{Monotonic, Timestamp, Ttl, days};
use stanchion::{Error, ErrorKind, Result};

use crate::backend::{Handle, locked};
use crate::expiring::Expiring;
use crate::recency::Recency;
use crate::watchers::Watchers;

/// How long a generation is remembered. Later ones are greater all the same, since they are made of the time.
const GENERATION_KEPT: Duration = days(30);

#[derive(Debug)]
pub(crate) struct State {
    entries: Expiring<Key, Bytes>,
    recency: Option<Recency>,
    leases: Expiring<Key, LeaseToken>,
    generations: Expiring<Tag, Generation>,
    watchers: Watchers,
}

impl State {
    pub(crate) fn new(max_bytes: Option<usize>) -> Self {
        Self {
            entries: Expiring::default(),
            recency: max_bytes.map(Recency::new),
            leases: Expiring::default(),
            generations: Expiring::default(),
            watchers: Watchers::default(),
        }
    }

    /// Ends the watches of a handle.
    pub(crate) fn end_watches_of(&mut self, handle: u64) {
        self.watchers.end_all_of(handle);
    }

    /// The key was written by something that is no fill: whatever is being loaded is out of date.
    fn written(&mut self, key: &Key, now: Monotonic) {
        self.leases.remove(key, now);
        self.watchers.changed(key.as_str());
    }

    /// A hit costs one look-up and takes no memory; a miss clears away a little of what has ended.
    fn get(&mut self, key: &Key, now: Monotonic) -> Option<Bytes> {
        let Some(value) = self.entries.get(key, now).cloned() else {
            self.purge(now);
            return None;
        };
        if let Some(recency) = &mut self.recency {
            recency.used(key);
        }
        Some(value)
    }

    fn purge(&mut self, now: Monotonic) {
        self.leases.purge(now);
        for (forgotten, _) in self.generations.purge(now) {
            self.watchers.changed(forgotten.key().as_str());
        }
        for (ended, _) in self.entries.purge(now) {
            self.watchers.changed(ended.as_str());
            if let Some(recency) = &mut self.recency {
                recency.removed(&ended);
            }
        }
    }

    fn put(&mut self, key: &Key, value: Bytes, deadline: Monotonic, now: Monotonic) {
        self.purge(now);
        let evicted =
            self.recency.as_mut().map(|recency| recency.stored(key, value.len())).unwrap_or_default();
        self.entries.insert(key.clone(), value, deadline);
        for key in evicted {
            self.entries.remove(&key, now);
            self.watchers.changed(key.as_str());
        }
    }

    /// One set, whose value was checked.
    fn set(&mut self, key: &Key, value: &Bytes, options: &SetOptions, now: Monotonic) -> Result<SetOutcome> {
        let current = self.entries.get(key, now);
        let holds = match &options.when {
            When::Always => true,
            When::Absent => current.is_none(),
            When::Present => current.is_some(),
            When::Equals(expected) => current == Some(expected),
            other => return Err(Error::unsupported(format!("the condition {other:?} is not known"))),
        };
        if !holds {
            return Ok(SetOutcome::NotStored);
        }
        if options.schema > 0 && current.is_some_and(|current| schema_of(current) > options.schema) {
            self.remove(key, now);
            self.written(key, now);
            return Ok(SetOutcome::Newer);
        }
        self.put(key, value.clone(), deadline(now, options.ttl), now);
        self.written(key, now);
        Ok(SetOutcome::Stored)
    }

    fn fetch(&mut self, request: &LeaseRequest, now: Monotonic) -> Fetched {
        let held = self.leases.get(&request.key, now) == Some(&request.token);
        if request.want == Want::Keep {
            if held {
                self.leases.extend(&request.key, deadline(now, request.lease), now);
                return Fetched::Leased { current: None };
            }
            let ends = self.leases.deadline(&request.key, now).unwrap_or(now);
            return Fetched::Busy { remaining: ends.saturating_since(now), current: None };
        }
        let current = self.get(&request.key, now);
        if let (Want::IfAbsent, Some(value)) = (request.want, &current) {
            return Fetched::Hit(value.clone());
        }
        match self.leases.get(&request.key, now) {
            Some(_) if !held => {
                let ends = self.leases.deadline(&request.key, now).unwrap_or(now);
                Fetched::Busy { remaining: ends.saturating_since(now), current }
            }
            _ => {
                self.leases.purge(now);
                self.leases.insert(request.key.clone(), request.token, deadline(now, request.lease));
                Fetched::Leased { current }
            }
        }
    }

    fn fill(&mut self, fill: &Fill, now: Monotonic) -> FillOutcome {
        if self.leases.get(&fill.key, now) != Some(&fill.token) {
            return FillOutcome::Fenced;
        }
        self.put(&fill.key, fill.value.clone(), deadline(now, fill.ttl), now);
        self.written(&fill.key, now);
        FillOutcome::Filled
    }

    /// The generation that is stored. One that is not is made without news, since nobody can have mirrored it.
    fn generation(&mut self, tag: &Tag, now: Monotonic, wall: Timestamp) -> Generation {
        if let Some(stored) = self.generations.get(tag, now) {
            return *stored;
        }
        let (made, has_replaced) = self.next_generation(tag, now, wall);
        if has_replaced {
            // One that had ended without a word: whoever mirrors it would take what carries this one for dropped.
            self.watchers.changed(tag.key().as_str());
        }
        made
    }

    fn bump(&mut self, tag: &Tag, now: Monotonic, wall: Timestamp) -> Generation {
        let (next, _) = self.next_generation(tag, now, wall);
        self.watchers.changed(tag.key().as_str());
        next
    }

    /// A greater generation, and whether there was one before, which may have ended.
    fn next_generation(&mut self, tag: &Tag, now: Monotonic, wall: Timestamp) -> (Generation, bool) {
        let last = self.generations.get(tag, now).copied().unwrap_or_default();
        let next = Generation::new(wall.as_micros().max(last.get().saturating_add(1)));
        self.purge(now);
        let replaced = self.generations.insert(tag.clone(), next, now.saturating_add(GENERATION_KEPT));
        (next, replaced.is_some())
    }

    fn remove(&mut self, key: &Key, now: Monotonic) -> bool {
        if let Some(recency) = &mut self.recency {
            recency.removed(key);
        }
        self.entries.remove(key, now).is_some()
    }
}

#[derive(Debug)]
pub(crate) struct MemoryCache(pub(crate) Arc<Handle>);

fn deadline(now: Monotonic, ttl: Ttl) -> Monotonic {
    now.saturating_add(ttl.as_duration())
}

#[async_trait]
impl CacheStore for MemoryCache {
    fn capabilities(&self) -> CacheCapabilities {
        self.0.place.cache_capabilities
    }

    fn leases(&self) -> Option<&dyn CacheLeases> {
        self.0.place.cache_parts.leases.then_some(self)
    }

    fn tags(&self) -> Option<&dyn CacheTags> {
        self.0.place.cache_parts.tags.then_some(self)
    }

    fn feed(&self) -> Option<&dyn CacheFeed> {
        self.0.place.cache_parts.feed.then_some(self)
    }

    fn counters(&self) -> Option<&dyn CacheCounters> {
        self.0.place.cache_parts.counters.then_some(self)
    }

    fn now(&self) -> Timestamp {
        self.0.wall()
    }

    async fn get(&self, key: &Key) -> Result<Option<Bytes>> {
        self.0.operate("cache.get", || Ok(locked(&self.0.place.cache).get(key, self.0.now())))
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        self.0.operate("cache.get_many", || {
            self.capabilities().check_batch(keys.len())?;
            let (mut state, now) = (locked(&self.0.place.cache), self.0.now());
            Ok(keys.iter().map(|key| state.get(key, now)).collect())
        })
    }

    async fn get_many_with_ttl(&self, keys: &[Key]) -> Result<Vec<Option<(Bytes, Ttl)>>> {
        self.0.operate("cache.get_many", || {
            self.capabilities().check_batch(keys.len())?;
            let (mut state, now) = (locked(&self.0.place.cache), self.0.now());
            let read = |key| {
                let value = state.get(key, now)?;
                let ends = state.entries.deadline(key, now)?;
                Some((value, Ttl::new(ends.saturating_since(now)).ok()?))
            };
            Ok(keys.iter().map(read).collect())
        })
    }

    async fn set(&self, key: &Key, value: Bytes, options: &SetOptions) -> Result<SetOutcome> {
        self.0.operate("cache.set", || {
            self.capabilities().check_value(value.len())?;
            let (mut state, now) = (locked(&self.0.place.cache), self.0.now());
            state.set(key, &value, options, now)
        })
    }

    async fn set_many(&self, entries: &[SetEntry]) -> Result<Vec<SetOutcome>> {
        self.0.operate("cache.set_many", || {
            self.capabilities().check_batch(entries.len())?;
            entries.iter().try_for_each(|entry| self.capabilities().check_value(entry.value.len()))?;
            let (mut state, now) = (locked(&self.0.place.cache), self.0.now());
            entries.iter().map(|entry| state.set(&entry.key, &entry.value, &entry.options, now)).collect()
        })
    }

    async fn remove_many(&self, keys: &[Key]) -> Result<u64> {
        self.0.operate("cache.remove_many", || {
            self.capabilities().check_batch(keys.len())?;
            let (mut state, now) = (locked(&self.0.place.cache), self.0.now());
            let distinct: HashSet<_> = keys.iter().collect();
            let remove = |key: &Key| {
                let held = state.remove(key, now);
                state.written(key, now);
                u64::from(held)
            };
            Ok(distinct.into_iter().map(remove).sum())
        })
    }

    async fn touch(&self, key: &Key, ttl: Ttl) -> Result<bool> {
        self.0.operate("cache.touch", || {
            let (mut state, now) = (locked(&self.0.place.cache), self.0.now());
            let touched = state.entries.extend(key, deadline(now, ttl), now);
            if touched {
                // Who keeps a copy may have told its life by the old end.
                state.watchers.changed(key.as_str());
            }
            Ok(touched)
        })
    }

    async fn ttl(&self, key: &Key) -> Result<Option<Ttl>> {
        self.0.operate("cache.ttl", || {
            let (state, now) = (locked(&self.0.place.cache), self.0.now());
            let ends = state.entries.deadline(key, now);
            ends.map(|ends| Ttl::new(ends.saturating_since(now))).transpose()
        })
    }
}

#[async_trait]
impl CacheLeases for MemoryCache {
    async fn fetch(&self, requests: &[LeaseRequest]) -> Result<Vec<Fetched>> {
        self.0.operate("cache.fetch", || {
            self.capabilities().check_batch(requests.len())?;
            let (mut state, now) = (locked(&self.0.place.cache), self.0.now());
            Ok(requests.iter().map(|request| state.fetch(request, now)).collect())
        })
    }

    async fn fill(&self, fills: &[Fill]) -> Result<Vec<FillOutcome>> {
        self.0.operate("cache.fill", || {
            self.capabilities().check_batch(fills.len())?;
            fills.iter().try_for_each(|fill| self.capabilities().check_value(fill.value.len()))?;
            let (mut state, now) = (locked(&self.0.place.cache), self.0.now());
            Ok(fills.iter().map(|fill| state.fill(fill, now)).collect())
        })
    }

    async fn release(&self, leases: &[(Key, LeaseToken)]) -> Result<()> {
        self.0.operate("cache.release", || {
            let (mut state, now) = (locked(&self.0.place.cache), self.0.now());
            for (key, token) in leases {
                if state.leases.get(key, now) == Some(token) {
                    state.leases.remove(key, now);
                }
            }
            Ok(())
        })
    }
}

#[async_trait]
impl CacheTags for MemoryCache {
    async fn generations(&self, tags: &[Tag]) -> Result<Vec<(Generation, Duration)>> {
        self.0.operate("cache.generations", || {
            self.capabilities().check_batch(tags.len())?;
            let ((mut state, now), wall) = ((locked(&self.0.place.cache), self.0.now()), self.0.wall());
            let read = |tag| {
                let generation = state.generation(tag, now, wall);
                // By the wall clock that it is made of; one set back makes it young, which is safe.
                (generation, wall.saturating_since(Timestamp::from_micros(generation.get())))
            };
            Ok(tags.iter().map(read).collect())
        })
    }

    async fn bump(&self, tags: &[Tag]) -> Result<Vec<Generation>> {
        self.0.operate("cache.bump", || {
            self.capabilities().check_batch(tags.len())?;
            let ((mut state, now), wall) = ((locked(&self.0.place.cache), self.0.now()), self.0.wall());
            Ok(tags.iter().map(|tag| state.bump(tag, now, wall)).collect())
        })
    }
}

impl CacheFeed for MemoryCache {
    fn watch(&self, namespace: &Namespace, watcher: Arc<dyn Watcher>) -> Result<Watch> {
        self.0.operate("cache.watch", || {
            if !self.0.place.cache_parts.feed {
                return Err(Error::unsupported("this backend is set to have no feed of invalidations"));
            }
            let mut state = locked(&self.0.place.cache);
            self.0.check_open()?;
            let number = state.watchers.begin(self.0.number, namespace, watcher);
            let place = Arc::downgrade(&self.0.place);
            Ok(Watch::new(move || {
                if let Some(place) = place.upgrade() {
                    locked(&place.cache).watchers.end(number);
                }
            }))
        })
    }
}

#[async_trait]
impl CacheCounters for MemoryCache {
    async fn add(&self, key: &Key, delta: i64, ttl: Ttl) -> Result<i64> {
        self.0.operate("cache.add", || {
            let (mut state, now) = (locked(&self.0.place.cache), self.0.now());
            let current = match state.entries.get(key, now) {
                Some(bytes) => parse(bytes)?,
                None => 0,
            };
            let sum = current
                .checked_add(delta)
                .ok_or_else(|| Error::invalid("the counter would leave the range of i64"))?;
            let ends = state.entries.deadline(key, now).unwrap_or_else(|| deadline(now, ttl));
            state.put(key, Bytes::from(sum.to_string()), ends, now);
            state.written(key, now);
            Ok(sum)
        })
    }
}

/// A counter's decimal text, in the one form in which it is written: no sign but a minus, no zeros in front.
fn parse(bytes: &[u8]) -> Result<i64> {
    std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| text.parse::<i64>().ok().filter(|number| number.to_string() == text))
        .ok_or_else(|| Error::new(ErrorKind::Codec, "the key holds something that is no number"))
}

#[cfg(test)]
mod tests {
    use stanchion::stores::Stores;

    use super::*;
    use crate::{MemoryBackend, MemoryConfig};

    async fn put(stores: &Stores, id: &str, bytes: usize) {
        let key = Key::new("cache", "t", id).unwrap();
        let options = SetOptions::new(Ttl::MAX);
        let set = stores.cache_store().unwrap().set(&key, vec![0; bytes].into(), &options).await.unwrap();
        assert_eq!(set, SetOutcome::Stored);
    }

    async fn has(stores: &Stores, id: &str) -> bool {
        stores.cache_store().unwrap().get(&Key::new("cache", "t", id).unwrap()).await.unwrap().is_some()
    }

    #[tokio::test]
    async fn over_the_bound_the_least_recently_used_go() {
        // A key such as "cache:t:a" has 9 bytes.
        let stores = MemoryBackend::with(MemoryConfig::new().max_cache_bytes(327)).stores();
        for id in ["a", "b", "c"] {
            put(&stores, id, 100).await;
        }
        assert!(has(&stores, "a").await);
        put(&stores, "d", 100).await;
        assert_eq!(
            [has(&stores, "a").await, has(&stores, "b").await, has(&stores, "c").await],
            [true, false, true]
        );
        // Replacing a value counts its new size only.
        put(&stores, "d", 50).await;
        assert!(has(&stores, "a").await && has(&stores, "c").await && has(&stores, "d").await);
        // What alone is over the bound is not kept, and pushes nothing else out.
        put(&stores, "e", 400).await;
        assert!(has(&stores, "a").await && has(&stores, "c").await && has(&stores, "d").await);
        assert!(!has(&stores, "e").await);
    }

    /// Writes down which keys it is told.
    #[derive(Debug, Default)]
    struct Recorder(std::sync::Mutex<Vec<String>>);

    impl Watcher for Recorder {
        fn changed(&self, key: &str) {
            locked(&self.0).push(key.to_owned());
        }
        fn lost(&self) {}
        fn restored(&self) {}
    }

    fn after(days_since: u64) -> (Monotonic, Timestamp) {
        let life = days(days_since);
        (Monotonic::from_origin(life), Timestamp::from_secs(1_750_000_000).saturating_add(life))
    }

    #[test]
    fn a_generation_that_takes_the_place_of_a_forgotten_one_is_told() {
        let (mut state, watcher) = (State::new(None), Arc::new(Recorder::default()));
        let [names, _] = Tag::namespaces().unwrap();
        state.watchers.begin(0, &names, Arc::clone(&watcher) as Arc<dyn Watcher>);
        // More than are cleared away at once.
        let tags: Vec<Tag> = (0..100_u32).map(|n| Tag::new(n).unwrap()).collect();
        let (now, wall) = after(0);
        let first: Vec<_> = tags.iter().map(|tag| state.generation(tag, now, wall)).collect();
        assert!(locked(&watcher.0).is_empty());
        let (now, wall) = after(31);
        let last = &tags[99];
        assert!(state.generation(last, now, wall) > first[99]);
        assert!(locked(&watcher.0).iter().any(|key| key == last.key().as_str()));
    }

    #[test]
    fn what_nobody_asks_for_again_does_not_pile_up() {
        let mut state = State::new(None);
        for n in 0..1_000_u64 {
            let (now, wall) = after(n);
            state.bump(&Tag::new(n).unwrap(), now, wall);
        }
        assert!(state.generations.len() < 50, "{} generations", state.generations.len());
        let keys: Vec<_> = (0..1_000_u64).map(|n| Key::new("cache", "t", n).unwrap()).collect();
        for key in &keys {
            let set = SetOptions::new(Ttl::MAX);
            let _stored = state.set(key, &Bytes::new(), &set, after(1_000).0).unwrap();
        }
        // Loads over values that are there, whose loaders have died.
        for (n, key) in (1_000..).zip(&keys) {
            let lease = Ttl::new(days(1)).unwrap();
            let request = LeaseRequest::new(key.clone(), LeaseToken::new([7; 16]), lease, Want::Anyway);
            assert!(matches!(state.fetch(&request, after(n).0), Fetched::Leased { .. }));
        }
        assert!(state.leases.len() < 50, "{} leases", state.leases.len());
    }
}
