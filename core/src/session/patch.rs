//! Changes of a session, and what comes of them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::debug::Fields;
use super::{Device, SessionId};

/// Fields to set and to remove, and the version this is based on. `Debug` shows names and sizes, and no values.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Patch {
    /// Fields to set.
    pub set: BTreeMap<String, Bytes>,
    /// Fields to remove; removing one that is not there is no error. A field in both is set.
    pub remove: Vec<String>,
    /// Apply only if the session still has this version.
    pub expected_version: Option<u64>,
    /// What is newly known of the device; what is not named stays.
    pub device: Device,
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

    /// Sets the label or the address that lists show, or both.
    #[must_use]
    pub fn device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// What it sends, in bytes: names and values to be stored, and names to be removed.
    pub fn bytes(&self) -> usize {
        let removed: usize = self.remove.iter().map(String::len).sum();
        self.set.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() + removed
    }
}

impl fmt::Debug for Patch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patch")
            .field("set", &Fields(&self.set))
            .field("remove", &self.remove)
            .field("expected_version", &self.expected_version)
            .field("device", &self.device)
            .finish()
    }
}

/// What came of patching a session.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "the patch may not have been applied"]
pub enum PatchOutcome {
    /// Applied, and recorded as a use of the session.
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
    /// The session goes on under another id since it was [rotated](super::SessionStore::rotate); nothing was changed.
    Moved {
        /// That id.
        to: SessionId,
    },
}

/// What came of touching a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "the session may be gone"]
pub enum TouchOutcome {
    /// The use is recorded.
    Touched {
        /// How long it lives if it is not used again.
        expires_in: Duration,
    },
    /// There is no such session, or no longer; nothing was created.
    Gone,
}
