//! What is stored of a session.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::debug::Fields;
use super::{Device, SessionId};
use crate::time::Timestamp;

/// A live session, as the store has it. All times are the store's own. `Debug` shows the names and sizes of fields, and no
/// values.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionRecord {
    /// The name under which it is stored.
    pub id: SessionId,
    /// Whose it is; empty if it is nobody's yet.
    pub user: String,
    /// Its fields.
    pub data: BTreeMap<String, Bytes>,
    /// Starts at 1; every patch adds 1.
    pub version: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// The last use that was recorded: its creation, a patch, a touch, or a use when one was due to be recorded.
    pub last_used_at: Timestamp,
    /// When its absolute life ends.
    pub absolute_deadline: Timestamp,
    /// How long it will live if it is not used: the lesser of the idle and the absolute time left.
    pub expires_in: Duration,
    /// In how much time the next use is due to be recorded; zero for now, or where every use is.
    pub use_due_in: Duration,
    /// What is known of the device.
    pub device: Device,
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
        Self {
            id,
            user,
            data,
            version,
            created_at,
            last_used_at,
            absolute_deadline,
            expires_in,
            use_due_in: Duration::ZERO,
            device: Device::new(),
        }
    }

    /// The next use is due to be recorded in this much time.
    #[must_use]
    pub fn use_due_in(mut self, time: Duration) -> Self {
        self.use_due_in = time;
        self
    }

    /// On this device.
    #[must_use]
    pub fn device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// Whether it is nobody's yet.
    pub fn is_anonymous(&self) -> bool {
        self.user.is_empty()
    }

    /// Without the fields.
    pub fn into_summary(self) -> SessionSummary {
        SessionSummary {
            id: self.id,
            user: self.user,
            created_at: self.created_at,
            last_used_at: self.last_used_at,
            absolute_deadline: self.absolute_deadline,
            expires_in: self.expires_in,
            device: self.device,
        }
    }
}

impl fmt::Debug for SessionRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionRecord")
            .field("id", &self.id)
            .field("user", &self.user)
            .field("data", &Fields(&self.data))
            .field("version", &self.version)
            .field("created_at", &self.created_at)
            .field("last_used_at", &self.last_used_at)
            .field("absolute_deadline", &self.absolute_deadline)
            .field("expires_in", &self.expires_in)
            .field("use_due_in", &self.use_due_in)
            .field("device", &self.device)
            .finish()
    }
}

/// A live session as a list has it: without its fields, so that a list is small however much the sessions hold.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionSummary {
    /// The public name.
    pub id: SessionId,
    /// Whose it is.
    pub user: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// The last use that was recorded; see [`SessionRecord::last_used_at`].
    pub last_used_at: Timestamp,
    /// When its absolute life ends.
    pub absolute_deadline: Timestamp,
    /// How long it will live if it is not used.
    pub expires_in: Duration,
    /// What is known of the device.
    pub device: Device,
}

impl SessionSummary {
    /// A summary, for backends.
    pub fn new(
        id: SessionId,
        user: String,
        created_at: Timestamp,
        last_used_at: Timestamp,
        absolute_deadline: Timestamp,
        expires_in: Duration,
        device: Device,
    ) -> Self {
        Self { id, user, created_at, last_used_at, absolute_deadline, expires_in, device }
    }
}
