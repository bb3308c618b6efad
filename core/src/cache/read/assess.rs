//! What stored bytes are: readable or not, invalidated by a tag or not, fresh or stale.

use std::sync::Arc;
use std::time::Duration;

use super::{Assessment, Before, Cached, Generations, Lookup, Reader};
use crate::cache::near::{Due, More, NearEntry, NearValue};
use crate::cache::store::{Generation, Tag};
use crate::cache::wire::{Read, Stamp};
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::key::Key;
use crate::time::{Monotonic, Timestamp, Ttl};
use bytes::Bytes;

/// Whether the generations in a value are the current ones.
enum TagState {
    Current,
    Invalidated,
    Unknown(Vec<Tag>),
}

impl<C: Codec> Reader<C> {
    fn tag_state(&self, stamp: &Stamp, generation_of: impl Fn(&Tag) -> Option<Generation>) -> TagState {
        // A value of the first version has no generations: nothing but its TTL ends it.
        let (Some(namespace), Some(_)) = (stamp.namespace, &self.generations) else {
            return TagState::Current;
        };
        let all = std::iter::once((&self.namespace_tag, namespace))
            .chain(stamp.tags.iter().map(|(tag, generation)| (tag, *generation)));
        let mut unknown = Vec::new();
        for (tag, generation) in all {
            match generation_of(tag) {
                Some(current) if current == generation => {}
                Some(_) => return TagState::Invalidated,
                None => unknown.push(tag.clone()),
            }
        }
        if unknown.is_empty() { TagState::Current } else { TagState::Unknown(unknown) }
    }

    /// Assesses the bytes under a key, and publishes a fresh value in the near cache.
    pub(super) fn assess<T: Cached>(
        &self,
        key: &Key,
        bytes: &Bytes,
        left: Option<Ttl>,
        before: Before,
        generation_of: impl Fn(&Tag) -> Option<Generation>,
    ) -> Assessment<T> {
        let missing = || {
            // The fail-safe must not serve what was there before either.
            self.forget_near(key);
            Assessment::Done(Lookup::Missing { present: true })
        };
        let entry = match self.wire.read(key, bytes) {
            Read::Entry(entry) => entry,
            Read::Newer => {
                before.count(&self.counts.newer);
                self.forget_near(key);
                return Assessment::Done(Lookup::NewerSchema);
            }
            Read::Unreadable(error) => {
                self.undecodable(before, &error);
                return missing();
            }
        };
        match self.tag_state(&entry.stamp, generation_of) {
            TagState::Current => {}
            TagState::Invalidated => {
                before.count(&self.counts.dropped);
                return missing();
            }
            TagState::Unknown(tags) => return Assessment::NeedsGenerations(tags),
        }
        let value = match self.wire.body::<T>(&entry) {
            Ok(value) => value.map(Arc::new),
            Err(error) => {
                self.undecodable(before, &error);
                return missing();
            }
        };
        self.counts.bytes_read.add(bytes.len() as u64);
        Assessment::Done(self.aged(key, value, entry.stamp, left, before))
    }

    /// A value that was not invalidated, by its age.
    fn aged<T: Cached>(
        &self,
        key: &Key,
        value: Option<Arc<T>>,
        stamp: Stamp,
        left: Option<Ttl>,
        before: Before,
    ) -> Lookup<T> {
        let life = match left {
            // In plain mode what is left in the store and the grace that it was written with say it all.
            Some(left) => match left.as_duration().saturating_sub(stamp.grace) {
                Duration::ZERO => Err(stamp.grace.saturating_sub(left.as_duration())),
                life => Ok(life),
            },
            None if stamp.fresh_until == Timestamp::default() => Ok(Duration::ZERO),
            None => {
                let now = self.gate.store().now();
                match stamp.fresh_until.saturating_since(now) {
                    Duration::ZERO => Err(now.saturating_since(stamp.fresh_until)),
                    life => Ok(life),
                }
            }
        };
        match life {
            // Fresh for as long as it is there.
            Ok(Duration::ZERO) => {
                self.forget_near(key);
                Lookup::Fresh { value, due: false, until: Timestamp::default(), unconfirmed: None }
            }
            Ok(left) => {
                let until = match stamp.fresh_until {
                    end if end == Timestamp::default() => self.gate.store().now().saturating_add(left),
                    end => end,
                };
                let life = match stamp.life_millis {
                    // It is not written down.
                    0 => self.policy.ttl.as_duration(),
                    // Longer than can be written down.
                    u32::MAX => self.policy.ttl.as_duration().max(Duration::from_millis(u32::MAX.into())),
                    millis => Duration::from_millis(millis.into()),
                };
                let due_in = self.policy.due_in(left, life, stamp.load_millis, &*self.environment.random);
                self.publish(key, value.as_ref(), (left, until, due_in), stamp, before);
                Lookup::Fresh { value, due: due_in == Some(Duration::ZERO), until, unconfirmed: None }
            }
            Err(age) if age <= self.policy.grace(value.is_some()) => {
                self.keep_stale(key, value.as_ref(), age, stamp, before);
                Lookup::Stale { value, age }
            }
            Err(_) => {
                self.forget_near(key);
                Lookup::Missing { present: true }
            }
        }
    }

    fn publish<T: Cached>(
        &self,
        key: &Key,
        value: Option<&Arc<T>>,
        (left, until, due_in): (Duration, Timestamp, Option<Duration>),
        stamp: Stamp,
        before: Before,
    ) {
        let (Some(near), Some(snapshot)) = (&self.near, before.near) else {
            return;
        };
        let now = self.now();
        let due = due_in.map(|due_in| Due { at: now.saturating_add(due_in), until });
        let entry = self.near_entry(value, now.saturating_add(left), due, stamp, before);
        let last = self.policy.has_last_resort().then(|| entry.clone());
        if !near.publish(self.identifier(key), snapshot, entry) {
            self.counts.near_fenced.one();
            if let Some(last) = last {
                near.keep(self.identifier(key), snapshot, last);
            }
        }
    }

    /// Keeps a stale value that was read as the last that is known, in place of what may be older.
    fn keep_stale<T: Cached>(
        &self,
        key: &Key,
        value: Option<&Arc<T>>,
        age: Duration,
        stamp: Stamp,
        before: Before,
    ) {
        let (Some(near), Some(snapshot)) = (&self.near, before.near) else {
            return;
        };
        // One whose life ended before this process began can't be dated. Only the fail-safe serves it.
        let end = self.now().since_origin().checked_sub(age).filter(|_| !self.policy.fail_safe.is_zero());
        let is_kept = end.is_some_and(|end| {
            let entry = self.near_entry(value, Monotonic::from_origin(end), None, stamp, before);
            near.keep(self.identifier(key), snapshot, entry)
        });
        if !is_kept {
            self.forget_near(key);
        }
    }

    fn near_entry<T: Cached>(
        &self,
        value: Option<&Arc<T>>,
        fresh_until: Monotonic,
        due: Option<Due>,
        stamp: Stamp,
        before: Before,
    ) -> NearEntry {
        let mut entry = NearEntry::new(value.map(|value| Arc::clone(value) as NearValue), fresh_until);
        let Stamp { tags, namespace, .. } = stamp;
        let read = before.began.map(|began| (namespace, began));
        if due.is_some() || !tags.is_empty() || read.is_some() {
            // A tag that is not known now changes unheard, so that such an entry is compared at each hit.
            let is_known = |(tag, generation): &(Tag, _)| self.known_generation(tag) == Some(*generation);
            let tags_seen = if tags.iter().all(is_known) { before.tags_seen } else { u64::MAX };
            entry.more = Some(Arc::new(More { due, tags: tags.into(), tags_seen, read }));
        }
        entry
    }

    /// Assesses stored bytes, asking for the generations that are not known.
    pub(in crate::cache) async fn assessed<T: Cached>(
        &self,
        key: &Key,
        bytes: &Bytes,
        left: Option<Ttl>,
        before: Before,
    ) -> Result<Lookup<T>> {
        match self.assess(key, bytes, left, before, |tag| self.known_generation(tag)) {
            Assessment::Done(found) => Ok(found),
            // Seldom; on the heap, so that it is no part of every read's future.
            Assessment::NeedsGenerations(tags) => {
                Box::pin(self.assess_asking(key, bytes, left, before, tags)).await
            }
        }
    }

    /// Assesses stored bytes by the generations of these tags, which have to be asked for, and of those that are known.
    async fn assess_asking<T: Cached>(
        &self,
        key: &Key,
        bytes: &Bytes,
        left: Option<Ttl>,
        before: Before,
        tags: Vec<Tag>,
    ) -> Result<Lookup<T>> {
        let Some(generations) = &self.generations else {
            return Ok(Lookup::Missing { present: true });
        };
        match self.all_generations(generations, &tags).await {
            Ok(read) => Ok(self.assess_with(key, bytes, left, before, &tags.into_iter().zip(read).collect())),
            Err(error) => self.unanswered(error),
        }
    }

    /// Assesses stored bytes by the generations that could be read, and those that are known.
    pub(super) fn assess_with<T: Cached>(
        &self,
        key: &Key,
        bytes: &Bytes,
        left: Option<Ttl>,
        before: Before,
        read: &Generations,
    ) -> Lookup<T> {
        // Those that were known a moment ago are not among what was read.
        let of = |tag: &Tag| read.of(tag).or_else(|| self.known_generation(tag));
        match (self.assess(key, bytes, left, before, of), &read.failure) {
            (Assessment::Done(found), _) => found,
            (Assessment::NeedsGenerations(_), Some(error)) => Lookup::Unavailable(error.clone()),
            // One is no longer known: its tag has just been invalidated, or the feed was lost.
            (Assessment::NeedsGenerations(_), None) => Lookup::Missing { present: true },
        }
    }

    fn undecodable(&self, before: Before, error: &Error) {
        before.count(&self.counts.undecodable);
        tracing::debug!(namespace = %self.keys.namespace(), %error, "a cached value can't be read, which is a miss");
    }
}
