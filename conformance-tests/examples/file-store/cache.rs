//! Cached values, and counters. Leases, tags and a feed are not there, and the façades do without.

use async_trait::async_trait;
use bytes::Bytes;
use stanchion::cache::{
    CacheCapabilities, CacheCounters, CacheFeed, CacheLeases, CacheStore, CacheTags, SetEntry, SetOptions,
    SetOutcome, Shard, When, schema_of,
};
use stanchion::contract::Contract;
use stanchion::key::Key;
use stanchion::time::{Timestamp, Ttl};
use stanchion::{Error, ErrorKind, Result};

use super::store::{Data, Entry, FileStore};

impl Data {
    fn set(&mut self, key: &Key, value: &[u8], options: &SetOptions, now: Timestamp) -> Result<SetOutcome> {
        let current = self.entries.get(key.as_str()).map(|entry| &entry.value);
        let holds = match &options.when {
            When::Always => true,
            When::Absent => current.is_none(),
            When::Present => current.is_some(),
            When::Equals(bytes) => current.is_some_and(|current| current == bytes),
            _ => return Err(Error::unsupported("a condition that this store does not know")),
        };
        if !holds {
            return Ok(SetOutcome::NotStored);
        }
        if options.schema > 0 && current.is_some_and(|current| schema_of(current) > options.schema) {
            self.entries.remove(key.as_str());
            return Ok(SetOutcome::Newer);
        }
        let until = now.saturating_add(options.ttl.as_duration());
        self.entries.insert(key.to_string(), Entry { value: value.to_vec(), until });
        Ok(SetOutcome::Stored)
    }

    fn add(&mut self, key: &Key, delta: i64, ttl: Ttl, now: Timestamp) -> Result<i64> {
        let (number, until) = match self.entries.get(key.as_str()) {
            Some(entry) => (number(&entry.value)?, entry.until),
            None => (0, now.saturating_add(ttl.as_duration())),
        };
        let sum = number.checked_add(delta).ok_or_else(|| Error::invalid("the sum is outside i64"))?;
        self.entries.insert(key.to_string(), Entry { value: sum.to_string().into(), until });
        Ok(sum)
    }
}

/// A number as `add` writes it, and not as Rust reads it: `+7` and `07` are none.
fn number(value: &[u8]) -> Result<i64> {
    let text = std::str::from_utf8(value).unwrap_or_default();
    let number = text.parse().ok().filter(|number: &i64| number.to_string() == text);
    number.ok_or_else(|| Error::new(ErrorKind::Codec, "the key holds something that is no number"))
}

#[async_trait]
impl CacheStore for FileStore {
    fn capabilities(&self) -> CacheCapabilities {
        // All that is stored is written anew with each change: it is for small values.
        CacheCapabilities::new(Contract::V1).max_value_bytes(64 * 1024).max_batch(1_000)
    }

    fn leases(&self) -> Option<&dyn CacheLeases> {
        None
    }

    fn tags(&self) -> Option<&dyn CacheTags> {
        None
    }

    fn feed(&self) -> Option<&dyn CacheFeed> {
        None
    }

    fn counters(&self) -> Option<&dyn CacheCounters> {
        Some(self)
    }

    fn now(&self) -> Timestamp {
        self.0.clock.wall()
    }

    fn shard_of(&self, _: &Key) -> Shard {
        Shard::ONLY
    }

    async fn get(&self, key: &Key) -> Result<Option<Bytes>> {
        Ok(self.get_many(std::slice::from_ref(key)).await?.pop().flatten())
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        let found = self.get_many_with_ttl(keys).await?;
        Ok(found.into_iter().map(|found| found.map(|(value, _)| value)).collect())
    }

    async fn get_many_with_ttl(&self, keys: &[Key]) -> Result<Vec<Option<(Bytes, Ttl)>>> {
        CacheStore::capabilities(self).check_batch(keys.len())?;
        let keys = keys.to_vec();
        self.look("cache.get_many", move |data, now| {
            let found = keys.iter().map(|key| {
                let entry = data.entries.get(key.as_str())?;
                Some((Bytes::from(entry.value.clone()), Ttl::until(entry.until, now)?))
            });
            Ok(found.collect())
        })
        .await
    }

    async fn set(&self, key: &Key, value: Bytes, options: &SetOptions) -> Result<SetOutcome> {
        let outcomes = self.set_many(&[SetEntry::new(key.clone(), value, options.clone())]).await?;
        outcomes.into_iter().next().ok_or_else(|| Error::new(ErrorKind::Internal, "a set without an outcome"))
    }

    async fn set_many(&self, entries: &[SetEntry]) -> Result<Vec<SetOutcome>> {
        let capabilities = CacheStore::capabilities(self);
        capabilities.check_batch(entries.len())?;
        entries.iter().try_for_each(|entry| capabilities.check_value(entry.value.len()))?;
        let entries = entries.to_vec();
        self.change("cache.set_many", move |data, now| {
            entries.iter().map(|entry| data.set(&entry.key, &entry.value, &entry.options, now)).collect()
        })
        .await
    }

    async fn remove_many(&self, keys: &[Key]) -> Result<u64> {
        CacheStore::capabilities(self).check_batch(keys.len())?;
        let keys = keys.to_vec();
        self.change("cache.remove_many", move |data, _| {
            Ok(keys.iter().map(|key| u64::from(data.entries.remove(key.as_str()).is_some())).sum())
        })
        .await
    }

    async fn touch(&self, key: &Key, ttl: Ttl) -> Result<bool> {
        let key = key.clone();
        self.change("cache.touch", move |data, now| {
            let entry = data.entries.get_mut(key.as_str());
            Ok(entry.map(|entry| entry.until = now.saturating_add(ttl.as_duration())).is_some())
        })
        .await
    }

    async fn ttl(&self, key: &Key) -> Result<Option<Ttl>> {
        let found = self.get_many_with_ttl(std::slice::from_ref(key)).await?.pop().flatten();
        Ok(found.map(|(_, left)| left))
    }
}

#[async_trait]
impl CacheCounters for FileStore {
    async fn add(&self, key: &Key, delta: i64, ttl: Ttl) -> Result<i64> {
        let key = key.clone();
        self.change("cache.add", move |data, now| data.add(&key, delta, ttl, now)).await
    }
}
