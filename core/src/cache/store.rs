//! What a cache backend implements.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    CacheCapabilities, Fetched, Fill, FillOutcome, Generation, LeaseRequest, LeaseToken, SetEntry,
    SetOptions, SetOutcome, Tag, Watch, Watcher,
};
use crate::error::Result;
use crate::key::{Key, Namespace};
use crate::time::{Timestamp, Ttl};

/// Bytes under keys, each with a time to live. Services use [`Cache`](super::Cache) instead.
///
/// # Contract
/// - Linearizable per key. A batch is not one atomic step: it is as many single steps, in no stated order,
///   sent in one write per master; all its keys and values are checked before any is sent.
/// - An entry whose TTL has run out, by the store's own clock, is not there, for any operation.
/// - A value or counter that was read is never a part of another, nor another key's.
/// - A list, hash or any other foreign type at a key is an error of kind
///   [`Codec`](crate::ErrorKind::Codec), and is left as it is by everything but `set` with
///   [`When::Always`](super::When::Always) and `remove_many`, which replace and remove it.
/// - At any time at most one lease on a key is live. Every write of a key by `set`, `set_many`, `remove_many` and
///   `add`, also one that finds nothing to remove, voids its lease in the same step; a set that is not stored
///   voids none. A lease never shows as an entry.
/// - A generation is never answered twice with another one in between, and every `bump` makes it greater, also where
///   the store's wall clock has gone back: it is `max(previous + 1, the store's time in µs)`.
/// - "One step" is one for every process on the same data, and not only for the tasks of one: a mutex is no
///   transaction.
/// - A store that keeps deadlines as times of its wall clock may prolong or shorten a life by as much as that clock is
///   set back or forth, and by no more.
/// - Once a watcher is told [`restored`](Watcher::restored), it is told every later change of its namespace, by
///   anybody and by expiry of what was read, until it is told [`lost`](Watcher::lost); a backend that can tell no
///   expiry leaves that to the TTL.
///
/// # Cancel safety
/// Dropping a future of any method leaves the operation either not done or wholly done.
#[async_trait]
pub trait CacheStore: fmt::Debug + Send + Sync + 'static {
    /// What this backend can take; constant over its life.
    fn capabilities(&self) -> CacheCapabilities;

    /// The store's time, as near as this process can tell without asking. For soft freshness only: nothing is
    /// fenced or ordered by it.
    fn now(&self) -> Timestamp;

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
    /// holds.
    async fn set_many(&self, entries: &[SetEntry]) -> Result<Vec<SetOutcome>>;

    /// Removes the keys and says how many distinct ones held something.
    async fn remove_many(&self, keys: &[Key]) -> Result<u64>;

    /// Adds to the counter at the key, and answers the new value. An absent counter starts at zero and gets
    /// the TTL; an existing one keeps the life it has, so that a counter counts within one window.
    ///
    /// A counter is stored as its decimal text, so [`get`](Self::get) reads it: digits, with a minus in front of a
    /// negative one. A sum outside `i64` is `InvalidInput`. A value that is not written like this is `Codec`: a word,
    /// also `+7`, `07`, `-0`, `7.0`, an empty value, one with blanks, and a number outside `i64`. Both leave the key as
    /// it was.
    async fn add(&self, key: &Key, delta: i64, ttl: Ttl) -> Result<i64>;

    /// Gives an existing entry a new TTL from now; `false` if there is none. Never creates anything.
    async fn touch(&self, key: &Key, ttl: Ttl) -> Result<bool>;

    /// What is left of the entry's life, or `None` if there is no entry.
    async fn ttl(&self, key: &Key) -> Result<Option<Ttl>>;

    /// Reads each value, or takes the lease on filling it; in the order of the requests. Asking again with the
    /// token that holds the lease answers `Leased`, and the full lease from now; a load that is under way asks with
    /// [`Want::Keep`](super::Want::Keep), which takes no lease anew.
    ///
    /// `Keep` of a lease that this token does not hold answers `Busy` without a value, also where there is one:
    /// `remaining` is what is left of another token's lease, and zero if nobody has one, because it was voided, ran out,
    /// or never was.
    async fn fetch(&self, requests: &[LeaseRequest]) -> Result<Vec<Fetched>>;

    /// Stores each value whose lease is still live, and gives the lease back; the outcomes in their order. A
    /// value over the cap is refused with `InvalidInput` before any is stored.
    async fn fill(&self, fills: &[Fill]) -> Result<Vec<FillOutcome>>;

    /// Gives back leases that will not be filled, so that nobody waits for them. One that is no longer live is
    /// passed over.
    async fn abandon(&self, leases: &[(Key, LeaseToken)]) -> Result<()>;

    /// The generations of the tags, in their order, each with its age: how long ago it was made, by the one clock
    /// that made it. One that is not stored is made now, greater than any before.
    async fn generations(&self, tags: &[Tag]) -> Result<Vec<(Generation, Duration)>>;

    /// Makes the generations of the tags greater, so that no value that carries the old ones counts any more;
    /// answers the new ones in their order. One step for each tag, however many values carry it.
    async fn bump(&self, tags: &[Tag]) -> Result<Vec<Generation>>;

    /// Tells the watcher of every change in a namespace, through any handle and by any other program, until the
    /// [`Watch`] is dropped. The watcher starts out as one that is [`lost`](Watcher::lost). Generations change in
    /// [`Tag::namespaces`].
    ///
    /// # Errors
    /// `Unsupported` where [`watch`](CacheCapabilities::watch) says so; `Config` without a runtime.
    fn watch(&self, namespace: &Namespace, watcher: Arc<dyn Watcher>) -> Result<Watch>;
}
