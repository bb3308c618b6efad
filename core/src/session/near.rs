//! A session store that answers uses from copies of what it answered before.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{
    CreateOutcome, NewSession, Patch, PatchOutcome, RotateOutcome, Rotation, SessionBounds,
    SessionCapabilities, SessionId, SessionOutbox, SessionRecord, SessionStore, SessionSummary, TouchOutcome,
};
use crate::cache::{NearEngine, NearEntry, NearValue, Watch};
use crate::changes::{ChangeFeed, ChangeWatcher, Fence, Seen};
use crate::environment::Environment;
use crate::error::{Effect, Error, Result};
use crate::key::Name;
use crate::telemetry::{Counter, session as metric};
use crate::time::{Monotonic, minutes};

/// In front of a store, for one service: all calls pass through, so that what this process changes it does not answer from a copy.
pub(super) struct NearSessions {
    store: Arc<dyn SessionStore>,
    service: Name,
    engine: Arc<dyn NearEngine>,
    max_age: Duration,
    environment: Environment,
    fence: Arc<Fence>,
    hits: Counter,
    /// `None` where the store notifies of nothing: then copies end by their age alone.
    _watch: Option<Watch>,
}

/// What was found, and when it was asked for.
struct Copied {
    record: SessionRecord,
    asked_at: Monotonic,
    seen: Seen,
    /// Of whose it is: another façade may have been given the same engine.
    fence: Arc<Fence>,
}

/// Counts a change when it is over, also where its caller has left: whether it was done is not known then.
struct Changing<'a> {
    fence: &'a Fence,
    /// `None` where it is not known which sessions change: then all copies end.
    names: Option<Vec<String>>,
}

impl<'a> Changing<'a> {
    /// Any session, until more is known.
    fn any(fence: &'a Fence) -> Self {
        Self { fence, names: None }
    }

    fn one(fence: &'a Fence, id: &SessionId) -> Self {
        Self { fence, names: Some(vec![id.hash_text()]) }
    }

    /// These are all that have changed.
    fn were<'i>(&mut self, ids: impl IntoIterator<Item = &'i SessionId>) {
        self.names = Some(ids.into_iter().map(SessionId::hash_text).collect());
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        match &self.names {
            None => self.fence.all_changed(),
            Some(names) => names.iter().for_each(|name| self.fence.changed(name)),
        }
    }
}

/// Whether the error says that nothing was changed.
fn nothing_was_done(error: &Error) -> bool {
    error.effect() == Effect::NotApplied
}

impl fmt::Debug for NearSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NearSessions")
            .field("store", &self.store)
            .field("max_age", &self.max_age)
            .finish_non_exhaustive()
    }
}

impl NearSessions {
    /// The greatest age.
    pub(super) const OLDEST: Duration = minutes(5);

    pub(super) fn new(
        store: Arc<dyn SessionStore>,
        service: &Name,
        engine: Arc<dyn NearEngine>,
        max_age: Duration,
        environment: Environment,
    ) -> Result<Self> {
        if max_age.is_zero() || max_age > Self::OLDEST {
            let oldest = Self::OLDEST;
            return Err(Error::invalid(format!("a session is kept for up to {oldest:?}, got {max_age:?}")));
        }
        let fence = Arc::<Fence>::default();
        let watcher = Arc::clone(&fence) as Arc<dyn ChangeWatcher>;
        let watch = store.feed().map(|feed| feed.watch(service, watcher)).transpose()?;
        let hits = Counter::new(&metric::NEAR_HITS, &[service.into()]);
        Ok(Self { store, service: service.clone(), engine, max_age, environment, fence, hits, _watch: watch })
    }

    /// The session as it was found under this id, if that is still so, with what is left of its life.
    fn copied(&self, name: &str) -> Option<SessionRecord> {
        if self.environment.tasks.is_closing() {
            return None;
        }
        let (entry, now) = (self.engine.get(name)?, self.environment.clock.now());
        if entry.fresh_until <= now {
            return None;
        }
        let value = entry.value?;
        let copied = value.downcast_ref::<Copied>()?;
        if !Arc::ptr_eq(&copied.fence, &self.fence) || !self.fence.is_unchanged(&copied.seen) {
            return None;
        }
        let mut record = copied.record.clone();
        let passed = now.saturating_since(copied.asked_at);
        record.expires_in = record.expires_in.saturating_sub(passed);
        record.use_due_in = record.use_due_in.saturating_sub(passed);
        Some(record)
    }

    async fn ask(&self, id: &SessionId, name: String) -> Result<Option<SessionRecord>> {
        let (seen, asked_at) = (self.fence.see(std::slice::from_ref(&name)), self.environment.clock.now());
        let Some(record) = self.store.use_session(&self.service, id).await? else { return Ok(None) };
        // A session that was rotated goes on under another name, of which nothing was known before: it is not kept under the old one.
        // A use that is due is to be recorded, and one that has ended is to be found so.
        let kept = self.max_age.min(record.use_due_in).min(record.expires_in);
        if record.id == *id && !kept.is_zero() {
            let fence = Arc::clone(&self.fence);
            let copied = Copied { record: record.clone(), asked_at, seen, fence };
            let value: NearValue = Arc::new(copied);
            self.engine.insert(&name, NearEntry::new(Some(value), asked_at.saturating_add(kept)));
        }
        Ok(Some(record))
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl SessionStore for NearSessions {
    fn capabilities(&self) -> SessionCapabilities {
        self.store.capabilities()
    }

    fn outbox(&self) -> Option<&dyn SessionOutbox> {
        self.store.outbox()
    }

    fn feed(&self) -> Option<&dyn ChangeFeed> {
        self.store.feed()
    }

    fn bounded(&self, bounds: SessionBounds) -> Arc<dyn SessionStore> {
        self.store.bounded(bounds)
    }

    async fn create(&self, service: &Name, session: NewSession) -> Result<CreateOutcome> {
        // Whom it evicts is known once it is done.
        let mut changing = Changing::any(&self.fence);
        let (id, replaced) = (session.id.clone(), session.replaces.as_ref().map(|of| of.id.clone()));
        let created = self.store.create(service, session).await;
        match &created {
            Ok(CreateOutcome::Created { evicted, .. }) => {
                changing.were(evicted.iter().chain(&replaced).chain([&id]));
            }
            Ok(_) => changing.were([]),
            Err(error) if nothing_was_done(error) => changing.were([]),
            Err(_) => {}
        }
        created
    }

    async fn load(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        self.store.load(service, id).await
    }

    async fn use_session(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        if *service != self.service {
            return self.store.use_session(service, id).await;
        }
        let name = id.hash_text();
        match self.copied(&name) {
            Some(record) => {
                self.hits.one();
                Ok(Some(record))
            }
            None => self.ask(id, name).await,
        }
    }

    async fn patch(&self, service: &Name, id: &SessionId, patch: &Patch) -> Result<PatchOutcome> {
        let _changing = Changing::one(&self.fence, id);
        self.store.patch(service, id, patch).await
    }

    async fn touch(&self, service: &Name, id: &SessionId) -> Result<TouchOutcome> {
        let _changing = Changing::one(&self.fence, id);
        self.store.touch(service, id).await
    }

    async fn rotate(
        &self,
        service: &Name,
        user: &str,
        id: &SessionId,
        rotation: &Rotation,
    ) -> Result<RotateOutcome> {
        let _changing = Changing::one(&self.fence, id);
        self.store.rotate(service, user, id, rotation).await
    }

    async fn destroy(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        // The id may be an old one of the session, whose name is known once it is done.
        let mut changing = Changing::any(&self.fence);
        let destroyed = self.store.destroy(service, id).await;
        match &destroyed {
            Ok(Some(record)) => changing.were([id, &record.id]),
            Ok(None) => changing.were([id]),
            Err(error) if nothing_was_done(error) => changing.were([]),
            Err(_) => {}
        }
        destroyed
    }

    async fn list(&self, service: &Name, user: &str) -> Result<Vec<SessionSummary>> {
        self.store.list(service, user).await
    }

    async fn destroy_all(
        &self,
        service: &Name,
        user: &str,
        except: Option<&SessionId>,
    ) -> Result<Vec<SessionId>> {
        let mut changing = Changing::any(&self.fence);
        let destroyed = self.store.destroy_all(service, user, except).await;
        match &destroyed {
            Ok(ids) => changing.were(ids),
            Err(error) if nothing_was_done(error) => changing.were([]),
            // It is not known how far it came.
            Err(_) => {}
        }
        destroyed
    }
}
