//! One look at an entry: the near copy, or the store within its deadline, then header, generations, decoding and age.
//!
//! Reading loads nothing and writes nothing but the near copy of what was read.

mod assess;
mod batch;
mod breaker;
mod gate;
mod generations;
mod lookup;
mod near_hit;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(super) use self::gate::{StoreGate, Work, is_callers};
pub(super) use self::generations::Generations;
pub(super) use self::lookup::{Assessment, Before, Lookup};
pub(super) use self::near_hit::NearHit;
use super::keyspace::KeySpace;
use super::near::{GenerationCache, NearCache};
use super::policy::Policy;
use super::stats::Counts;
use super::store::{Generation, Shard, Tag};
use super::wire::Wire;
use crate::codec::Codec;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::key::Key;
use crate::time::{Monotonic, Ttl};

/// The tags that follow from an escaped identifier.
pub(super) type TagsOf = Arc<dyn Fn(&str) -> Vec<Tag> + Send + Sync>;

/// What a value must be to be cached.
pub(super) trait Cached: Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Cached for T {}

/// Bytes that were stored; in plain mode with what is left of their life.
pub(super) type Stored = (Bytes, Option<Ttl>);

/// Reads the entries of one cache.
pub(super) struct Reader<C> {
    pub(super) gate: StoreGate,
    pub(super) keys: KeySpace,
    pub(super) namespace_tag: Tag,
    pub(super) wire: Wire<C>,
    pub(super) policy: Policy,
    /// `None` in plain mode, which knows no tags, and on a store that has none.
    pub(super) generations: Option<Arc<GenerationCache>>,
    pub(super) tags_of: Option<TagsOf>,
    pub(super) near: Option<Arc<NearCache>>,
    pub(super) counts: Arc<Counts>,
    pub(super) environment: Environment,
}

impl<C> fmt::Debug for Reader<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reader({})", self.keys.namespace())
    }
}

impl<C> Reader<C> {
    pub(super) fn now(&self) -> Monotonic {
        self.environment.clock.now()
    }

    pub(super) fn identifier<'a>(&self, key: &'a Key) -> &'a str {
        self.keys.identifier(key)
    }

    /// The tags of an identifier that are known beforehand.
    pub(super) fn tags_of(&self, identifier: &str) -> Vec<Tag> {
        self.tags_of.as_ref().map(|tags_of| tags_of(identifier)).unwrap_or_default()
    }

    /// Why there are no tags here.
    pub(super) fn no_tags(&self) -> Error {
        Error::unsupported(if self.wire.plain {
            "plain values carry no tags"
        } else {
            "this store has no tags"
        })
    }

    /// The shard that holds a key.
    pub(super) fn shard_of(&self, key: &Key) -> Shard {
        self.gate.store().shard_of(key)
    }

    /// To be taken before the store is read.
    pub(super) fn before(&self, key: &Key) -> Before {
        Before {
            tags_seen: self.generations.as_ref().map_or(0, |generations| generations.changes()),
            near: self.near.as_ref().map(|near| near.snapshot(self.identifier(key), || self.shard_of(key))),
            // Read where it is of use.
            began: self.near.as_ref().filter(|_| self.policy.has_last_resort()).map(|_| self.now()),
            again: false,
        }
    }

    /// What was read says that the near copy of this key is over, also for when the store is away.
    pub(super) fn forget_near(&self, key: &Key) {
        if let Some(near) = self.near.as_ref().filter(|_| self.policy.has_last_resort()) {
            near.take_out(self.identifier(key), self.shard_of(key));
        }
    }

    /// The generation of a tag, if it is known without asking.
    fn known_generation(&self, tag: &Tag) -> Option<Generation> {
        self.generations.as_ref().and_then(|generations| generations.peek(tag))
    }

    /// What is stored under a key. Not within the deadline of reads: the caller asks through the [gate](StoreGate::ask), or
    /// waits as for a write.
    pub(super) async fn stored(&self, key: &Key) -> Result<Option<Stored>> {
        if self.wire.plain {
            let mut found = self.gate.store().get_many_with_ttl(std::slice::from_ref(key)).await?;
            return Ok(found.pop().flatten().map(|(bytes, left)| (bytes, Some(left))));
        }
        Ok(self.gate.store().get(key).await?.map(|bytes| (bytes, None)))
    }
}

impl<C: Codec> Reader<C> {
    /// Reads one entry. An error is the caller's own mistake, or that the stores are closed.
    pub(super) async fn lookup<T: Cached>(&self, key: &Key) -> Result<Lookup<T>> {
        let (before, shard) = (self.before(key), self.shard_of(key));
        // Each kind of read in an arm of its own: the future of the one that is not used takes no room in a hit's.
        let read = if self.wire.plain {
            let answer = self
                .gate
                .ask(shard, Work::READ, self.gate.store().get_many_with_ttl(std::slice::from_ref(key)))
                .await;
            answer.map(|mut found| found.pop().flatten().map(|(bytes, left)| (bytes, Some(left))))
        } else {
            self.gate
                .ask(shard, Work::READ, self.gate.store().get(key))
                .await
                .map(|found| found.map(|bytes| (bytes, None)))
        };
        match read {
            Ok(Some((bytes, left))) => self.assessed(key, &bytes, left, before).await,
            Ok(None) => {
                self.forget_near(key);
                Ok(Lookup::Missing { present: false })
            }
            Err(error) => self.unanswered(error),
        }
    }

    /// The store did not answer; an error if that is the caller's own.
    pub(super) fn unanswered<T>(&self, error: Error) -> Result<Lookup<T>> {
        if is_callers(&error) {
            return Err(error);
        }
        self.gate.failed(&error);
        Ok(Lookup::Unavailable(error))
    }
}
