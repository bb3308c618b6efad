//! What stored bytes are worth: readable, of generations that still stand, fresh or stale.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::inner::{Before, Inner};
use super::near::{Due, More, NearEntry, NearValue};
use super::wire::{Read, Stamp};
use super::{Generation, Tag};
use crate::codec::Codec;
use crate::error::Error;
use crate::key::Key;
use crate::time::{Timestamp, Ttl};

/// What was found under a key.
#[derive(Debug)]
pub(super) enum Found<T> {
    /// A value whose life is not over `until` then, by the store's time; `None`: it is known that there is none. `due`: it
    /// is to be loaded anew.
    Fresh { value: Option<Arc<T>>, due: bool, until: Timestamp },
    /// A value whose life has been over for so long.
    Stale { value: Option<Arc<T>>, age: Duration },
    /// Nothing that counts. `present`: there are bytes all the same, to be overwritten.
    Nothing { present: bool },
    /// A value of a newer schema, to be left alone.
    Newer,
    /// The store did not answer.
    Down(Error),
}

pub(super) enum Judged<T> {
    Found(Found<T>),
    /// The generations of these tags are needed.
    Needs(Vec<Tag>),
}

/// Whether the tags of a value stand.
enum Standing {
    Holds,
    Dropped,
    Unknown(Vec<Tag>),
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static, C: Codec> Inner<T, C> {
    fn standing(&self, stamp: &Stamp, generation_of: impl Fn(&Tag) -> Option<Generation>) -> Standing {
        // A value of the first version has no generations: nothing but its TTL ends it.
        let (Some(namespace), Some(_)) = (stamp.namespace, &self.mirror) else {
            return Standing::Holds;
        };
        let all = std::iter::once((&self.namespace_tag, namespace))
            .chain(stamp.tags.iter().map(|(tag, generation)| (tag, *generation)));
        let mut unknown = Vec::new();
        for (tag, generation) in all {
            match generation_of(tag) {
                Some(current) if current == generation => {}
                Some(_) => return Standing::Dropped,
                None => unknown.push(tag.clone()),
            }
        }
        if unknown.is_empty() { Standing::Holds } else { Standing::Unknown(unknown) }
    }

    /// Judges the bytes under a key, and publishes a fresh value in the near cache.
    pub(super) fn judge(
        &self,
        key: &Key,
        bytes: &Bytes,
        left: Option<Ttl>,
        before: Before,
        generation_of: impl Fn(&Tag) -> Option<Generation>,
    ) -> Judged<T> {
        let nothing = Judged::Found(Found::Nothing { present: true });
        let entry = match self.wire.read(key, bytes) {
            Read::Entry(entry) => entry,
            Read::Newer => {
                before.count(&self.counts.newer);
                return Judged::Found(Found::Newer);
            }
            Read::Unreadable(error) => {
                self.undecodable(before, &error);
                return nothing;
            }
        };
        match self.standing(&entry.stamp, generation_of) {
            Standing::Holds => {}
            Standing::Dropped => {
                before.count(&self.counts.dropped);
                if let (Some(near), Some(snapshot)) = (&self.told.near, before.near) {
                    // It is no last resort either.
                    near.take_out(self.identifier(key), snapshot);
                }
                return nothing;
            }
            Standing::Unknown(tags) => return Judged::Needs(tags),
        }
        let value = match self.wire.body::<T>(&entry) {
            Ok(value) => value.map(Arc::new),
            Err(error) => {
                self.undecodable(before, &error);
                return nothing;
            }
        };
        self.counts.bytes_read.add(bytes.len() as u64);
        Judged::Found(self.aged(key, value, entry.stamp, left, before))
    }

    /// A value that stands, by its age.
    fn aged(
        &self,
        key: &Key,
        value: Option<Arc<T>>,
        stamp: Stamp,
        left: Option<Ttl>,
        before: Before,
    ) -> Found<T> {
        let grace = self.policy.grace();
        let life = match left {
            // In plain mode what is left in the store says it all.
            Some(left) => {
                left.as_duration().checked_sub(grace).ok_or(grace.saturating_sub(left.as_duration()))
            }
            None if stamp.fresh_until == Timestamp::default() => Ok(Duration::ZERO),
            None => {
                let now = self.store.now();
                match stamp.fresh_until.saturating_since(now) {
                    Duration::ZERO => Err(now.saturating_since(stamp.fresh_until)),
                    life => Ok(life),
                }
            }
        };
        match life {
            // For as long as it is there.
            Ok(Duration::ZERO) => Found::Fresh { value, due: false, until: Timestamp::default() },
            Ok(left) => {
                let until = match stamp.fresh_until {
                    end if end == Timestamp::default() => self.store.now().saturating_add(left),
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
                self.publish(key, value.as_ref(), (left, until, due_in), stamp.tags, before);
                Found::Fresh { value, due: due_in == Some(Duration::ZERO), until }
            }
            Err(age) if age <= grace => Found::Stale { value, age },
            Err(_) => Found::Nothing { present: true },
        }
    }

    fn publish(
        &self,
        key: &Key,
        value: Option<&Arc<T>>,
        (left, until, due_in): (Duration, Timestamp, Option<Duration>),
        tags: Vec<(Tag, Generation)>,
        before: Before,
    ) {
        let (Some(near), Some(snapshot)) = (&self.told.near, before.near) else {
            return;
        };
        let now = self.now();
        let value = value.map(|value| Arc::clone(value) as NearValue);
        let mut entry = NearEntry::new(value, now.saturating_add(left));
        let due = due_in.map(|due_in| Due { at: now.saturating_add(due_in), until });
        if due.is_some() || !tags.is_empty() {
            entry.more = Some(Arc::new(More { due, tags: tags.into(), tags_seen: before.tags_seen }));
        }
        if !near.publish(self.identifier(key), snapshot, entry) {
            self.counts.near_fenced.one();
        }
    }

    fn undecodable(&self, before: Before, error: &Error) {
        before.count(&self.counts.undecodable);
        tracing::debug!(namespace = %self.namespace, %error, "a cached value can't be read; taken as a miss");
    }
}
