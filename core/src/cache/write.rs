//! Writing: with the generations of the tags, and never leaving a near copy behind.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::inner::Inner;
use super::judge::Found;
use super::told::Told;
use super::wire::{Read, Stamp, life_of, schema_of};
use super::{Generation, SetOptions, SetOutcome, Tag, When};
use crate::codec::Codec;
use crate::error::{Effect, Error, ErrorKind, Result};
use crate::event::standard::CacheInvalidated;
use crate::key::Key;
use crate::time::Ttl;

/// What is there before a conditional change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// A value that counts.
    Counts,
    /// Nothing that counts.
    Nothing,
    /// A value of a newer schema, to be left alone.
    Newer,
}

/// How often a conditional change is tried while others change the same entry.
const ATTEMPTS: usize = 16;

/// Drops the near copies of keys that are being written, whatever becomes of the write: reply, error or a dropped
/// future.
pub(super) struct OwnWrite<'a, T> {
    told: &'a Told<T>,
    keys: &'a [Key],
}

impl<'a, T> OwnWrite<'a, T> {
    pub(super) fn of(told: &'a Told<T>, keys: &'a [Key]) -> Self {
        if let Some(key) = keys.first() {
            told.writing(key.as_str());
        }
        Self { told, keys }
    }
}

impl<T> Drop for OwnWrite<'_, T> {
    fn drop(&mut self) {
        for key in self.keys {
            self.told.entry_changed(key.as_str());
        }
    }
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static, C: Codec> Inner<T, C> {
    /// The bytes of a value as of now, and how it is to be set.
    async fn to_set(
        &self,
        key: &Key,
        value: &T,
        ttl: Option<Duration>,
        tags: &[Tag],
        when: When,
    ) -> Result<(Bytes, SetOptions)> {
        let mut all = self.tags_of(self.identifier(key));
        all.extend_from_slice(tags);
        let generations = match &self.mirror {
            Some(mirror) => {
                all.push(self.namespace_tag.clone());
                mirror.generations(&all).await?
            }
            None if all.is_empty() => Vec::new(),
            None => return Err(self.no_tags()),
        };
        self.prepare(key, value, ttl, all.into_iter().zip(generations).collect(), when)
    }

    /// As [`to_set`](Self::to_set), with generations that are known; the namespace's is the last.
    pub(super) fn prepare(
        &self,
        key: &Key,
        value: &T,
        ttl: Option<Duration>,
        mut tags: Vec<(Tag, Generation)>,
        when: When,
    ) -> Result<(Bytes, SetOptions)> {
        let life = ttl.map_or(Ok(self.policy.ttl), Ttl::new)?;
        let life = self.policy.jittered(life, &*self.environment.random);
        let namespace = tags.pop().map(|(_, generation)| generation);
        let stamp = self.stamp(life, Duration::ZERO, namespace, tags);
        let bytes = self.wire.encode(key, Some(value), stamp, &*self.environment.random)?;
        let options = SetOptions::new(self.policy.kept(life)).when(when).schema(self.wire.schema);
        Ok((bytes, options))
    }

    /// What is written down of a value that is stored now.
    pub(super) fn stamp(
        &self,
        life: Ttl,
        took: Duration,
        namespace: Option<Generation>,
        tags: Vec<(Tag, Generation)>,
    ) -> Stamp {
        let millis = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        Stamp {
            fresh_until: self.store.now().saturating_add(life.as_duration()),
            load_millis: millis(took),
            life_millis: millis(life.as_duration()),
            namespace,
            tags,
        }
    }

    pub(super) async fn put(
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

    async fn write(&self, key: &Key, bytes: Bytes, options: &SetOptions) -> Result<SetOutcome> {
        let _own = OwnWrite::of(&self.told, std::slice::from_ref(key));
        let size = bytes.len() as u64;
        let outcome = self.store.set(key, bytes, options).await?;
        if outcome == SetOutcome::Stored {
            self.counts.bytes_written.add(size);
        }
        Ok(outcome)
    }

    /// The bytes that are there, and what they are.
    async fn current(&self, key: &Key) -> Result<Option<(Bytes, Standing)>> {
        let before = self.before(self.identifier(key));
        let (bytes, left) = if self.wire.plain {
            match self.store.get_many_with_ttl(std::slice::from_ref(key)).await?.pop().flatten() {
                Some((bytes, left)) => (bytes, Some(left)),
                None => return Ok(None),
            }
        } else {
            match self.store.get(key).await? {
                Some(bytes) => (bytes, None),
                None => return Ok(None),
            }
        };
        match self.judged(key, &bytes, left, before).await? {
            Found::Fresh { value: Some(_), .. } => Ok(Some((bytes, Standing::Counts))),
            Found::Newer => Ok(Some((bytes, Standing::Newer))),
            Found::Down(error) => Err(error),
            _ => Ok(Some((bytes, Standing::Nothing))),
        }
    }

    /// Sets a value if one that counts is there, or if none is.
    pub(super) async fn put_if(&self, key: Key, value: &T, present: bool) -> Result<SetOutcome> {
        for _ in 0..ATTEMPTS {
            let when = match self.current(&key).await? {
                // Not absent, and not to be overwritten.
                Some((_, Standing::Newer)) => return Ok(SetOutcome::NotStored),
                Some((_, standing)) if (standing == Standing::Counts) != present => {
                    return Ok(SetOutcome::NotStored);
                }
                // Bytes that don't count are as good as none, and are replaced only if they are still the same.
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
    pub(super) async fn replace(&self, key: Key, current: &T, value: &T) -> Result<SetOutcome> {
        for _ in 0..ATTEMPTS {
            let Some((bytes, Standing::Counts)) = self.current(&key).await? else {
                return Ok(SetOutcome::NotStored);
            };
            let same = match self.wire.read(&key, &bytes) {
                Read::Entry(entry) => self.wire.holds(&entry, current)?,
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

    /// Gives a value that counts its whole life again. The life is in the value's header too, so it is written anew,
    /// if it is still the same.
    pub(super) async fn touch(&self, key: &Key) -> Result<bool> {
        if self.wire.plain {
            let _own = OwnWrite::of(&self.told, std::slice::from_ref(key));
            return self.store.touch(key, self.policy.kept(self.policy.ttl)).await;
        }
        let Some((bytes, Standing::Counts)) = self.current(key).await? else {
            return Ok(false);
        };
        let life = match life_of(key, &bytes)? {
            Some(life) if life.as_millis() < u64::from(u32::MAX) => life,
            // Longer than can be written down.
            Some(longest) => longest.max(self.policy.ttl),
            None => self.policy.ttl,
        };
        let fresh_until = self.store.now().saturating_add(life.as_duration());
        let random = &*self.environment.random;
        let Some(renewed) = self.wire.renewed(key, &bytes, fresh_until, random)? else {
            return Ok(false);
        };
        // It stays the value that it is, also one of a newer schema that can be read here.
        let schema = schema_of(&bytes);
        let options = SetOptions::new(self.policy.kept(life)).when(When::Equals(bytes)).schema(schema);
        // Whoever was quicker wrote or removed it after it was found here: as if right after this touch.
        let _either = self.write(key, renewed, &options).await?;
        Ok(true)
    }

    pub(super) async fn remove(&self, keys: &[Key]) -> Result<u64> {
        let removed = {
            let _own = OwnWrite::of(&self.told, keys);
            self.store.remove_many(keys).await?
        };
        if !keys.is_empty() {
            self.tell(keys.iter().map(ToString::to_string).collect(), Vec::new()).await;
        }
        Ok(removed)
    }

    /// Publishes what was dropped, where that is asked for.
    pub(super) async fn tell(&self, keys: Vec<String>, tags: Vec<String>) {
        let Some((topic, _)) = &self.topics else {
            return;
        };
        let event = CacheInvalidated { cache: self.namespace.kind().to_string(), keys, tags };
        if let Err(error) = topic.publish(&event).await {
            tracing::warn!(namespace = %self.namespace, %error, "cache.invalidated could not be published");
        }
    }
}

/// Others changed the entry each time in between.
fn contended(operation: &'static str) -> Error {
    Error::new(ErrorKind::Throttled, "others keep changing this entry")
        .with_effect(Effect::NotApplied)
        .with_operation(operation)
}
