//! What is stored of a session, and what comes of changing it.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::{SessionId, SessionLimit};
use crate::time::{Timestamp, Ttl};

/// A session to be created.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NewSession {
    /// The name under which it is stored.
    pub id: SessionId,
    /// Whose it is.
    pub user: String,
    /// The fields it starts with.
    pub data: BTreeMap<String, Bytes>,
    /// How long it lives without being used.
    pub idle: Ttl,
    /// How long it lives at most.
    pub absolute: Ttl,
    /// How many the user may have.
    pub limit: SessionLimit,
}

impl NewSession {
    /// A session without fields.
    pub fn new(
        id: SessionId,
        user: impl Into<String>,
        idle: Ttl,
        absolute: Ttl,
        limit: SessionLimit,
    ) -> Self {
        Self { id, user: user.into(), data: BTreeMap::new(), idle, absolute, limit }
    }

    /// With these fields.
    #[must_use]
    pub fn data(mut self, data: BTreeMap<String, Bytes>) -> Self {
        self.data = data;
        self
    }
}

/// A live session, as the store has it. All times are the store's own.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionRecord {
    /// The name under which it is stored.
    pub id: SessionId,
    /// Whose it is.
    pub user: String,
    /// Its fields.
    pub data: BTreeMap<String, Bytes>,
    /// Starts at 1; every patch adds 1.
    pub version: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last created, patched or touched.
    pub last_used_at: Timestamp,
    /// When its absolute life ends.
    pub absolute_deadline: Timestamp,
    /// How long it will live if it is not used: the lesser of the idle and the absolute time left.
    pub expires_in: Duration,
}

impl SessionRecord {
    /// A record, for backends.
    #[expect(clippy::too_many_arguments, reason = "a plain record; every field is needed")]
    pub fn new(
        id: SessionId,
        user: String,
        data: BTreeMap<String, Bytes>,
        version: u64,
        created_at: Timestamp,
        last_used_at: Timestamp,
        absolute_deadline: Timestamp,
        expires_in: Duration,
    ) -> Self {
        Self { id, user, data, version, created_at, last_used_at, absolute_deadline, expires_in }
    }
}

/// What came of creating a session.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "the session may have been refused"]
pub enum CreateOutcome {
    /// It is there; these others of the same user had to go.
    Created {
        /// The session.
        record: SessionRecord,
        /// The sessions that made room, in the order in which they were chosen.
        evicted: Vec<SessionId>,
    },
    /// The user has as many as [`SessionLimit::Reject`] allows; nothing was changed.
    LimitReached,
    /// There is a session under this id already; nothing was changed.
    IdTaken,
}

/// Fields to set and to remove, and the version this is based on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Patch {
    /// Fields to set.
    pub set: BTreeMap<String, Bytes>,
    /// Fields to remove; removing one that is not there is no error. A field in both is set.
    pub remove: Vec<String>,
    /// Apply only if the session still has this version.
    pub expected_version: Option<u64>,
}

impl Patch {
    /// A patch that changes nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a field.
    #[must_use]
    pub fn set(mut self, field: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.set.insert(field.into(), value.into());
        self
    }

    /// Removes a field.
    #[must_use]
    pub fn remove(mut self, field: impl Into<String>) -> Self {
        self.remove.push(field.into());
        self
    }

    /// Applies only if the session still has this version.
    #[must_use]
    pub fn expecting(mut self, version: u64) -> Self {
        self.expected_version = Some(version);
        self
    }

    /// Names and values to be stored, in bytes.
    pub fn bytes(&self) -> usize {
        self.set.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
}

/// What came of patching a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "the patch may not have been applied"]
pub enum PatchOutcome {
    /// Applied, and the session counts as used.
    Saved {
        /// The version it has now.
        version: u64,
    },
    /// Somebody else changed it first; nothing was changed.
    Conflict {
        /// The version it has.
        version: u64,
    },
    /// There is no such session, or no longer; nothing was created.
    Gone,
}

/// What came of touching a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "the session may be gone"]
pub enum TouchOutcome {
    /// It counts as used now.
    Touched {
        /// How long it lives if it is not used again.
        expires_in: Duration,
    },
    /// There is no such session, or no longer; nothing was created.
    Gone,
}
