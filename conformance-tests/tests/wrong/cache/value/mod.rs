//! Caches that are wrong about values, lives and counters.

mod proofs;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use stanchion::cache::AllParts as _;
use stanchion::cache::{
    CacheCapabilities, CacheCounters, CacheFeed, CacheLeases, CacheStore, CacheTags, Fetched, Fill,
    FillOutcome, Generation, LeaseRequest, Release, SetEntry, SetOptions, SetOutcome, Shard, Tag, Watch,
    Watcher, When, schema_of,
};
use stanchion::key::{Key, Namespace};
use stanchion::time::{Timestamp, Ttl};
use stanchion::{Error, ErrorKind, Result};
use tokio::task::yield_now;

pub(crate) use self::proofs::{Bug, PROOFS};
use crate::backend::locked;

#[derive(Debug)]
pub(crate) struct Wrong {
    bug: Bug,
    right: Arc<dyn CacheStore>,
    read: Mutex<HashMap<Key, Bytes>>,
    lives: Mutex<HashMap<Key, Ttl>>,
    replies: Arc<Mutex<VecDeque<Option<Bytes>>>>,
}

impl Wrong {
    pub(crate) fn new(bug: Bug, right: Arc<dyn CacheStore>) -> Self {
        Self { bug, right, read: Mutex::default(), lives: Mutex::default(), replies: Arc::default() }
    }

    /// The near cache and what it forgets by the handle's own writes.
    fn forget<'a>(&self, keys: impl IntoIterator<Item = &'a Key>) {
        keys.into_iter().for_each(|key| drop(locked(&self.read).remove(key)));
    }

    fn key(&self, key: &Key) -> Result<Key> {
        let mut parts = key.as_str().splitn(3, ':');
        let mut part = || parts.next().unwrap_or_default();
        let (service, kind, id) = (part(), part(), part());
        // What is escaped is left as it is.
        if self.bug == Bug::KeysAreFolded && id.chars().all(|c| c.is_ascii_alphabetic()) {
            return Key::new(service, kind, id.to_lowercase());
        }
        Ok(key.clone())
    }

    fn keys(&self, keys: &[Key]) -> Result<Vec<Key>> {
        keys.iter().map(|key| self.key(key)).collect()
    }

    /// What comes of a set that a value is in the way of, by its schema number.
    async fn in_the_way(&self, key: &Key, options: &SetOptions) -> Result<Option<SetOutcome>> {
        let Some(current) = self.right.get(key).await?.filter(|_| options.schema > 0) else {
            return Ok(None);
        };
        match self.bug {
            Bug::NewerIsLeftThere if schema_of(&current) > options.schema => {
                let left = self.left_or(key, options.ttl).await?;
                // The right one removes it; then it is put back.
                let outcome = self.right.set(key, Bytes::new(), options).await?;
                if outcome == SetOutcome::Newer {
                    let _back = self.right.set(key, current, &SetOptions::new(left)).await?;
                }
                Ok(Some(outcome))
            }
            Bug::AnyBytesHaveASchema => {
                let number =
                    current.get(4..8).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
                let is_newer = number.is_some_and(|number| number > options.schema);
                if !is_newer || schema_of(&current) > 0 {
                    return Ok(None);
                }
                self.right.remove_many(std::slice::from_ref(key)).await?;
                Ok(Some(SetOutcome::Newer))
            }
            _ => Ok(None),
        }
    }

    /// What is left of a value's life, or the life it shall get.
    async fn left_or(&self, key: &Key, ttl: Ttl) -> Result<Ttl> {
        Ok(self.right.ttl(key).await?.unwrap_or(ttl))
    }
}

/// A reply that comes, whether or not somebody still waits for it.
struct Reply {
    value: Option<Bytes>,
    queue: Arc<Mutex<VecDeque<Option<Bytes>>>>,
}

impl Drop for Reply {
    fn drop(&mut self) {
        locked(&self.queue).push_back(self.value.take());
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl CacheStore for Wrong {
    fn capabilities(&self) -> CacheCapabilities {
        self.right.capabilities()
    }

    fn leases(&self) -> Option<&dyn CacheLeases> {
        self.right.leases().map(|_| self as &dyn CacheLeases)
    }

    fn tags(&self) -> Option<&dyn CacheTags> {
        self.right.tags().map(|_| self as &dyn CacheTags)
    }

    fn feed(&self) -> Option<&dyn CacheFeed> {
        self.right.feed().map(|_| self as &dyn CacheFeed)
    }

    fn counters(&self) -> Option<&dyn CacheCounters> {
        self.right.counters().map(|_| self as &dyn CacheCounters)
    }

    async fn get(&self, key: &Key) -> Result<Option<Bytes>> {
        let key = &self.key(key)?;
        match self.bug {
            Bug::NearCacheIsNotInvalidated => {
                if let Some(value) = locked(&self.read).get(key) {
                    return Ok(Some(value.clone()));
                }
                let value = self.right.get(key).await?;
                locked(&self.read).extend(value.clone().map(|value| (key.clone(), value)));
                Ok(value)
            }
            Bug::RepliesGetOutOfStep => {
                let reply = Reply { value: self.right.get(key).await?, queue: Arc::clone(&self.replies) };
                yield_now().await;
                drop(reply);
                Ok(locked(&self.replies).pop_front().flatten())
            }
            _ => self.right.get(key).await,
        }
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        if self.bug == Bug::EmptyBatchIsSent && keys.is_empty() {
            return Err(Error::new(ErrorKind::Internal, "wrong number of arguments"));
        }
        let values = self.right.get_many(&self.keys(keys)?).await?;
        if self.bug == Bug::SecondQuestionFindsNone {
            let mut replies: HashMap<_, _> = keys.iter().zip(values).collect();
            return Ok(keys.iter().map(|key| replies.remove(key).flatten()).collect());
        }
        Ok(values)
    }

    async fn set(&self, key: &Key, mut value: Bytes, options: &SetOptions) -> Result<SetOutcome> {
        let (key, mut options) = (&self.key(key)?, options.clone());
        self.forget([key]);
        locked(&self.lives).insert(key.clone(), options.ttl);
        if let Some(outcome) = self.in_the_way(key, &options).await? {
            return Ok(outcome);
        }
        match self.bug {
            Bug::SchemaIsNotCompared => options.schema = 0,
            Bug::ValuesAreText => value = String::from_utf8_lossy(&value).into_owned().into(),
            Bug::AbsentIsJudgedAfterwards if options.when == When::Absent => {
                if let Some(left) = self.right.ttl(key).await? {
                    let options = SetOptions::new(left).schema(options.schema);
                    let _overwritten = self.right.set(key, value, &options).await?;
                    return Ok(SetOutcome::NotStored);
                }
            }
            Bug::PresentIsJudgedAfterwards if options.when == When::Present => {
                let was_there = self.right.get(key).await?.is_some();
                let options = SetOptions::new(options.ttl).schema(options.schema);
                let set = self.right.set(key, value, &options).await?;
                return Ok(if was_there { set } else { SetOutcome::NotStored });
            }
            Bug::NothingEqualsEmpty
                if options.when == When::Equals(Bytes::new())
                    && self.right.get(key).await?.unwrap_or_default().is_empty() =>
            {
                options.when = When::Always;
            }
            Bug::CheckThenSet => {
                let now = self.right.get(key).await?;
                let holds = match options.when {
                    When::Absent => now.is_none(),
                    When::Present => now.is_some(),
                    When::Equals(expected) => now == Some(expected),
                    _ => true,
                };
                yield_now().await;
                if !holds {
                    return Ok(SetOutcome::NotStored);
                }
                options.when = When::Always;
            }
            Bug::EndsEarly => {
                let life = options.ttl.as_duration();
                options.ttl = Ttl::new(life.saturating_sub(Duration::from_secs(5).min(life / 10)))?;
            }
            Bug::TtlInWholeSeconds => {
                options.ttl = Ttl::new(Duration::from_secs(options.ttl.as_millis().div_ceil(1_000)))?;
            }
            Bug::SetKeepsTheOldLife => options.ttl = self.left_or(key, options.ttl).await?,
            Bug::SetThenExpire => {
                let life = std::mem::replace(&mut options.ttl, Ttl::MAX);
                let outcome = self.right.set(key, value, &options).await?;
                yield_now().await;
                if outcome == SetOutcome::Stored {
                    self.right.touch(key, life).await?;
                }
                return Ok(outcome);
            }
            _ => {}
        }
        let outcome = self.right.set(key, value, &options).await?;
        if self.bug == Bug::NotStoredGivesANewLife {
            self.right.touch(key, options.ttl).await?;
        }
        Ok(outcome)
    }

    async fn set_many(&self, entries: &[SetEntry]) -> Result<Vec<SetOutcome>> {
        self.forget(entries.iter().map(|entry| &entry.key));
        let mut entries = entries.to_vec();
        for entry in &mut entries {
            entry.key = self.key(&entry.key)?;
        }
        let (asked, mut outcomes) = (entries.len(), Vec::new());
        match self.bug {
            Bug::BatchIsCheckedOneByOne => {
                self.capabilities().check_batch(entries.len())?;
                for entry in &entries {
                    outcomes.extend(self.right.set_many(std::slice::from_ref(entry)).await?);
                }
                return Ok(outcomes);
            }
            Bug::BatchIsSplit => {
                for part in entries.chunks(self.capabilities().max_batch) {
                    outcomes.extend(self.right.set_many(part).await?);
                }
                return Ok(outcomes);
            }
            Bug::FirstOfABatchHolds => {
                let mut seen = BTreeSet::new();
                entries.retain(|entry| seen.insert(entry.key.clone()));
                outcomes.extend(self.right.set_many(&entries).await?);
                // Whoever asked twice is answered twice.
                outcomes.resize(asked, SetOutcome::Stored);
                return Ok(outcomes);
            }
            Bug::BatchTakesTheFirstOptions => {
                let first = entries.first().map(|entry| entry.options.clone());
                for (entry, options) in entries.iter_mut().zip(std::iter::repeat(first).flatten()) {
                    entry.options = options;
                }
            }
            Bug::StoredOutcomesComeFirst => {
                let mut outcomes = self.right.set_many(&entries).await?;
                outcomes.sort_by_key(|outcome| *outcome != SetOutcome::Stored);
                return Ok(outcomes);
            }
            Bug::BatchHasNoTtl => entries.iter_mut().for_each(|entry| entry.options.ttl = Ttl::MAX),
            _ => {}
        }
        self.right.set_many(&entries).await
    }

    async fn remove_many(&self, keys: &[Key]) -> Result<u64> {
        self.forget(keys);
        let keys = self.keys(keys)?;
        if self.bug == Bug::RemovingCountsDuplicates {
            let there = self.right.get_many(&keys).await?.into_iter().flatten().count();
            self.right.remove_many(&keys).await?;
            return Ok(there as u64);
        }
        self.right.remove_many(&keys).await
    }

    async fn touch(&self, key: &Key, ttl: Ttl) -> Result<bool> {
        let key = &self.key(key)?;
        self.forget([key]);
        match self.bug {
            Bug::TouchOnlyLengthens => self.right.touch(key, ttl.max(self.left_or(key, ttl).await?)).await,
            _ => self.right.touch(key, ttl).await,
        }
    }

    async fn ttl(&self, key: &Key) -> Result<Option<Ttl>> {
        let key = &self.key(key)?;
        let left = self.right.ttl(key).await?;
        if self.bug == Bug::TtlIsToldAsItWasSet {
            return Ok(left.map(|left| locked(&self.lives).get(key).copied().unwrap_or(left)));
        }
        Ok(left)
    }

    fn now(&self) -> Timestamp {
        self.right.now()
    }

    fn shard_of(&self, key: &Key) -> Shard {
        self.right.shard_of(key)
    }

    async fn get_many_with_ttl(&self, keys: &[Key]) -> Result<Vec<Option<(Bytes, Ttl)>>> {
        let keys = self.keys(keys)?;
        let mut read = self.right.get_many_with_ttl(&keys).await?;
        match self.bug {
            Bug::MissingValuesAreLeftOut => read.retain(Option::is_some),
            Bug::ValuesComeWithTheTtlAsItWasSet => {
                let lives = locked(&self.lives);
                for ((_, left), life) in
                    read.iter_mut().flatten().zip(keys.iter().filter_map(|key| lives.get(key)))
                {
                    *left = *life;
                }
            }
            _ => {}
        }
        Ok(read)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl CacheLeases for Wrong {
    async fn fetch(&self, requests: &[LeaseRequest]) -> Result<Vec<Fetched>> {
        self.right.fetch(requests).await
    }

    async fn fill(&self, fills: &[Fill]) -> Result<Vec<FillOutcome>> {
        self.right.fill(fills).await
    }

    async fn release(&self, leases: &[Release]) -> Result<()> {
        self.right.release(leases).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl CacheTags for Wrong {
    async fn generations(&self, tags: &[Tag]) -> Result<Vec<(Generation, Duration)>> {
        self.right.generations(tags).await
    }

    async fn bump(&self, tags: &[Tag]) -> Result<Vec<Generation>> {
        self.right.bump(tags).await
    }
}

#[deny(clippy::missing_trait_methods)]
impl CacheFeed for Wrong {
    fn watch(&self, namespace: &Namespace, watcher: Arc<dyn Watcher>) -> Result<Watch> {
        self.right.watch(namespace, watcher)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl CacheCounters for Wrong {
    async fn add(&self, key: &Key, delta: i64, ttl: Ttl) -> Result<i64> {
        let key = &self.key(key)?;
        self.forget([key]);
        match self.bug {
            Bug::AddingZeroAsksNobody if delta == 0 => Ok(0),
            Bug::AddIsGetAndSet => {
                let now = self.right.get(key).await?.unwrap_or(Bytes::from_static(b"0"));
                yield_now().await;
                let number: Option<i64> = std::str::from_utf8(&now).ok().and_then(|text| text.parse().ok());
                match number.and_then(|number| number.checked_add(delta)) {
                    Some(sum) if number.map(|number| number.to_string().into()) == Some(now) => {
                        let options = SetOptions::new(self.left_or(key, ttl).await?);
                        let _set = self.right.set(key, sum.to_string().into(), &options).await?;
                        Ok(sum)
                    }
                    // The right error.
                    _ => self.right.add(key, delta, ttl).await,
                }
            }
            Bug::AddGivesANewLife => {
                let sum = self.right.add(key, delta, ttl).await?;
                self.right.touch(key, ttl).await?;
                Ok(sum)
            }
            Bug::AddSaturates => match self.right.add(key, delta, ttl).await {
                Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(i64::MAX),
                answer => answer,
            },
            Bug::NumbersAreParsed => match self.right.add(key, delta, ttl).await {
                Err(error) if error.kind() == ErrorKind::Codec => {
                    let text = self.right.get(key).await?.unwrap_or_default();
                    let number: Option<i64> = std::str::from_utf8(&text).ok().and_then(|t| t.parse().ok());
                    let Some(sum) = number.and_then(|number| number.checked_add(delta)) else {
                        return Err(error);
                    };
                    let _set = self.right.set(key, sum.to_string().into(), &SetOptions::new(ttl)).await?;
                    Ok(sum)
                }
                answer => answer,
            },
            Bug::NoNumberIsZero => match self.right.add(key, delta, ttl).await {
                Err(error) if error.kind() == ErrorKind::Codec => {
                    let _set = self.right.set(key, delta.to_string().into(), &SetOptions::new(ttl)).await?;
                    Ok(delta)
                }
                answer => answer,
            },
            _ => self.right.add(key, delta, ttl).await,
        }
    }
}
