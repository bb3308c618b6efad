//! Log-in by somebody who has a session already.

use super::create::Opening;
use super::view::OpenOutcome;
use super::{CreateOptions, OpenedSession, Sessions};
use crate::error::{Effect, Error, ErrorKind, Result};
use crate::session::{Patch, Predecessor, SessionRecord, SessionToken};
use crate::token::LogInAttempt;

/// How often a log-in is tried while somebody changes the session whose place it takes.
const ATTEMPTS: usize = 8;

/// Who logs in, and with what.
struct LogIn {
    user: String,
    fields: Patch,
    options: CreateOptions,
    attempt: Option<LogInAttempt>,
}

impl Sessions {
    /// Opens a session for a user in place of the one that the client has: at log-in, or when a user logs in again. `None` if the
    /// user has as many as [`SessionLimit::Reject`](crate::session::SessionLimit::Reject) allows without it; it is then as it
    /// was.
    ///
    /// The new session has a new token and a life of its own, so that nothing is gained by having known the old token. What
    /// becomes of the old one:
    /// - A session of nobody yet: its fields are kept, and those that `fields` sets come on top. The new session is created
    ///   first and the old one ended then, since they are in two places; what was changed in between is taken over. Nobody has
    ///   the new token until both is done, and the old one never opens more than it did.
    /// - A session of the same user: the same in one step, and it is not counted against the limit.
    /// - A session of another user: it is ended, and its fields are not kept.
    /// - None, or no longer: as [`create_with`](Self::create_with).
    ///
    /// # Errors
    /// As [`create_with`](Self::create_with), and `InvalidInput` where both together hold too much. If the session is there and the
    /// old one could not be ended, the error's effect is `Unknown`, and nobody has the new token.
    ///
    /// # Cancel safety
    /// As [`create`](Self::create): dropping the future leaves no session that nobody has the token of; the old one may have
    /// ended.
    pub async fn bind(
        &self,
        old: &SessionToken,
        user: &str,
        fields: Patch,
        options: &CreateOptions,
    ) -> Result<Option<OpenedSession>> {
        match self.bind_to(old, user, fields, options, None).await? {
            OpenOutcome::Opened(opened) => Ok(Some(opened)),
            OpenOutcome::LimitReached | OpenOutcome::Stale => Ok(None),
        }
    }

    /// The same for the user of a log-in that [began](Self::begin) before the password was checked.
    ///
    /// # Errors
    /// As [`bind`](Self::bind) and [`create_for`](Self::create_for).
    ///
    /// # Cancel safety
    /// As [`bind`](Self::bind).
    pub async fn bind_for(
        &self,
        old: &SessionToken,
        attempt: &LogInAttempt,
        fields: Patch,
        options: &CreateOptions,
    ) -> Result<OpenOutcome> {
        // Also before anything is ended for it.
        if self.is_stale(attempt).await? {
            return Ok(OpenOutcome::Stale);
        }
        self.bind_to(old, attempt.user(), fields, options, Some(attempt.clone())).await
    }

    async fn bind_to(
        &self,
        old: &SessionToken,
        user: &str,
        fields: Patch,
        options: &CreateOptions,
        attempt: Option<LogInAttempt>,
    ) -> Result<OpenOutcome> {
        let (sessions, old) = (self.clone(), old.clone());
        let log_in = LogIn { user: user.to_owned(), fields, options: options.clone(), attempt };
        self.claimed(async move { sessions.log_in(&old, log_in).await }).await
    }

    async fn log_in(&self, old: &SessionToken, log_in: LogIn) -> Result<OpenOutcome> {
        for _ in 0..ATTEMPTS {
            let old = self.stored(old).await?.map(|(_, record)| record);
            let keeps = |old: &&SessionRecord| old.is_anonymous() || old.user == log_in.user;
            let opening = self.open_beside(old.as_ref().filter(keeps), &log_in).await?;
            let mut opened = match opening {
                Opening::Opened(opened) => *opened,
                Opening::LimitReached => return Ok(OpenOutcome::LimitReached),
                Opening::Stale => return Ok(OpenOutcome::Stale),
                Opening::Changed => continue,
            };
            match &old {
                Some(old) if old.is_anonymous() => self.take_over(old, &log_in.fields, &mut opened).await?,
                Some(old) if old.user != log_in.user => drop(self.end_predecessor(old, &opened).await?),
                _ => {}
            }
            return Ok(OpenOutcome::Opened(opened));
        }
        Err(Error::new(ErrorKind::Unavailable, "the session of the client is changed all the time")
            .with_operation("session.create"))
    }

    /// Creates a session with the fields of this one, and in its place if it is of the same user.
    async fn open_beside(&self, old: Option<&SessionRecord>, log_in: &LogIn) -> Result<Opening> {
        let mut fields = log_in.fields.clone();
        for (name, value) in old.iter().flat_map(|old| &old.data) {
            fields.set.entry(name.clone()).or_insert_with(|| value.clone());
        }
        if let Some(old) = old {
            let device = std::mem::take(&mut fields.device);
            fields.device.label = device.label.or_else(|| old.device.label.clone());
            fields.device.address = device.address.or_else(|| old.device.address.clone());
        }
        let token = SessionToken::generate(&log_in.user, &*self.0.environment.random)?;
        let mut session = self.new_session(self.id(&token), &log_in.user, fields, &log_in.options)?;
        if let Some(old) = old.filter(|old| !old.is_anonymous()) {
            session = session.replacing(Predecessor::new(old.id.clone(), old.version));
        }
        self.opened(token, session, log_in.attempt.clone()).await
    }

    /// Ends the anonymous session that this one was made of, and takes over what was changed there since it was read.
    async fn take_over(
        &self,
        read: &SessionRecord,
        fields: &Patch,
        opened: &mut OpenedSession,
    ) -> Result<()> {
        let ended = self.end_predecessor(read, opened).await?;
        let Some(ended) = ended.filter(|ended| ended.version != read.version) else {
            return Ok(());
        };
        let changed =
            |name: &String| read.data.get(name) != ended.data.get(name) && !fields.set.contains_key(name);
        let mut patch = Patch::new();
        for (name, value) in ended.data.iter().filter(|(name, _)| changed(name)) {
            patch = patch.set(name, value.clone());
        }
        for name in read.data.keys().filter(|name| !ended.data.contains_key(*name) && changed(name)) {
            patch = patch.remove(name);
        }
        if patch.set.is_empty() && patch.remove.is_empty() {
            return Ok(());
        }
        let (inner, id) = (&*self.0, opened.session.id().clone());
        // If it has ended meanwhile there is nobody to take over anything.
        let taken_over = async {
            let _outcome = inner.store.patch(&inner.service, &id, &patch).await?;
            inner.store.load(&inner.service, &id).await
        };
        match taken_over.await {
            Ok(Some(record)) => opened.session.0 = record,
            Ok(None) => {}
            Err(error) => {
                // Nobody will have the token of the new one; and the old one has ended, whatever became of this.
                self.undo(&id).await;
                return Err(error.with_effect(Effect::Unknown));
            }
        }
        Ok(())
    }

    /// Ends the session that the client had; answers what it was then. If that fails the new one is ended too.
    async fn end_predecessor(
        &self,
        old: &SessionRecord,
        opened: &OpenedSession,
    ) -> Result<Option<SessionRecord>> {
        let ended = self.end_record(None, &old.id).await;
        if ended.is_err() {
            self.undo(opened.session.id()).await;
        }
        ended.map_err(|error| error.with_effect(Effect::Unknown))
    }
}
