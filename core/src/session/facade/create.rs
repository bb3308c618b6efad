//! Opening sessions.

use super::end::scope;
use super::owned::{Unclaimed, owned};
use super::view::{OpenOutcome, OpenedSession, SessionView};
use super::{CreateOptions, Sessions};
use crate::error::{Effect, Error, ErrorKind, Result};
use crate::session::{CreateOutcome, NewSession, Patch, SessionId, SessionLimit, SessionToken};
use crate::token::{LogInAttempt, Scope};

impl Sessions {
    /// Opens a session for a user, with the fields that the patch sets; `None` if the user has as many as
    /// [`SessionLimit::Reject`] allows. At the end of a log-in use [`create_for`](Self::create_for).
    ///
    /// # Errors
    /// `InvalidInput` for a patch that removes fields or expects a version; else those of [every method](Sessions#errors). If
    /// the tokens of sessions that were evicted could not be revoked, these sessions have ended and the
    /// new one is ended too; the error's effect is then `Unknown`, it says which tokens ([`Unrevoked`](super::Unrevoked)), and a
    /// task goes on.
    ///
    /// # Cancel safety
    /// Dropping the future leaves no session: one that was created is ended by a task, which also revokes the tokens of
    /// those that were evicted.
    pub async fn create(&self, user: &str, fields: Patch) -> Result<Option<OpenedSession>> {
        self.create_with(user, fields, &CreateOptions::new()).await
    }

    /// The same, with timeouts and a limit of this session's own.
    ///
    /// # Errors
    /// As [`create`](Self::create); `InvalidInput` also for timeouts that are zero, or longer than the service
    /// [allows](super::SessionsBuilder::longest_timeouts).
    ///
    /// # Cancel safety
    /// As [`create`](Self::create).
    pub async fn create_with(
        &self,
        user: &str,
        fields: Patch,
        options: &CreateOptions,
    ) -> Result<Option<OpenedSession>> {
        match self.open(user, fields, options, None).await? {
            OpenOutcome::Opened(opened) => Ok(Some(opened)),
            OpenOutcome::LimitReached | OpenOutcome::Stale => Ok(None),
        }
    }

    /// Begins a log-in: call it before the password is checked, and then [`create_for`](Self::create_for). So a log-in that began
    /// with the old password does not survive its change ([`destroy_all`](Self::destroy_all) or
    /// [`Tokens::revoke_user`](crate::token::Tokens::revoke_user)).
    ///
    /// # Errors
    /// Those of [every method](Sessions#errors); `Config` without [`revoking_tokens`](super::SessionsBuilder::revoking_tokens), since
    /// what would end the log-in is kept with the tokens.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn begin(&self, user: &str) -> Result<LogInAttempt> {
        match &self.0.revoker {
            Some(revoker) => revoker.tokens.begin(user).await,
            None => Err(Error::new(
                ErrorKind::Config,
                "log-ins are ended by what is kept with tokens: build the sessions with revoking_tokens",
            )
            .with_operation("session.begin")),
        }
    }

    /// Opens a session for the user of a log-in that [began](Self::begin) before the password was checked.
    ///
    /// # Errors
    /// As [`create`](Self::create), and `InvalidInput` for an attempt that began at other tokens.
    ///
    /// # Cancel safety
    /// As [`create`](Self::create).
    pub async fn create_for(&self, attempt: &LogInAttempt, fields: Patch) -> Result<OpenOutcome> {
        self.create_for_with(attempt, fields, &CreateOptions::new()).await
    }

    /// The same, with timeouts and a limit of this session's own.
    ///
    /// # Errors
    /// As [`create_for`](Self::create_for) and [`create_with`](Self::create_with).
    ///
    /// # Cancel safety
    /// As [`create`](Self::create).
    pub async fn create_for_with(
        &self,
        attempt: &LogInAttempt,
        fields: Patch,
        options: &CreateOptions,
    ) -> Result<OpenOutcome> {
        // Also before anything is evicted for it.
        if self.is_stale(attempt).await? {
            return Ok(OpenOutcome::Stale);
        }
        self.open(attempt.user(), fields, options, Some(attempt.clone())).await
    }

    pub(super) async fn is_stale(&self, attempt: &LogInAttempt) -> Result<bool> {
        match &self.0.revoker {
            Some(revoker) => revoker.tokens.is_stale(attempt).await,
            None => Err(Error::invalid("the log-in began at other sessions than these")),
        }
    }

    async fn open(
        &self,
        user: &str,
        fields: Patch,
        options: &CreateOptions,
        attempt: Option<LogInAttempt>,
    ) -> Result<OpenOutcome> {
        let token = SessionToken::generate(user, &*self.0.environment.random)?;
        let session = self.new_session(self.id(&token), user, fields, options)?;
        let sessions = self.clone();
        self.claimed(async move {
            Ok(match sessions.opened(token, session, attempt).await? {
                Opening::Opened(opened) => OpenOutcome::Opened(*opened),
                Opening::LimitReached => OpenOutcome::LimitReached,
                // The other only where it takes another's place.
                Opening::Stale | Opening::Changed => OpenOutcome::Stale,
            })
        })
        .await
    }

    /// Opens a session in a task, which ends it again where its caller is gone.
    pub(super) async fn claimed(
        &self,
        open: impl Future<Output = Result<OpenOutcome>> + Send + 'static,
    ) -> Result<OpenOutcome> {
        let sessions = self.clone();
        // Boxed, since it is large, and moves into the task.
        let work = Box::pin(async move { Ok(Unclaimed::new(sessions, open.await?)) });
        let lost = || Error::new(ErrorKind::Internal, "a session that was opened is missing");
        owned(&self.0.environment.tasks, work).await?.claim().ok_or_else(lost)
    }

    pub(super) async fn opened(
        &self,
        token: SessionToken,
        session: NewSession,
        attempt: Option<LogInAttempt>,
    ) -> Result<Opening> {
        let (inner, user) = (&*self.0, session.user.clone());
        let ends_others = session.replaces.is_some() || !matches!(session.limit, SessionLimit::Reject(_));
        let id = session.id.clone();
        let created = inner.store.create(&inner.service, session).await;
        self.notify(&id);
        let (record, evicted, replaced) = match created {
            Ok(CreateOutcome::Created { record, evicted, replaced }) => (record, evicted, replaced),
            Ok(CreateOutcome::Conflict { .. }) => return Ok(Opening::Changed),
            Ok(CreateOutcome::LimitReached) => {
                inner.telemetry.rejected();
                return Ok(Opening::LimitReached);
            }
            Ok(CreateOutcome::IdTaken) => return Err(id_taken("session.create")),
            Err(error) => return Err(self.nobody_knows(&user, ends_others, error).await),
        };
        inner.telemetry.created(evicted.len());
        let revoked = match &inner.revoker {
            Some(revoker) => revoker.after(&user, evicted.iter().chain(&replaced).map(scope).collect()).await,
            None => Ok(()),
        };
        // After the session is there: whoever ends all sessions from now on ends this one too.
        let stale = match &attempt {
            Some(attempt) if revoked.is_ok() => self.is_stale(attempt).await,
            _ => Ok(false),
        };
        match revoked.and(stale) {
            Ok(false) => {}
            Ok(true) => {
                self.undo(&record.id).await;
                return Ok(Opening::Stale);
            }
            Err(error) => {
                self.undo(&record.id).await;
                return Err(error.with_effect(Effect::Unknown));
            }
        }
        Ok(Opening::Opened(Box::new(OpenedSession { token, session: SessionView(record), evicted })))
    }

    /// The session may have been created, and others evicted for it whose names were in the reply. So all tokens of the user are
    /// revoked: sessions that are alive get new ones.
    async fn nobody_knows(&self, user: &str, ends_others: bool, error: Error) -> Error {
        match &self.0.revoker {
            Some(revoker) if ends_others && error.effect() == Effect::Unknown => {
                match revoker.after(user, vec![Scope::User(user.to_owned())]).await {
                    Ok(()) => error,
                    Err(unrevoked) => unrevoked,
                }
            }
            _ => error,
        }
    }

    /// Ends a session that was just opened and whose token nobody has. Where it can't be ended now, it ends by its idle timeout.
    pub(super) async fn undo(&self, id: &SessionId) {
        let inner = &*self.0;
        let ended = inner.store.destroy(&inner.service, id).await;
        self.notify(id);
        if let Ok(Some(_)) = ended {
            inner.telemetry.undone();
        }
    }
}

/// What came of creating a session.
pub(super) enum Opening {
    Opened(Box<OpenedSession>),
    LimitReached,
    Stale,
    /// The session whose place it was to take was changed meanwhile.
    Changed,
}

pub(super) fn id_taken(operation: &'static str) -> Error {
    Error::new(ErrorKind::Internal, "256 random bits came twice: the random source is broken")
        .with_operation(operation)
}
