//! Counters: numbers under keys that many processes add to.

use async_trait::async_trait;

use crate::error::Result;
use crate::key::Key;
use crate::time::Ttl;

/// The optional part of a [`CacheStore`](super::CacheStore) that counts.
///
/// # Contract
/// No addition is lost, whatever runs beside it, in this process or another. A counter is an entry like any other:
/// removing it or its expiry starts it afresh.
///
/// # Cancel safety
/// Dropping the future leaves the addition either not done or wholly done.
#[async_trait]
pub trait CacheCounters: Send + Sync {
    /// Adds to the counter at the key, and answers the new value. An absent counter starts at zero and gets
    /// the TTL; an existing one keeps the life it has, so that a counter counts within one window.
    ///
    /// A counter is stored as its decimal text, so [`get`](super::CacheStore::get) reads it: digits, with a minus in front
    /// of a negative one. A sum outside `i64` is `InvalidInput`. A value that is not written like this is `Codec`: a word,
    /// also `+7`, `07`, `-0`, `7.0`, an empty value, one with blanks, and a number outside `i64`. Both leave the key as it
    /// was.
    async fn add(&self, key: &Key, delta: i64, ttl: Ttl) -> Result<i64>;
}
