//! What stands in an outbox, and what comes of reading and reaping.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::random::Random;
use crate::session::SessionId;
use crate::time::Timestamp;

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SessionEnd {
    /// The user logged out, or somebody ended it for them.
    Destroyed,
    /// It made room for a newer one.
    Evicted,
    /// Its user logged in again, and the new session took its place.
    Replaced,
    /// It was not used for too long, or lived its whole life.
    TimedOut,
}

/// What happened to a session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SessionNews {
    /// It was created.
    Created,
    /// It goes on under another id.
    Rotated {
        /// This one.
        to: SessionId,
    },
    /// It has ended.
    Ended(SessionEnd),
}

/// One of the outboxes of a service. Which one the news of a session are in is the backend's affair; those of one user are
/// in the same, in the order in which they happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutboxId(u16);

impl OutboxId {
    /// By its number, for backends.
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// Where an entry stands in its outbox. Opaque; of use to the outbox that it is from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OutboxPosition(String);

impl OutboxPosition {
    /// A position, for backends.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutboxItem {
    /// Something happened to a session.
    News {
        /// What.
        news: SessionNews,
        /// To which session.
        id: SessionId,
        /// Whose it is or was.
        user: String,
        /// When, by the store's clock. Of a session that timed out: when its time was over, or when that was found, if its
        /// record was gone by then.
        at: Timestamp,
    },
    /// The outbox was full here, and so many news were not kept.
    Lost(u64),
    /// Somebody else has written this, and it can't be read.
    Unreadable,
}

/// An entry of an outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxEntry {
    /// Where it stands.
    pub position: OutboxPosition,
    /// What it says.
    pub item: OutboxItem,
}

impl OutboxEntry {
    /// An entry, for backends.
    pub fn new(position: OutboxPosition, item: OutboxItem) -> Self {
        Self { position, item }
    }
}

/// The first entries of an outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutboxPage {
    /// These, the oldest first; none if it is empty. They are the reader's to publish until its claim is over.
    Entries(Vec<OutboxEntry>),
    /// Another publisher has a claim on it.
    Claimed,
}

/// How many entries wait in an outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxStatus {
    /// Which outbox.
    pub outbox: OutboxId,
    /// How many.
    pub entries: u64,
    /// For how long the first of them has waited.
    pub oldest: Duration,
}

impl OutboxStatus {
    /// A status, for backends.
    pub const fn new(outbox: OutboxId, entries: u64, oldest: Duration) -> Self {
        Self { outbox, entries, oldest }
    }
}

/// Where the next call of [`reap`](super::SessionOutbox::reap) goes on. Opaque.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReapCursor(u32);

impl ReapCursor {
    /// A cursor, for backends; zero is the beginning.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// What came of one call of [`reap`](super::SessionOutbox::reap).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reaped {
    /// How many sessions it found to have ended by time.
    pub ended: u64,
    /// The outboxes, of those that it came by, in which something waits.
    pub waiting: Vec<OutboxStatus>,
    /// Where to go on; `None` once it has come by all.
    pub next: Option<ReapCursor>,
}

impl Reaped {
    /// What came of it, for backends.
    pub const fn new(ended: u64, waiting: Vec<OutboxStatus>, next: Option<ReapCursor>) -> Self {
        Self { ended, waiting, next }
    }
}

/// Who reaps and publishes: 128 random bits, one for each façade.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PublisherId([u8; 16]);

impl PublisherId {
    /// A new one.
    pub fn generate(random: &dyn Random) -> Result<Self> {
        let mut bytes = [0; 16];
        random.fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// As 32 hexadecimal digits, the way it is stored.
    pub fn to_hex(&self) -> String {
        uuid::Uuid::from_bytes(self.0).simple().to_string()
    }
}

impl fmt::Debug for PublisherId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublisherId(..)")
    }
}
