//! What every cache backend implements: values with a time to live.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    CacheCapabilities, CacheCounters, CacheFeed, CacheLeases, CacheTags, SetEntry, SetOptions, SetOutcome,
    Shard,
};
use crate::error::Result;
use crate::key::Key;
use crate::time::{Timestamp, Ttl};

/// Bytes under keys, each with a time to live. Services use [`Cache`](crate::cache::Cache) instead.
///
/// Values are what every backend has. Four parts are optional, each a trait of its own, which a backend that has it
/// answers by an accessor: [`leases`](Self::leases), [`tags`](Self::tags), [`feed`](Self::feed) and
/// [`counters`](Self::counters). What the façade does without a part is said at each.
///
/// # Contract
/// - Linearizable per key. A batch is not one atomic step: it is as many single steps, in no stated order,
///   sent in one write per master; all its keys and values are checked before any is sent.
/// - An entry whose TTL has run out, by the store's own clock, is not there, for any operation.
/// - A value or counter that was read is never a part of another, nor another key's.
/// - A list, hash or any other foreign type at a key is an error of kind
///   [`Codec`](crate::ErrorKind::Codec), and is left as it is by everything but `set` with
///   [`When::Always`](super::When::Always) and `remove_many`, which replace and remove it.
/// - "One step" is one for every process on the same data, and not only for the tasks of one: a mutex is no
///   transaction.
/// - A store that keeps deadlines as times of its wall clock may prolong or shorten a life by as much as that clock is
///   set back or forth, and by no more.
/// - A call that is about keys of several [shards](Self::shard_of) fails as a whole if one of them does not answer; what it was
///   to change in the others may be changed. Whoever wants an answer from those that live asks for the keys of each shard by a
///   call of its own, as the façade does.
/// - Whether a part is there is constant over the life of the store.
///
/// # Cancel safety
/// Dropping a future of any method leaves the operation either not done or wholly done.
#[async_trait]
pub trait CacheStore: fmt::Debug + Send + Sync + 'static {
    /// What this backend can take; constant over its life.
    fn capabilities(&self) -> CacheCapabilities;

    /// Leases on filling entries, if the backend has them.
    ///
    /// Without, there is one load per key in each process, but not in the deployment: of two processes that load at once
    /// the value of the first to store is kept. What is written or removed through a cache is never overwritten by a load of
    /// the same cache that began before. But a value that was loaded before another process removed the entry, or another
    /// cache of the same kind in this one, may be stored after that, and be stale until its TTL is over.
    fn leases(&self) -> Option<&dyn CacheLeases>;

    /// Generations of tags, if the backend has them.
    ///
    /// Without, a cache with tags is refused when it is built, and dropping a tag or a whole cache is `Unsupported`.
    fn tags(&self) -> Option<&dyn CacheTags>;

    /// The feed of invalidations, if the backend has one.
    ///
    /// Without, there is no near cache, the generations of tags are read each time, and whoever waits for another
    /// process's load looks again after a pause.
    fn feed(&self) -> Option<&dyn CacheFeed>;

    /// Counters, if the backend has them.
    ///
    /// Without, [`Counters`](crate::cache::Counters) are refused when they are built.
    fn counters(&self) -> Option<&dyn CacheCounters>;

    /// The store's time, as near as this process can tell without asking. For soft freshness only: nothing is
    /// fenced or ordered by it.
    fn now(&self) -> Timestamp;

    /// The shard that holds the key, as far as this process knows without asking; of a generation, by the
    /// [key](super::Tag::key) of its tag. [`Shard::ONLY`] for a store that fails as a whole. Asked before each read: no trip, no
    /// waiting.
    ///
    /// What is read under a key after this was asked changes with a notification of the [feed](Self::feed) while the shard that
    /// was answered is up there. So a store whose keys move from one shard to another answers the new one first, then notifies
    /// watchers by [`lost`](super::Watcher::lost) of the one that it answered before, and only then reads from the new one; and
    /// for as long as it can't tell where a key is, it answers a shard that is not up.
    fn shard_of(&self, key: &Key) -> Shard;

    /// The value at the key, or `None`. Its bytes may share their memory with others that were read at the same time:
    /// copy what is kept for long.
    async fn get(&self, key: &Key) -> Result<Option<Bytes>>;

    /// The values at the keys, in the order of the keys; a key may be asked for twice. Empty in, empty out.
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>>;

    /// As [`get_many`](Self::get_many), each value with what is left of its life.
    async fn get_many_with_ttl(&self, keys: &[Key]) -> Result<Vec<Option<(Bytes, Ttl)>>>;

    /// Sets the value and its TTL in one step, if the condition holds. A value over
    /// [`max_value_bytes`](CacheCapabilities::max_value_bytes) is refused with `InvalidInput`.
    ///
    /// With a [schema](SetOptions::schema) other than 0, a value that is there and begins with the header of
    /// `core/docs/wire-format.md` and a greater schema number is removed and not replaced.
    async fn set(&self, key: &Key, value: Bytes, options: &SetOptions) -> Result<SetOutcome>;

    /// Sets every value by its own options; the outcomes in their order. For a key given twice the last value
    /// holds. Where its outcome is [`Unknown`](crate::Effect::Unknown), or it was dropped, it may be carried out after a write that
    /// was begun since.
    async fn set_many(&self, entries: &[SetEntry]) -> Result<Vec<SetOutcome>>;

    /// Removes the keys and says how many distinct ones held something.
    async fn remove_many(&self, keys: &[Key]) -> Result<u64>;

    /// Gives an existing entry a new TTL from now; `false` if there is none. Never creates anything.
    async fn touch(&self, key: &Key, ttl: Ttl) -> Result<bool>;

    /// What is left of the entry's life, or `None` if there is no entry.
    async fn ttl(&self, key: &Key) -> Result<Option<Ttl>>;
}
