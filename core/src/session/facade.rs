//! Sessions of one service.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde::de::DeserializeOwned;

use super::telemetry::Telemetry;
use super::{
    CreateOutcome, NewSession, Patch, PatchOutcome, SessionId, SessionLimit, SessionRecord, SessionStore,
    SessionToken, TouchOutcome,
};
use crate::environment::Environment;
use crate::error::{Effect, Error, ErrorKind, Result};
use crate::event::standard::{SessionCreated, SessionEnd, SessionExpired};
use crate::event::{EventBus, Topic};
use crate::key::Name;
use crate::layer::deadline::bounded;
use crate::time::{Ttl, hours, minutes};
use crate::token::{Revocations, Scope, TokenStore, Tokens};

/// Builds [`Sessions`].
#[derive(Debug)]
#[must_use = "call build()"]
pub struct SessionsBuilder {
    store: Result<Arc<dyn SessionStore>>,
    tokens: Result<Arc<dyn TokenStore>>,
    events: Result<Arc<dyn EventBus>>,
    environment: Environment,
    service: Name,
    idle: Duration,
    absolute: Duration,
    limit: SessionLimit,
    token_life: Option<Duration>,
    publish: bool,
}

impl SessionsBuilder {
    /// The sessions of a service on any backend, without a bundle: it revokes and publishes where it is given a
    /// [`token_store`](Self::token_store) and an [`event_bus`](Self::event_bus).
    pub fn new(store: Arc<dyn SessionStore>, environment: Environment, service: Name) -> Self {
        let none = |what: &str| Error::unsupported(format!("there are no {what}"));
        let store = bounded(store, &environment);
        Self::on(Ok(store), Err(none("tokens")), Err(none("events")), environment, service)
    }

    pub(crate) fn on(
        store: Result<Arc<dyn SessionStore>>,
        tokens: Result<Arc<dyn TokenStore>>,
        events: Result<Arc<dyn EventBus>>,
        environment: Environment,
        service: Name,
    ) -> Self {
        Self {
            store,
            tokens,
            events,
            environment,
            service,
            idle: minutes(30),
            absolute: hours(12),
            limit: SessionLimit::EvictLeastRecent(100),
            token_life: None,
            publish: false,
        }
    }

    /// Where the tokens of ended sessions are revoked; the bundle's unless set.
    pub fn token_store(mut self, tokens: Arc<dyn TokenStore>) -> Self {
        self.tokens = Ok(bounded(tokens, &self.environment));
        self
    }

    /// Where events are published; the bundle's unless set.
    pub fn event_bus(mut self, events: Arc<dyn EventBus>) -> Self {
        self.events = Ok(events);
        self
    }

    /// How long a session lives without being used; 30 minutes unless set.
    pub fn idle_timeout(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// How long a session lives at most, however much it is used; 12 hours unless set.
    pub fn absolute_timeout(mut self, absolute: Duration) -> Self {
        self.absolute = absolute;
        self
    }

    /// How many sessions a user may have; the 100 most recently used unless set.
    pub fn limit(mut self, limit: SessionLimit) -> Self {
        self.limit = limit;
        self
    }

    /// Ending a session also revokes the tokens that were issued within it
    /// ([`IssueOptions::session`](crate::token::IssueOptions::session)), none of which lives longer than
    /// `token_life`. The tokens are revoked first: if the process dies in between, the session is still
    /// there and can be ended again, but no token outlives it. Sessions that make room for a new one are
    /// ended by the store, so their tokens are revoked right after.
    ///
    /// A session that times out is ended by nobody. Issue its tokens with a life no longer than its idle
    /// timeout, or check the session as well.
    pub fn revoking_tokens(mut self, token_life: Duration) -> Self {
        self.token_life = Some(token_life);
        self
    }

    /// Publishes `auth.session_created` and `auth.session_expired`. An event that can't be published is
    /// logged, and fails nothing.
    pub fn publishing(mut self) -> Self {
        self.publish = true;
        self
    }

    /// The sessions.
    ///
    /// # Errors
    /// `InvalidInput` for a timeout of zero or a limit the store can't keep; `Unsupported` if the stores have
    /// no sessions, or none of what was asked for.
    pub fn build(self) -> Result<Sessions> {
        let store = self.store?;
        let most = store.capabilities().max_per_user;
        if self.limit.count() == 0 || self.limit.count() > most {
            return Err(Error::invalid(format!("a session limit takes 1 to {most} sessions")));
        }
        let tokens = match self.token_life {
            // A token is accepted for the skew after its expiry, and the clocks differ once more.
            Some(life) => {
                let life = Ttl::new(life)?.as_duration().saturating_add(2 * Tokens::SKEW);
                Some((self.tokens?, Ttl::new(life)?))
            }
            None => None,
        };
        let topics = if self.publish {
            let (events, environment) = (self.events?, self.environment.clone());
            let created = Topic::new(Arc::clone(&events), environment.clone(), self.service.as_str())?;
            Some((created, Topic::new(events, environment, self.service.as_str())?))
        } else {
            None
        };
        Ok(Sessions(Arc::new(Inner {
            store,
            telemetry: Telemetry::of(&self.service),
            revocations: Revocations::of(&self.service),
            service: self.service,
            environment: self.environment,
            idle: Ttl::new(self.idle)?,
            absolute: Ttl::new(self.absolute)?,
            limit: self.limit,
            tokens,
            topics,
        })))
    }
}

/// The sessions of one service, under `{service}:session:…`. Cheap to clone; clones share everything.
///
/// # Errors
/// Every method that is `async` answers `Closed` once the stores are, and the store's error where it does not answer;
/// [`Error::effect`] says whether a change may have happened. Those that take a user or fields answer `InvalidInput` for
/// a user id that is empty or longer than 512 bytes after escaping, and for more than 256 KiB of fields
/// ([`max_data_bytes`](super::SessionCapabilities::max_data_bytes)). That there is no such session is no error.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> stanchion::Result<()> {
/// use stanchion::prelude::*;
/// use stanchion_memory::MemoryBackend;
///
/// let sessions = MemoryBackend::new().stores().service("auth-service")?.sessions().build()?;
/// let opened = sessions.create("u1", Patch::new().value("theme", &"dark")?).await?.expect("no limit reached");
/// let cookie = opened.token.reveal();
///
/// // Another request, another process:
/// let session = sessions.authenticate(&cookie).await?.expect("a live session");
/// assert_eq!(session.user(), "u1");
/// assert_eq!(session.value::<String>("theme")?.as_deref(), Some("dark"));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Sessions(Arc<Inner>);

struct Inner {
    store: Arc<dyn SessionStore>,
    telemetry: Telemetry,
    revocations: Revocations,
    service: Name,
    environment: Environment,
    idle: Ttl,
    absolute: Ttl,
    limit: SessionLimit,
    tokens: Option<(Arc<dyn TokenStore>, Ttl)>,
    topics: Option<(Topic<SessionCreated>, Topic<SessionExpired>)>,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("service", &self.0.service)
            .field("idle", &self.0.idle)
            .field("absolute", &self.0.absolute)
            .field("limit", &self.0.limit)
            .finish_non_exhaustive()
    }
}

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

/// A live session as it was when it was read.
#[derive(Debug, Clone)]
pub struct SessionView(SessionRecord);

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
        let Some(bytes) = self.0.data.get(field) else {
            return Ok(None);
        };
        serde_json::from_slice(bytes).map(Some).map_err(|_| {
            Error::new(ErrorKind::Codec, format!("the session field {field:?} holds something else"))
                .with_operation("session.value")
        })
    }

    /// The record behind it.
    pub fn record(&self) -> &SessionRecord {
        &self.0
    }
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

impl Sessions {
    /// Opens a session for a user, with the fields that the patch sets; `None` if the user has as many as
    /// [`SessionLimit::Reject`] allows.
    ///
    /// # Errors
    /// `InvalidInput` for a patch that removes fields or expects a version; else as the store's. If the tokens of sessions that were evicted could not be revoked, these sessions have ended and the
    /// new one is ended too; the error's effect is then `Unknown`.
    ///
    /// # Cancel safety
    /// Dropping the future may leave a session that nobody has the token of; it ends by its idle timeout and
    /// counts towards the user's limit until then.
    pub async fn create(&self, user: &str, fields: Patch) -> Result<Option<OpenedSession>> {
        let inner = &*self.0;
        if !fields.remove.is_empty() || fields.expected_version.is_some() {
            return Err(Error::invalid(
                "a new session has no fields to be removed, and no version to be expected",
            )
            .with_operation("session.create"));
        }
        let token = SessionToken::generate(user, &*inner.environment.random)?;
        let id = inner.environment.hashing_key.session_id(&token);
        let session = NewSession::new(id, user, inner.idle, inner.absolute, inner.limit).data(fields.set);
        match inner.store.create(&inner.service, session).await? {
            CreateOutcome::Created { record, evicted } => {
                inner.telemetry.created(evicted.len());
                if let Err(error) = self.revoke_tokens(&evicted).await {
                    // Nobody gets to know of it. Where it can't be ended now, it ends by its idle timeout.
                    if let Ok(Some(_)) = inner.store.destroy(&inner.service, &record.id).await {
                        inner.telemetry.undone();
                    }
                    return Err(error.with_effect(Effect::Unknown));
                }
                if let Some((created, _)) = &inner.topics {
                    let event = SessionCreated { user_id: user.into(), session_id: record.id.to_string() };
                    logged(created.publish(&event).await);
                }
                self.announce(user, &evicted, SessionEnd::Evicted).await;
                Ok(Some(OpenedSession { token, session: SessionView(record), evicted }))
            }
            CreateOutcome::LimitReached => {
                inner.telemetry.rejected();
                Ok(None)
            }
            CreateOutcome::IdTaken => Err(Error::new(
                ErrorKind::Internal,
                "256 random bits came twice: the random source is broken",
            )
            .with_operation("session.create")),
        }
    }

    /// The public name of the session that a token opens.
    pub fn id(&self, token: &SessionToken) -> SessionId {
        self.0.environment.hashing_key.session_id(token)
    }

    /// What a client sent as its token: the session, which counts as used now, or `None` if it is no token
    /// or there is no such session.
    ///
    /// # Errors
    /// Those of [every method](Sessions#errors). An error means that nobody knows whether the session lives.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the session either used or not.
    pub async fn authenticate(&self, text: &str) -> Result<Option<SessionView>> {
        let Some(token) = SessionToken::parse(text) else {
            self.0.telemetry.malformed();
            return Ok(None);
        };
        let session = self.use_now(&token).await;
        self.0.telemetry.authenticated(&session);
        session
    }

    async fn use_now(&self, token: &SessionToken) -> Result<Option<SessionView>> {
        let Some(session) = self.find(token).await? else {
            return Ok(None);
        };
        // It may have ended in between.
        Ok(match self.touch(token).await? {
            TouchOutcome::Touched { .. } => Some(session),
            TouchOutcome::Gone => None,
        })
    }

    /// The session, or `None`. Does not count as a use.
    ///
    /// # Errors
    /// Those of [every method](Sessions#errors).
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn load(&self, token: &SessionToken) -> Result<Option<SessionView>> {
        let session = self.find(token).await;
        self.0.telemetry.loaded(&session);
        session
    }

    async fn find(&self, token: &SessionToken) -> Result<Option<SessionView>> {
        Ok(self.0.store.load(&self.0.service, &self.id(token)).await?.map(SessionView))
    }

    /// Sets and removes fields, and counts as a use. Fields that are not named stay as they are, so two
    /// requests that change different fields don't undo each other.
    ///
    /// # Errors
    /// Those of [every method](Sessions#errors). After `Unknown` it may have been applied: load the session, and compare the
    /// version.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the patch either applied or not.
    pub async fn patch(&self, token: &SessionToken, patch: &Patch) -> Result<PatchOutcome> {
        self.0.store.patch(&self.0.service, &self.id(token), patch).await
    }

    /// Counts as a use.
    ///
    /// # Errors
    /// Those of [every method](Sessions#errors). Touching again does no harm.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the session either used or not.
    pub async fn touch(&self, token: &SessionToken) -> Result<TouchOutcome> {
        self.0.store.touch(&self.0.service, &self.id(token)).await
    }

    /// Ends the session, as at log-out; `true` if there was one.
    ///
    /// # Errors
    /// As [`destroy_id`](Self::destroy_id).
    ///
    /// # Cancel safety
    /// Dropping the future may leave the session there with its tokens revoked; end it again.
    pub async fn destroy(&self, token: &SessionToken) -> Result<bool> {
        self.destroy_id(&self.id(token)).await
    }

    /// Ends the session of this public name, as from a list of devices; `true` if there was one.
    ///
    /// # Errors
    /// Those of [every method](Sessions#errors), and of the tokens that are revoked first: end it again.
    ///
    /// # Cancel safety
    /// As [`destroy`](Self::destroy).
    pub async fn destroy_id(&self, id: &SessionId) -> Result<bool> {
        let inner = &*self.0;
        self.revoke_tokens(std::slice::from_ref(id)).await?;
        let Some(ended) = inner.store.destroy(&inner.service, id).await? else {
            return Ok(false);
        };
        inner.telemetry.destroyed();
        self.announce(&ended.user, std::slice::from_ref(id), SessionEnd::Destroyed).await;
        Ok(true)
    }

    /// The user's live sessions, the newest first.
    ///
    /// # Errors
    /// Those of [every method](Sessions#errors).
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn list(&self, user: &str) -> Result<Vec<SessionView>> {
        Ok(self.0.store.list(&self.0.service, user).await?.into_iter().map(SessionView).collect())
    }

    /// Ends every session of the user but `except`, as after a change of password; answers the ended ones.
    ///
    /// # Errors
    /// Those of [every method](Sessions#errors), and of the tokens that are revoked: some sessions may have ended; end them
    /// again.
    ///
    /// # Cancel safety
    /// Dropping the future may leave sessions there with their tokens revoked; end them again.
    pub async fn destroy_all(&self, user: &str, except: Option<&SessionId>) -> Result<Vec<SessionId>> {
        let inner = &*self.0;
        let mut revoked = Vec::new();
        if inner.tokens.is_some() {
            let live = inner.store.list(&inner.service, user).await?;
            revoked = live.into_iter().map(|session| session.id).filter(|id| Some(id) != except).collect();
            self.revoke_tokens(&revoked).await?;
        }
        let ended = inner.store.destroy_all(&inner.service, user, except).await?;
        inner.telemetry.destroyed_all(ended.len());
        // Sessions that were opened in between.
        let late: Vec<_> = ended.iter().filter(|id| !revoked.contains(id)).cloned().collect();
        self.revoke_tokens(&late).await.map_err(|error| error.with_effect(Effect::Unknown))?;
        self.announce(user, &ended, SessionEnd::Destroyed).await;
        Ok(ended)
    }

    /// Revokes the tokens of these sessions, a few at a time.
    async fn revoke_tokens(&self, sessions: &[SessionId]) -> Result<()> {
        let Some((store, life)) = &self.0.tokens else {
            return Ok(());
        };
        let scopes: Vec<_> = sessions.iter().map(|id| Scope::Session(id.to_string())).collect();
        // Collected first: a closure within the stream would keep callers from spawning this future.
        let revoke = |scope| async move {
            let revoked = store.revoke_all(&self.0.service, scope, *life).await;
            if revoked.is_ok() {
                self.0.revocations.scope(scope);
            }
            revoked
        };
        let revocations: Vec<_> = scopes.iter().map(revoke).collect();
        let mut revocations = stream::iter(revocations).buffer_unordered(16);
        while let Some(revoked) = revocations.next().await {
            revoked?;
        }
        Ok(())
    }

    async fn announce(&self, user: &str, sessions: &[SessionId], reason: SessionEnd) {
        let Some((_, expired)) = &self.0.topics else {
            return;
        };
        for id in sessions {
            let event = SessionExpired { user_id: user.into(), session_id: id.to_string(), reason };
            logged(expired.publish(&event).await);
        }
    }
}

fn logged<T>(published: Result<T>) {
    if let Err(error) = published {
        tracing::warn!(%error, "a session event could not be published");
    }
}
