//! Writing: with the generations of the tags, and never leaving a near copy behind.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::cache::near::{InvalidationListener, LocalClear, LocalInvalidation, LocalWrite};
use crate::cache::read::{Cached, Lookup, Reader};
use crate::cache::store::{Generation, SetEntry, SetOptions, SetOutcome, Tag, When};
use crate::cache::wire::{Read, Stamp, Wire, life_of, schema_of};
use crate::codec::Codec;
use crate::error::{Effect, Error, ErrorKind, Result};
use crate::event::Topic;
use crate::event::standard::{CacheInvalidated, CacheWarmed};
use crate::key::Key;
use crate::time::{Timestamp, Ttl};

/// What is there before a conditional change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Current {
    /// A fresh value.
    Fresh,
    /// No fresh value: what is there is stale, invalidated or unreadable.
    Missing,
    /// A value of a newer schema, which is not overwritten.
    NewerSchema,
}

/// How often a conditional change is tried while others change the same entry.
const ATTEMPTS: usize = 16;

/// Writes the entries of one cache.
pub(super) struct Writer<C> {
    reader: Arc<Reader<C>>,
    listener: Arc<InvalidationListener>,
    /// Where drops and warmings are published, if that is asked for.
    topics: Option<(Topic<CacheInvalidated>, Topic<CacheWarmed>)>,
}

impl<C> Writer<C> {
    pub(super) fn new(
        reader: Arc<Reader<C>>,
        listener: Arc<InvalidationListener>,
        topics: Option<(Topic<CacheInvalidated>, Topic<CacheWarmed>)>,
    ) -> Self {
        Self { reader, listener, topics }
    }

    pub(super) async fn remove(&self, keys: &[Key]) -> Result<u64> {
        let removed = {
            let _own = LocalWrite::of(&self.listener, keys);
            self.reader.gate.store().remove_many(keys).await?
        };
        if !keys.is_empty() {
            self.publish_invalidated(keys.iter().map(ToString::to_string).collect(), Vec::new()).await;
        }
        Ok(removed)
    }

    /// Invalidates every value that carries the tag.
    pub(super) async fn invalidate_tag(&self, tag: &Tag) -> Result<()> {
        let Some(generations) = &self.reader.generations else {
            return Err(self.reader.no_tags());
        };
        {
            // Also after an error, and where this is dropped: it may have happened.
            let _own = LocalInvalidation(&self.listener);
            generations.bump(std::slice::from_ref(tag)).await?;
        }
        self.publish_invalidated(Vec::new(), vec![tag.key().to_string()]).await;
        Ok(())
    }

    /// Invalidates every value of the cache.
    pub(super) async fn clear(&self) -> Result<()> {
        // Whatever becomes of it: it may have happened.
        let _own = LocalClear(&self.listener);
        self.invalidate_tag(&self.reader.namespace_tag).await
    }

    /// Publishes what was dropped, where that is asked for.
    async fn publish_invalidated(&self, keys: Vec<String>, tags: Vec<String>) {
        let Some((topic, _)) = &self.topics else {
            return;
        };
        let namespace = self.reader.keys.namespace();
        let event = CacheInvalidated { cache: namespace.kind().to_string(), keys, tags };
        if let Err(error) = topic.publish(&event).await {
            tracing::warn!(%namespace, %error, "cache.invalidated could not be published");
        }
    }

    /// Publishes that a warming has ended, where that is asked for.
    pub(super) async fn publish_warmed(&self, filled: u64) {
        let Some((_, topic)) = &self.topics else {
            return;
        };
        let namespace = self.reader.keys.namespace();
        let event = CacheWarmed { cache: namespace.kind().to_string(), filled };
        if let Err(error) = topic.publish(&event).await {
            tracing::warn!(%namespace, %error, "cache.warmed could not be published");
        }
    }
}

impl<C: Codec> Writer<C> {
    /// The bytes of a value as of now, and how it is to be set.
    async fn to_set<T: Cached>(
        &self,
        key: &Key,
        value: &T,
        ttl: Option<Duration>,
        tags: &[Tag],
        when: When,
    ) -> Result<(Bytes, SetOptions)> {
        let mut all = self.reader.tags_of(self.reader.identifier(key));
        all.extend_from_slice(tags);
        let generations = match &self.reader.generations {
            Some(generations) => {
                all.push(self.reader.namespace_tag.clone());
                generations.generations(&all).await?
            }
            None if all.is_empty() => Vec::new(),
            None => return Err(self.reader.no_tags()),
        };
        self.prepare(key, value, ttl, all.into_iter().zip(generations).collect(), when)
    }

    /// As [`to_set`](Self::to_set), with generations that are known; the namespace's is the last.
    fn prepare<T: Cached>(
        &self,
        key: &Key,
        value: &T,
        ttl: Option<Duration>,
        mut tags: Vec<(Tag, Generation)>,
        when: When,
    ) -> Result<(Bytes, SetOptions)> {
        let life = ttl.map_or(Ok(self.reader.policy.ttl), Ttl::new)?;
        let life = self.reader.policy.jittered(life, &*self.reader.environment.random);
        let namespace = tags.pop().map(|(_, generation)| generation);
        let now = self.reader.gate.store().now();
        let kept = self.reader.policy.kept(life, true);
        let stamp = Stamp::new(now, (life, kept), Duration::ZERO, namespace, tags);
        let bytes = self.reader.wire.encode(key, Some(value), stamp, &*self.reader.environment.random)?;
        let options = SetOptions::new(kept).when(when).schema(self.reader.wire.schema);
        Ok((bytes, options))
    }

    pub(super) async fn put<T: Cached>(
        &self,
        key: Key,
        value: &T,
        ttl: Option<Duration>,
        tags: &[Tag],
        when: When,
    ) -> Result<SetOutcome> {
        let (bytes, options) = self.to_set(&key, value, ttl, tags, when).await?;
        self.write(&key, bytes, &options).await
    }

    /// Sets values, whatever is there.
    pub(super) async fn set_many<'a, T: Cached>(
        &self,
        keys: &[Key],
        values: impl Iterator<Item = &'a T>,
    ) -> Result<()> {
        let reader = &self.reader;
        let tags: Vec<Vec<Tag>> = keys.iter().map(|key| reader.tags_of(reader.identifier(key))).collect();
        let known = reader.generations_of(tags.iter().flatten()).await?;
        let mut entries = Vec::with_capacity(keys.len());
        for ((key, value), tags) in keys.iter().zip(values).zip(tags) {
            let Some(tags) = reader.stamped(&known, tags) else {
                return Err(Error::new(ErrorKind::Internal, "the store answered too few generations"));
            };
            let (bytes, options) = self.prepare(key, value, None, tags, When::Always)?;
            entries.push(SetEntry::new(key.clone(), bytes, options));
        }
        let _own = LocalWrite::of(&self.listener, keys);
        let outcomes = reader.gate.store().set_many(&entries).await?;
        let stored = entries.iter().zip(outcomes).filter(|(_, outcome)| *outcome == SetOutcome::Stored);
        reader.counts.bytes_written.add(stored.map(|(entry, _)| entry.value.len() as u64).sum());
        Ok(())
    }

    async fn write(&self, key: &Key, bytes: Bytes, options: &SetOptions) -> Result<SetOutcome> {
        let _own = LocalWrite::of(&self.listener, std::slice::from_ref(key));
        let size = bytes.len() as u64;
        let outcome = self.reader.gate.store().set(key, bytes, options).await?;
        if outcome == SetOutcome::Stored {
            self.reader.counts.bytes_written.add(size);
        }
        Ok(outcome)
    }

    /// The bytes that are there, and what they are.
    async fn current<T: Cached>(&self, key: &Key) -> Result<Option<(Bytes, Current)>> {
        let before = self.reader.before(key);
        let Some((bytes, left)) = self.reader.stored(key).await? else {
            self.reader.forget_near(key);
            return Ok(None);
        };
        match self.reader.assessed::<T>(key, &bytes, left, before).await? {
            Lookup::Fresh { value: Some(_), .. } => Ok(Some((bytes, Current::Fresh))),
            Lookup::NewerSchema => Ok(Some((bytes, Current::NewerSchema))),
            Lookup::Unavailable(error) => Err(error),
            _ => Ok(Some((bytes, Current::Missing))),
        }
    }

    /// Sets a value if a fresh one is there, or if none is.
    pub(super) async fn put_if<T: Cached>(&self, key: Key, value: &T, present: bool) -> Result<SetOutcome> {
        for _ in 0..ATTEMPTS {
            let when = match self.current::<T>(&key).await? {
                // Not absent, and not to be overwritten.
                Some((_, Current::NewerSchema)) => return Ok(SetOutcome::NotStored),
                Some((_, current)) if (current == Current::Fresh) != present => {
                    return Ok(SetOutcome::NotStored);
                }
                // Bytes without a fresh value are as good as none, and are replaced only if they are still the same.
                Some((bytes, _)) => When::Equals(bytes),
                None if present => return Ok(SetOutcome::NotStored),
                None => When::Absent,
            };
            let outcome = self.put(key.clone(), value, None, &[], when).await?;
            if outcome != SetOutcome::NotStored {
                return Ok(outcome);
            }
        }
        Err(contended("cache.set"))
    }

    /// Sets a value if this one is there.
    pub(super) async fn replace<T: Cached>(&self, key: Key, current: &T, value: &T) -> Result<SetOutcome> {
        for _ in 0..ATTEMPTS {
            let Some((bytes, Current::Fresh)) = self.current::<T>(&key).await? else {
                return Ok(SetOutcome::NotStored);
            };
            let same = match self.reader.wire.read(&key, &bytes) {
                Read::Entry(entry) => self.reader.wire.holds(&entry, current)?,
                _ => false,
            };
            if !same {
                return Ok(SetOutcome::NotStored);
            }
            let outcome = self.put(key.clone(), value, None, &[], When::Equals(bytes)).await?;
            if outcome != SetOutcome::NotStored {
                return Ok(outcome);
            }
        }
        Err(contended("cache.replace"))
    }

    /// Gives a fresh value its whole life again. The life is in the value's header too, so it is written anew,
    /// if it is still the same.
    pub(super) async fn touch<T: Cached>(&self, key: &Key) -> Result<bool> {
        let mut wanted = None;
        for _ in 0..ATTEMPTS {
            let Some((bytes, Current::Fresh)) = self.current::<T>(key).await? else {
                return Ok(false);
            };
            // Another touch, or a write, has given it as long a life meanwhile.
            if wanted.is_some_and(|wanted| self.ends_at(key, &bytes) >= Some(wanted)) {
                return Ok(true);
            }
            let Some((renewed, options, end)) = self.renewed(key, bytes)? else {
                return Ok(false);
            };
            if self.write(key, renewed, &options).await? != SetOutcome::NotStored {
                return Ok(true);
            }
            wanted = end;
        }
        Err(contended("cache.touch"))
    }

    /// Until when stored bytes are fresh, where they say so.
    fn ends_at(&self, key: &Key, bytes: &Bytes) -> Option<Timestamp> {
        match self.reader.wire.read(key, bytes) {
            Read::Entry(entry) if !self.reader.wire.plain => Some(entry.stamp.fresh_until),
            _ => None,
        }
    }

    /// The same value with its whole life again, how it is to be set, and until when it is fresh then, where its bytes say so;
    /// `None` if it can't have another life.
    fn renewed(&self, key: &Key, bytes: Bytes) -> Result<Option<(Bytes, SetOptions, Option<Timestamp>)>> {
        if self.reader.wire.plain {
            let life = self.reader.policy.ttl;
            let kept = self.reader.policy.kept(life, true);
            let grace = kept.as_duration().saturating_sub(life.as_duration());
            let renewed = Wire::<C>::renewed_plain(&bytes, grace);
            return Ok(Some((renewed, SetOptions::new(kept).when(When::Equals(bytes)), None)));
        }
        let life = match life_of(key, &bytes)? {
            Some(life) if life.as_millis() < u64::from(u32::MAX) => life,
            // Longer than can be written down.
            Some(longest) => longest.max(self.reader.policy.ttl),
            None => self.reader.policy.ttl,
        };
        let fresh_until = self.reader.gate.store().now().saturating_add(life.as_duration());
        let random = &*self.reader.environment.random;
        let Some(renewed) = self.reader.wire.renewed(key, &bytes, fresh_until, random)? else {
            return Ok(None);
        };
        // It stays the value that it is, also one of a newer schema that can be read here.
        let schema = schema_of(&bytes);
        let options =
            SetOptions::new(self.reader.policy.kept(life, true)).when(When::Equals(bytes)).schema(schema);
        Ok(Some((renewed, options, Some(fresh_until))))
    }
}

/// Others changed the entry each time in between.
fn contended(operation: &'static str) -> Error {
    Error::new(ErrorKind::Throttled, "others keep changing this entry")
        .with_effect(Effect::NotApplied)
        .with_operation(operation)
}
