//! What a cache backend implements.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use super::{CacheCapabilities, SetOptions, SetOutcome};
use crate::error::Result;
use crate::key::Key;
use crate::time::Ttl;

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
///
/// # Cancel safety
/// Dropping a future of any method leaves the operation either not done or wholly done.
#[async_trait]
pub trait CacheStore: fmt::Debug + Send + Sync + 'static {
    /// What this backend can take; constant over its life.
    fn capabilities(&self) -> CacheCapabilities;

    /// The value at the key, or `None`.
    async fn get(&self, key: &Key) -> Result<Option<Bytes>>;

    /// The values at the keys, in the order of the keys; a key may be asked for twice. Empty in, empty out.
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>>;

    /// Sets the value and its TTL in one step, if the condition holds. A value over
    /// [`max_value_bytes`](CacheCapabilities::max_value_bytes) is refused with `InvalidInput`.
    async fn set(&self, key: &Key, value: Bytes, options: &SetOptions) -> Result<SetOutcome>;

    /// Sets every value with this TTL, whatever is there. For a key given twice the last value holds.
    async fn set_many(&self, entries: &[(Key, Bytes)], ttl: Ttl) -> Result<()>;

    /// Removes the keys and says how many distinct ones held something.
    async fn remove_many(&self, keys: &[Key]) -> Result<u64>;

    /// Adds to the counter at the key, and answers the new value. An absent counter starts at zero and gets
    /// the TTL; an existing one keeps the life it has, so that a counter counts within one window.
    ///
    /// A counter is stored as its decimal text, so [`get`](Self::get) reads it. A sum outside `i64` is
    /// `InvalidInput`, a value that is no number is `Codec`; both leave the key as it was.
    async fn add(&self, key: &Key, delta: i64, ttl: Ttl) -> Result<i64>;

    /// Gives an existing entry a new TTL from now; `false` if there is none. Never creates anything.
    async fn touch(&self, key: &Key, ttl: Ttl) -> Result<bool>;

    /// What is left of the entry's life, or `None` if there is no entry.
    async fn ttl(&self, key: &Key) -> Result<Option<Ttl>>;
}
