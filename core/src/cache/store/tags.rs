//! Tags, and the generations that make dropping everything under one a single step.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::key::{Identifier, Key, Namespace};

/// The optional part of a [`CacheStore`](super::CacheStore) that keeps the generations of tags.
///
/// # Contract
/// A generation is never answered twice with another one in between, and every `bump` makes it greater, also where the
/// store's wall clock has gone back: it is `max(previous + 1, the store's time in µs)`.
///
/// # Cancel safety
/// Dropping a future of any method leaves the operation either not done or wholly done; where a backend keeps a generation in
/// several copies, a `bump` that is dropped may also be done later, when the generation is next read.
#[async_trait]
pub trait CacheTags: Send + Sync {
    /// The generations of the tags, in their order, each with its age: how long ago it was made, by the clock that
    /// made it, or of several by one that is not ahead of it: never more than it is. One that is not stored is made now, greater
    /// than any before.
    async fn generations(&self, tags: &[Tag]) -> Result<Vec<(Generation, Duration)>>;

    /// Makes the generations of the tags greater, which invalidates every value that carries the old ones;
    /// answers the new ones in their order. One step for each tag, however many values carry it.
    async fn bump(&self, tags: &[Tag]) -> Result<Vec<Generation>>;
}

/// A name that any number of cached values carry, so that all of them can be dropped at once. A tag belongs to
/// the deployment, not to one cache: dropping `user:u1` drops the profile and every list that shows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Key);

impl Tag {
    /// The service under which generations are stored: `tags:tag:{tag}` and `tags:namespace:{namespace}`.
    pub const SERVICE: &'static str = "tags";

    /// A tag of this name.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) as for any [`Key`].
    pub fn new(name: impl Identifier) -> Result<Self> {
        Key::new(Self::SERVICE, "tag", name).map(Self)
    }

    /// What every value of a namespace carries, so that the whole namespace can be dropped.
    pub fn of_namespace(namespace: &Namespace) -> Result<Self> {
        Key::new(Self::SERVICE, "namespace", namespace.to_string()).map(Self)
    }

    /// The namespaces in which generations are stored: what a mirror of them watches.
    pub fn namespaces() -> Result<[Namespace; 2]> {
        Ok([Namespace::new(Self::SERVICE, "tag")?, Namespace::new(Self::SERVICE, "namespace")?])
    }

    /// Under which the generation is stored.
    pub fn key(&self) -> &Key {
        &self.0
    }

    /// The tag whose generation is stored under the key of this text, as a value on the wire names it.
    pub(in crate::cache) fn stored(key: &str) -> Option<Self> {
        let mut segments = key.splitn(3, ':');
        let known = segments.next() == Some(Self::SERVICE)
            && matches!(segments.next(), Some("tag" | "namespace"))
            && segments.next().is_some_and(|name| !name.is_empty() && !name.contains(':'));
        known.then(|| Self(Key::stored(key)))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The version of a tag: everything that carries an earlier one is invalidated. It is `max(previous + 1, store's time in
/// microseconds)`. A value carries the generation of each of its tags as it was before the value was loaded, and
/// counts only while all of them are the same.
///
/// Generations are compared for equality alone. One that was evicted or flushed comes back greater, so that an old
/// value is never a hit again (as far as the clock of a new master is not behind).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(u64);

impl Generation {
    /// From the stored number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The stored number.
    pub const fn get(self) -> u64 {
        self.0
    }
}
