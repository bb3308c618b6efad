//! Cached values.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use stanchion::cache::{CacheCapabilities, CacheStore, SetOptions, SetOutcome, When};
use stanchion::key::Key;
use stanchion::time::{Monotonic, Ttl};
use stanchion::{Error, ErrorKind, Result};

use crate::backend::{Handle, locked};
use crate::expiring::Expiring;
use crate::recency::Recency;

#[derive(Debug)]
pub(crate) struct State {
    entries: Expiring<Key, Bytes>,
    recency: Option<Recency>,
}

impl State {
    pub(crate) fn new(max_bytes: Option<usize>) -> Self {
        Self { entries: Expiring::default(), recency: max_bytes.map(Recency::new) }
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
        for (ended, _) in self.entries.purge(now) {
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
        }
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

impl MemoryCache {
    fn deadline(now: Monotonic, ttl: Ttl) -> Monotonic {
        now.saturating_add(ttl.as_duration())
    }
}

#[async_trait]
impl CacheStore for MemoryCache {
    fn capabilities(&self) -> CacheCapabilities {
        self.0.place.cache_capabilities
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

    async fn set(&self, key: &Key, value: Bytes, options: &SetOptions) -> Result<SetOutcome> {
        self.0.operate("cache.set", || {
            self.capabilities().check_value(value.len())?;
            let (mut state, now) = (locked(&self.0.place.cache), self.0.now());
            let current = state.entries.get(key, now);
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
            state.put(key, value, Self::deadline(now, options.ttl), now);
            Ok(SetOutcome::Stored)
        })
    }

    async fn set_many(&self, entries: &[(Key, Bytes)], ttl: Ttl) -> Result<()> {
        self.0.operate("cache.set_many", || {
            self.capabilities().check_batch(entries.len())?;
            entries.iter().try_for_each(|(_, value)| self.capabilities().check_value(value.len()))?;
            let (mut state, now) = (locked(&self.0.place.cache), self.0.now());
            for (key, value) in entries {
                state.put(key, value.clone(), Self::deadline(now, ttl), now);
            }
            Ok(())
        })
    }

    async fn remove_many(&self, keys: &[Key]) -> Result<u64> {
        self.0.operate("cache.remove_many", || {
            self.capabilities().check_batch(keys.len())?;
            let (mut state, now) = (locked(&self.0.place.cache), self.0.now());
            let distinct: HashSet<_> = keys.iter().collect();
            Ok(distinct.into_iter().map(|key| u64::from(state.remove(key, now))).sum())
        })
    }

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
            let deadline = state.entries.deadline(key, now).unwrap_or_else(|| Self::deadline(now, ttl));
            state.put(key, Bytes::from(sum.to_string()), deadline, now);
            Ok(sum)
        })
    }

    async fn touch(&self, key: &Key, ttl: Ttl) -> Result<bool> {
        self.0.operate("cache.touch", || {
            let (mut state, now) = (locked(&self.0.place.cache), self.0.now());
            Ok(state.entries.extend(key, Self::deadline(now, ttl), now))
        })
    }

    async fn ttl(&self, key: &Key) -> Result<Option<Ttl>> {
        self.0.operate("cache.ttl", || {
            let (state, now) = (locked(&self.0.place.cache), self.0.now());
            let deadline = state.entries.deadline(key, now);
            deadline.map(|deadline| Ttl::new(deadline.saturating_since(now))).transpose()
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
}
