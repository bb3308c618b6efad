//! What another process is asked to do. Each answers one value.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A bounded piece of work on the stores of the case's place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Task {
    /// Adds one to a counter so often. Answers the sums, `Vec<i64>`.
    Add { key: String, times: u32 },
    /// Asks for the lease on each entry. Answers which it was granted, `Vec<bool>`.
    TakeLeases { keys: Vec<String>, token: u8 },
    /// Fills each entry by this token's lease. Answers which were filled, `Vec<bool>`.
    Fill { keys: Vec<String>, token: u8 },
    /// Asks for a lock once. Answers its fence if it was free, `Option<u64>`.
    Acquire { name: String, token: u8, lease: Duration },
    /// Releases the lock that this token holds. Answers whether it did, `bool`.
    Release { name: String, token: u8, fence: u64 },
    /// Takes a lock so often, waiting while it is held, and lets go of it at once. Answers [`Held`].
    TakeTurns { name: String, token: u8, times: u32 },
    /// Asks a limit of `burst` a day for one permit so often. Answers how often it was allowed, `u32`.
    Check { subject: String, burst: u32, times: u32 },
    /// Creates so many sessions of a user, who may have `limit`: others make room if it evicts, or else it is refused.
    /// Answers how many were created, `u32`.
    Create { user: String, limit: u32, evicts: bool, times: u32 },
    /// Revokes tokens. Answers nothing, `()`.
    Revoke { jtis: Vec<String> },
    /// Which of these tokens are revoked, `Vec<bool>`.
    AreRevoked { jtis: Vec<String> },
    /// Revokes all of a user. Answers the epoch, `u64`.
    RevokeAll { user: String },
    /// The epoch of a user, `u64`.
    Epoch { user: String },
    /// Claims names. Answers which it was the first to, `Vec<bool>`.
    Claim { names: Vec<String> },
    /// Presents the first token of families, with this successor. Answers which it rotated, `Vec<bool>`.
    Rotate { families: Vec<u8>, next: u8 },
}

/// What a process that took turns has seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    /// Its fences, in order.
    pub(crate) fences: Vec<u64>,
    /// How often the lock had another fence while it held it, or was lost when it let go.
    pub(crate) overlaps: u32,
}
