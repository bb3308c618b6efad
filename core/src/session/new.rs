//! A session that is about to be created, and what comes of that.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::debug::Fields;
use super::{Device, SessionId, SessionLimit, SessionRecord};
use crate::time::Ttl;

/// A session to be created.
#[derive(Clone)]
#[non_exhaustive]
pub struct NewSession {
    /// The name under which it is stored.
    pub id: SessionId,
    /// Whose it is; empty for an [anonymous](Self::anonymous) one.
    pub user: String,
    /// The fields it starts with.
    pub data: BTreeMap<String, Bytes>,
    /// How long it lives without being used.
    pub idle: Ttl,
    /// How old a recorded use may be before the next is recorded; the session lives that much longer than
    /// [`idle`](Self::idle). Zero records every use.
    pub touch_every: Duration,
    /// How long it lives at most.
    pub absolute: Ttl,
    /// Whether these timeouts are its own, and not those of its service: [`SessionBounds`](super::SessionBounds) has bounds for
    /// each kind.
    pub own_timeouts: bool,
    /// How many the user may have.
    pub limit: SessionLimit,
    /// What is known of the device.
    pub device: Device,
    /// Whether it is nobody's: without a user, an index and a limit.
    pub anonymous: bool,
    /// A session of the same user whose place it takes: that is ended in the same step, and not counted.
    pub replaces: Option<Predecessor>,
    /// Whether what happens to it goes to the store's [outbox](super::SessionOutbox), which not every store has. Of an anonymous
    /// session nothing does.
    pub publish: bool,
}

/// A session whose place another one takes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Predecessor {
    /// Which one.
    pub id: SessionId,
    /// The version it must still have, because the new one was made of its fields.
    pub version: u64,
}

impl Predecessor {
    /// This session, at this version.
    pub const fn new(id: SessionId, version: u64) -> Self {
        Self { id, version }
    }
}

impl NewSession {
    /// A session of nobody yet, without fields: the same limits hold for its data and its life, and none for how many there
    /// are.
    pub fn anonymous(id: SessionId, idle: Ttl, absolute: Ttl) -> Self {
        Self { anonymous: true, ..Self::new(id, "", idle, absolute, SessionLimit::Reject(1)) }
    }

    /// A session without fields, each use of which is recorded.
    pub fn new(
        id: SessionId,
        user: impl Into<String>,
        idle: Ttl,
        absolute: Ttl,
        limit: SessionLimit,
    ) -> Self {
        Self {
            id,
            user: user.into(),
            data: BTreeMap::new(),
            idle,
            touch_every: Duration::ZERO,
            absolute,
            own_timeouts: false,
            limit,
            device: Device::new(),
            anonymous: false,
            replaces: None,
            publish: false,
        }
    }

    /// In the place of this session of the same user.
    #[must_use]
    pub fn replacing(mut self, predecessor: Predecessor) -> Self {
        self.replaces = Some(predecessor);
        self
    }

    /// With these fields.
    #[must_use]
    pub fn data(mut self, data: BTreeMap<String, Bytes>) -> Self {
        self.data = data;
        self
    }

    /// With a use recorded this often; whole milliseconds, rounded down.
    #[must_use]
    pub const fn touch_every(mut self, every: Duration) -> Self {
        self.touch_every = every;
        self
    }

    /// With timeouts that are its own.
    #[must_use]
    pub const fn own_timeouts(mut self) -> Self {
        self.own_timeouts = true;
        self
    }

    /// On this device.
    #[must_use]
    pub fn device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// With news of it in the store's [outbox](super::SessionOutbox).
    #[must_use]
    pub const fn publish(mut self) -> Self {
        self.publish = true;
        self
    }
}

impl fmt::Debug for NewSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewSession")
            .field("id", &self.id)
            .field("user", &self.user)
            .field("data", &Fields(&self.data))
            .field("idle", &self.idle)
            .field("touch_every", &self.touch_every)
            .field("absolute", &self.absolute)
            .field("own_timeouts", &self.own_timeouts)
            .field("limit", &self.limit)
            .field("device", &self.device)
            .field("anonymous", &self.anonymous)
            .field("replaces", &self.replaces)
            .field("publish", &self.publish)
            .finish()
    }
}

/// What came of creating a session.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "the session may have been refused"]
#[expect(clippy::large_enum_variant, reason = "what is common is large, and there is one for a log-in")]
pub enum CreateOutcome {
    /// It is there; these others of the same user had to go.
    Created {
        /// The session.
        record: SessionRecord,
        /// The sessions that made room, in the order in which they were chosen; all that were over the limit, where it was
        /// higher before.
        evicted: Vec<SessionId>,
        /// The session whose place it took, if that was still live and the user's.
        replaced: Option<SessionId>,
    },
    /// The session whose place it was to take was changed meanwhile, or goes on under another id since it was rotated; nothing
    /// was done. Read it again, and name it by the id that it has now.
    Conflict {
        /// The version it has now.
        version: u64,
    },
    /// The user has as many as [`SessionLimit::Reject`] allows; nothing was changed.
    LimitReached,
    /// There is a session under this id already; nothing was changed.
    IdTaken,
}
