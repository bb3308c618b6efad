//! Leases on filling a cache entry: one load in a deployment, and no stale fill.
//!
//! Whoever misses asks for a lease. One is granted it and loads; the others wait. A fill is accepted
//! only while its lease is live, and every write of the entry voids the lease in the same step: a value that was
//! loaded before a write can't be stored after it (R. Nishtala et al., "Scaling Memcache at Facebook", NSDI 2013).

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Result;
use crate::key::Key;
use crate::time::Ttl;

/// The optional part of a [`CacheStore`](super::CacheStore) that grants leases on filling entries.
///
/// # Contract
/// - At any time at most one lease on a key is live. Every write of a key by `set`, `set_many`, `remove_many` and an
///   addition, also one that finds nothing to remove, voids its lease in the same step; a set that is not stored
///   voids none. A lease never shows as an entry.
/// - [`Want::Keep`] never takes a lease anew.
/// - A [release](Self::release) of a lease that is live notifies the [feed](super::CacheFeed) of its key, though the entry is
///   as it was: whoever waits for the lease asks again.
/// - A lease that is released as [failed](Release::failed) leaves a mark for that long, which every write of the key removes
///   as it voids a lease. While it is there, and no value makes a lease needless, whoever asks is answered
///   [`Failed`](Fetched::Failed), but for a request [despite a failure](LeaseRequest::despite_failure), which takes the
///   lease, and the mark away.
///
/// # Cancel safety
/// Dropping a future of any method leaves the operation either not done or wholly done.
#[async_trait]
pub trait CacheLeases: Send + Sync {
    /// Reads each value, or takes the lease on filling it; in the order of the requests. Asking again with the
    /// token that holds the lease answers `Leased`, and the full lease from now; a load that is under way asks with
    /// [`Want::Keep`], which takes no lease anew.
    ///
    /// [`Want::Keep`] of a lease that this token does not hold answers `Busy` without a value, also where there is one:
    /// `remaining` is what is left of another token's lease, and zero if nobody has one, because it was voided, ran out,
    /// or never was.
    async fn fetch(&self, requests: &[LeaseRequest]) -> Result<Vec<Fetched>>;

    /// Stores each value whose lease is still live, and releases the lease; the outcomes in their order. A
    /// value over the cap is refused with `InvalidInput` before any is stored.
    async fn fill(&self, fills: &[Fill]) -> Result<Vec<FillOutcome>>;

    /// Releases leases that will not be filled, so that nobody waits for them. One that is no longer live is
    /// skipped, and leaves no mark.
    async fn release(&self, leases: &[Release]) -> Result<()>;
}

/// What proves a lease: 128 random bits, new for each load.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeaseToken([u8; 16]);

impl LeaseToken {
    /// From random bytes.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// As 32 hexadecimal digits, the way it is stored.
    pub fn to_hex(&self) -> String {
        uuid::Uuid::from_bytes(self.0).simple().to_string()
    }
}

impl fmt::Debug for LeaseToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LeaseToken(..)")
    }
}

/// When a lease is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Want {
    /// If there is no value; a value that is there is answered instead.
    IfAbsent,
    /// Also if there is a value: it is stale, can't be read, or is to be loaded anew. It stays readable meanwhile.
    Anyway,
    /// Only if this token holds the lease already: it is kept for the full length from now, and never taken anew,
    /// because a write may have voided it. The value is not read. If it is not held, the answer is `Busy`.
    Keep,
}

/// A request for a lease on filling a key.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LeaseRequest {
    /// The entry.
    pub key: Key,
    /// What will prove the lease.
    pub token: LeaseToken,
    /// How long it lasts unless asked for again.
    pub lease: Ttl,
    /// When it is wanted.
    pub want: Want,
    /// Whether it is wanted also where a load has failed a short while ago.
    pub despite_failure: bool,
}

impl LeaseRequest {
    /// A request.
    pub const fn new(key: Key, token: LeaseToken, lease: Ttl, want: Want) -> Self {
        Self { key, token, lease, want, despite_failure: false }
    }

    /// Wanted also where a load has failed a short while ago.
    #[must_use]
    pub const fn despite_failure(mut self) -> Self {
        self.despite_failure = true;
        self
    }
}

/// A lease that will not be filled.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Release {
    /// The entry.
    pub key: Key,
    /// The lease.
    pub token: LeaseToken,
    /// Its load has failed, which is remembered for so long.
    pub failed: Option<Ttl>,
}

impl Release {
    /// Of a load that was cancelled, or whose value is not to be stored.
    pub const fn new(key: Key, token: LeaseToken) -> Self {
        Self { key, token, failed: None }
    }

    /// Of a load that has failed, which is remembered for so long.
    #[must_use]
    pub const fn failed(mut self, remembered: Ttl) -> Self {
        self.failed = Some(remembered);
        self
    }
}

/// What came of asking for a value or a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fetched {
    /// The value is there; no lease was taken.
    Hit(Bytes),
    /// The lease is the caller's: load, and [`fill`](CacheLeases::fill).
    Leased {
        /// The value that is there all the same ([`Want::Anyway`]).
        current: Option<Bytes>,
    },
    /// Somebody else is loading.
    Busy {
        /// What is left of their lease.
        remaining: Duration,
        /// The value that is there all the same ([`Want::Anyway`]).
        current: Option<Bytes>,
    },
    /// Nobody is loading: a load has failed a short while ago, and was [released](Release::failed) so.
    Failed {
        /// For how long that is remembered yet; more than zero.
        remaining: Duration,
        /// The value that is there all the same ([`Want::Anyway`]).
        current: Option<Bytes>,
    },
}

/// A loaded value, to be stored if its lease is still live.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Fill {
    /// The entry.
    pub key: Key,
    /// The lease.
    pub token: LeaseToken,
    /// The value.
    pub value: Bytes,
    /// How long it lives from now.
    pub ttl: Ttl,
}

impl Fill {
    /// A fill.
    pub const fn new(key: Key, token: LeaseToken, value: Bytes, ttl: Ttl) -> Self {
        Self { key, token, value, ttl }
    }
}

/// What came of a fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a fenced value was not stored"]
pub enum FillOutcome {
    /// The value is stored, and the lease released.
    Filled,
    /// The lease was voided by a write, ran out, or was never this one; nothing was changed.
    Fenced,
}
