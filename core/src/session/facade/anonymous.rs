//! Sessions of nobody yet: a cart before the log-in.

use serde::de::DeserializeOwned;

use super::create::id_taken;
use super::view::value;
use super::{CreateOptions, SessionView, Sessions};
use crate::error::{Error, ErrorKind, Result};
use crate::session::{CreateOutcome, NewSession, Patch, SessionId, SessionRecord, SessionToken, Timeouts};

/// A live session of nobody yet, as it was when it was read. It has no user, and so can't be taken for one that has.
#[derive(Debug, Clone)]
pub struct AnonymousSession(pub(super) SessionRecord);

impl AnonymousSession {
    /// The public name.
    pub fn id(&self) -> &SessionId {
        &self.0.id
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

/// A session of nobody yet that was just opened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OpenedAnonymous {
    /// The secret for the client. It can't be had again.
    pub token: SessionToken,
    /// The session.
    pub session: AnonymousSession,
}

/// A session that was found by what a client sent.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Resumed {
    /// Of a user who has logged in.
    User(SessionView),
    /// Of nobody yet.
    Anonymous(AnonymousSession),
}

impl From<SessionRecord> for Resumed {
    fn from(record: SessionRecord) -> Self {
        if record.is_anonymous() {
            Self::Anonymous(AnonymousSession(record))
        } else {
            Self::User(SessionView(record))
        }
    }
}

/// The session of a user, if it is one.
pub(super) fn of_a_user(record: SessionRecord) -> Option<SessionView> {
    match Resumed::from(record) {
        Resumed::User(session) => Some(session),
        Resumed::Anonymous(_) => None,
    }
}

impl Sessions {
    /// Opens a session of nobody yet, with the fields that the patch sets. [`bind`](Self::bind) makes it that of a user.
    ///
    /// It has the service's timeouts, and no limit holds for how many there are: whoever opens one for each request of a
    /// stranger stores as many. Open one where there is something to keep.
    ///
    /// # Errors
    /// `InvalidInput` for a patch that removes fields or expects a version; else those of [every method](Sessions#errors).
    ///
    /// # Cancel safety
    /// Dropping the future may leave a session that nobody has the token of; it ends by its idle timeout.
    pub async fn create_anonymous(&self, fields: Patch) -> Result<OpenedAnonymous> {
        let inner = &*self.0;
        let token = SessionToken::anonymous(&*inner.environment.random)?;
        let Timeouts { idle, absolute, .. } = inner.bounds.usual;
        let session = NewSession::anonymous(self.id(&token), idle, absolute);
        let session = self.with_options(session, fields, &CreateOptions::new())?;
        match inner.store.create(&inner.service, session).await? {
            CreateOutcome::Created { record, .. } => {
                Ok(OpenedAnonymous { token, session: AnonymousSession(record) })
            }
            CreateOutcome::IdTaken => Err(id_taken("session.create")),
            CreateOutcome::LimitReached | CreateOutcome::Conflict { .. } => {
                Err(Error::new(ErrorKind::Internal, "an anonymous session has no limit")
                    .with_operation("session.create"))
            }
        }
    }

    /// What a client sent as its token: the session, of a user or of nobody yet, and its use is recorded; or `None` if it is
    /// no token or there is no such session. What [`authenticate`](Self::authenticate) does, for pages that are also for
    /// strangers.
    ///
    /// # Errors
    /// Those of [every method](Sessions#errors). An error means that nobody knows whether the session lives.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the session either used or not.
    pub async fn resume(&self, text: &str) -> Result<Option<Resumed>> {
        let used = self.use_text(text).await?;
        Ok(used.map(Resumed::from))
    }

    /// The session that a client's text opens, with its use recorded.
    pub(super) async fn use_text(&self, text: &str) -> Result<Option<SessionRecord>> {
        let Some(token) = SessionToken::parse(text) else {
            self.0.telemetry.malformed();
            return Ok(None);
        };
        let used = self.use_now(&token).await;
        self.0.telemetry.authenticated(&used);
        used
    }

    async fn use_now(&self, token: &SessionToken) -> Result<Option<SessionRecord>> {
        for id in self.ids(token) {
            if let Some(record) = self.0.store.use_session(&self.0.service, &id).await? {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }
}
