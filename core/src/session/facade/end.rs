//! Ending sessions: their tokens are revoked before, so that none is left where this is broken off, and after, for those
//! that were issued in between.

use super::Sessions;
use super::owned::owned;
use super::view::DestroyOutcome;
use crate::error::{Effect, Result};
use crate::key::bucket_of;
use crate::session::{SessionCapabilities, SessionId, SessionRecord, SessionToken};
use crate::token::Scope;

pub(super) fn scope(id: &SessionId) -> Scope {
    Scope::Session(id.to_string())
}

impl Sessions {
    /// Ends the session, as at log-out. A token that belongs to no session writes nothing.
    ///
    /// # Errors
    /// As [`destroy_id`](Self::destroy_id).
    ///
    /// # Cancel safety
    /// As [`destroy_id`](Self::destroy_id).
    pub async fn destroy(&self, token: &SessionToken) -> Result<DestroyOutcome> {
        let (sessions, ids) = (self.clone(), self.ids(token).collect::<Vec<_>>());
        let end = async move {
            for id in &ids {
                if let DestroyOutcome::Destroyed = sessions.end(None, id).await? {
                    return Ok(DestroyOutcome::Destroyed);
                }
            }
            Ok(DestroyOutcome::Gone)
        };
        owned(&self.0.environment.tasks, end).await
    }

    /// Ends the session of this public name, as from a list of devices; `Gone` if it is not this user's.
    ///
    /// # Errors
    /// Those of [every method](Sessions#errors), and of the tokens that are revoked: end it again. If the session has ended and
    /// its tokens are not all revoked, the error says which ([`Unrevoked`](super::Unrevoked)), and a task goes on.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing: a task that has begun to end the session finishes it.
    pub async fn destroy_id(&self, user: &str, id: &SessionId) -> Result<DestroyOutcome> {
        SessionCapabilities::check_user(user)?;
        if id.bucket() != bucket_of(user) {
            return Ok(DestroyOutcome::Gone);
        }
        let (sessions, user, id) = (self.clone(), user.to_owned(), id.clone());
        owned(&self.0.environment.tasks, async move { sessions.end(Some(&user), &id).await }).await
    }

    /// Ends every session of the user but `except`, as after a change of password; answers the ended ones. Where tokens are
    /// [revoked](super::SessionsBuilder::revoking_tokens), log-ins that have [begun](Self::begin) end too.
    ///
    /// # Errors
    /// Those of [every method](Sessions#errors), and of the tokens that are revoked: some sessions may have ended; end them
    /// again. If sessions have ended and their tokens are not all revoked, the error says which
    /// ([`Unrevoked`](super::Unrevoked)), and a task goes on.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing: a task that has begun to end the sessions finishes it.
    pub async fn destroy_all(&self, user: &str, except: Option<&SessionId>) -> Result<Vec<SessionId>> {
        SessionCapabilities::check_user(user)?;
        let (sessions, user, except) = (self.clone(), user.to_owned(), except.cloned());
        owned(&self.0.environment.tasks, async move { sessions.end_all(&user, except.as_ref()).await }).await
    }

    pub(super) async fn end(&self, user: Option<&str>, id: &SessionId) -> Result<DestroyOutcome> {
        let ended = self.end_record(user, id).await?;
        Ok(if ended.is_some() { DestroyOutcome::Destroyed } else { DestroyOutcome::Gone })
    }

    /// The same; answers what it was.
    pub(super) async fn end_record(
        &self,
        user: Option<&str>,
        id: &SessionId,
    ) -> Result<Option<SessionRecord>> {
        let inner = &*self.0;
        // Looked up first: what is not there, or is another's, writes nothing.
        let Some(record) = inner.bare.load(&inner.service, id).await? else {
            return self.has_ended(user, id).await.map(|()| None);
        };
        if user.is_some_and(|user| user != record.user) {
            return Ok(None);
        }
        // One that was rotated has gone on under another id, and its tokens name that.
        let id = &record.id;
        if let Some(revoker) = &inner.revoker {
            revoker.before(vec![scope(id)]).await?;
        }
        let ended = inner.store.destroy(&inner.service, id).await;
        self.notify(id);
        if ended.as_ref().is_err_and(|error| error.effect() == Effect::NotApplied) {
            return ended;
        }
        let mut scopes = vec![scope(id)];
        if let Ok(Some(ended)) = &ended
            && ended.id != *id
        {
            // It was rotated in between.
            scopes.push(scope(&ended.id));
        }
        // Also where somebody else has ended it: it was there a moment ago.
        let revoked = match &inner.revoker {
            Some(revoker) => revoker.after(&record.user, scopes).await,
            None => Ok(()),
        };
        let Some(ended) = ended? else {
            return revoked.map(|()| None);
        };
        inner.telemetry.destroyed();
        revoked.map(|()| Some(ended))
    }

    /// The session is not there. If this process has still to revoke its tokens, it does now.
    async fn has_ended(&self, user: Option<&str>, id: &SessionId) -> Result<()> {
        let Some(revoker) = &self.0.revoker else {
            return Ok(());
        };
        match revoker.owed_by(&scope(id)) {
            Some(owner) if user.is_none_or(|user| user == owner) => {
                revoker.after(&owner, vec![scope(id)]).await
            }
            _ => Ok(()),
        }
    }

    async fn end_all(&self, user: &str, except: Option<&SessionId>) -> Result<Vec<SessionId>> {
        let inner = &*self.0;
        let mut live = Vec::new();
        if let Some(revoker) = &inner.revoker {
            // First: a log-in that creates its session after this sees it, and one that created it before has it ended below.
            revoker.tokens.end_log_ins(user).await?;
            let listed = inner.store.list(&inner.service, user).await?;
            // After it was listed: then it is known by one of its two names at least, also where it is rotated meanwhile.
            let kept = match except {
                Some(id) => inner.bare.load(&inner.service, id).await?.map(|record| record.id),
                None => None,
            };
            let others = listed
                .into_iter()
                .filter(|session| Some(&session.id) != except && Some(&session.id) != kept.as_ref());
            live = others.map(|session| scope(&session.id)).collect();
            revoker.before(live.clone()).await?;
        }
        let ended = inner.store.destroy_all(&inner.service, user, except).await;
        if ended.as_ref().is_err_and(|error| error.effect() == Effect::NotApplied) {
            return ended;
        }
        let revoked = match (&inner.revoker, &ended) {
            (Some(revoker), Ok(ended)) => {
                let mut scopes = revoker.owed_of(user);
                scopes.extend(ended.iter().map(scope));
                revoker.after(user, scopes).await
            }
            (Some(revoker), Err(_)) => {
                // Nobody knows whether there were more than those listed.
                live.push(Scope::User(user.to_owned()));
                revoker.after(user, live).await
            }
            (None, _) => Ok(()),
        };
        let ended = ended?;
        inner.telemetry.destroyed_all(ended.len());
        if let Some(id) = ended.first() {
            // The others are of the same user, and so in the same outbox.
            self.notify(id);
        }
        revoked.map(|()| ended)
    }
}
