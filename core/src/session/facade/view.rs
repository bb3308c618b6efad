//! What callers see of a session, and how they write its fields.

use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Result};
use crate::session::{Patch, SessionId, SessionRecord, SessionToken};

/// A session that was just opened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OpenedSession {
    /// The secret for the client. It can't be had again.
    pub token: SessionToken,
    /// The session.
    pub session: SessionView,
    /// The user's other sessions that made room for it.
    pub evicted: Vec<SessionId>,
}

/// What came of opening a session at the end of a log-in.
#[derive(Debug, Clone)]
#[non_exhaustive]
#[must_use = "there may be no session"]
#[expect(clippy::large_enum_variant, reason = "what is common is large, and there is one for a log-in")]
pub enum OpenOutcome {
    /// Here it is.
    Opened(OpenedSession),
    /// The user has as many as [`SessionLimit::Reject`](crate::session::SessionLimit::Reject) allows.
    LimitReached,
    /// Since the log-in began, the user's sessions were all ended or the user's tokens were revoked, or it took too long: log in
    /// again.
    Stale,
}

/// What came of ending a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DestroyOutcome {
    /// It has ended now.
    Destroyed,
    /// There was no such session, or no longer, or it is another user's.
    Gone,
}

/// A live session as it was when it was read.
#[derive(Debug, Clone)]
pub struct SessionView(pub(super) SessionRecord);

impl SessionView {
    /// The public name: for lists of devices, events, and the `sid` of a JWT.
    pub fn id(&self) -> &SessionId {
        &self.0.id
    }

    /// Whose it is.
    pub fn user(&self) -> &str {
        &self.0.user
    }

    /// A field, or `None` if it has no such field.
    ///
    /// # Errors
    /// `Codec` if the field holds something else than a `T`.
    pub fn value<T: DeserializeOwned>(&self, field: &str) -> Result<Option<T>> {
        value(&self.0, field)
    }

    /// The record behind it.
    pub fn record(&self) -> &SessionRecord {
        &self.0
    }
}

pub(super) fn value<T: DeserializeOwned>(record: &SessionRecord, field: &str) -> Result<Option<T>> {
    let Some(bytes) = record.data.get(field) else {
        return Ok(None);
    };
    serde_json::from_slice(bytes).map(Some).map_err(|_| {
        Error::new(ErrorKind::Codec, format!("the session field {field:?} holds something else"))
            .with_operation("session.value")
    })
}

impl Patch {
    /// Sets a field to a value, as JSON.
    ///
    /// # Errors
    /// `Codec` if the value can't be written as JSON.
    pub fn value<T: serde::Serialize + ?Sized>(self, field: impl Into<String>, value: &T) -> Result<Self> {
        let bytes = serde_json::to_vec(value)
            .map_err(|_| Error::new(ErrorKind::Codec, "the session field can't be written as JSON"))?;
        Ok(self.set(field, bytes))
    }
}
