//! A held lock, and what comes of asking for one.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::key::Key;
use crate::time::Ttl;

/// A fencing token: a number that grows with every acquisition of the same lock.
///
/// It is `max(previous + 1, store's time in microseconds)`, so it grows across an eviction or a flush too,
/// as far as the store's clock does not go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fence(u64);

impl Fence {
    /// From the stored number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number to hand to the resource.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What proves ownership: 128 random bits, new for each acquisition.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct LockToken([u8; 16]);

impl LockToken {
    /// From random bytes.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// As 32 hexadecimal digits, the way it is stored.
    pub fn to_hex(&self) -> String {
        uuid::Uuid::from_bytes(self.0).simple().to_string()
    }
}

impl fmt::Debug for LockToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LockToken(..)")
    }
}

/// A request for a lock.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LockRequest {
    /// The lock.
    pub key: Key,
    /// What will prove ownership.
    pub token: LockToken,
    /// How long it is held unless renewed.
    pub lease: Ttl,
}

impl LockRequest {
    /// A request.
    pub const fn new(key: Key, token: LockToken, lease: Ttl) -> Self {
        Self { key, token, lease }
    }
}

/// A held lock.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lease {
    /// The lock.
    pub key: Key,
    /// What proves ownership.
    pub token: LockToken,
    /// The fencing token.
    pub fence: Fence,
    /// How long each renewal holds it.
    pub lease: Ttl,
}

impl Lease {
    /// A lease, for backends.
    pub const fn new(key: Key, token: LockToken, fence: Fence, lease: Ttl) -> Self {
        Self { key, token, fence, lease }
    }
}

/// What came of asking for a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "the lock may be held by somebody else"]
pub enum AcquireOutcome {
    /// It is held.
    Acquired(Lease),
    /// Somebody holds it.
    Busy {
        /// What is left of the holder's lease.
        remaining: Duration,
    },
}

/// What came of renewing a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "the lock may be lost"]
pub enum RenewOutcome {
    /// Held for a whole lease from now.
    Held,
    /// Expired, or taken by somebody else; nothing was changed.
    Lost,
}

/// What came of releasing a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReleaseOutcome {
    /// The lock is free.
    Released,
    /// It was no longer held by this lease; nothing was changed.
    WasLost,
}
