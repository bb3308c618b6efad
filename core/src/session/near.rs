//! A session store that answers uses from copies of what it answered before.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{
    CreateOutcome, NewSession, Patch, PatchOutcome, RotateOutcome, Rotation, SessionBounds,
    SessionCapabilities, SessionId, SessionOutbox, SessionRecord, SessionStore, SessionSummary, TouchOutcome,
};
use crate::cache::NearEngine;
use crate::changes::ChangeFeed;
use crate::copies::Copies;
use crate::environment::Environment;
use crate::error::{Effect, Error, Result};
use crate::key::Name;
use crate::telemetry::{Counter, session as metric};
use crate::time::minutes;

/// In front of a store, for one service: all calls pass through, so that what is changed through it, it does not answer from a copy.
#[derive(Debug)]
pub(super) struct NearSessions {
    store: Arc<dyn SessionStore>,
    service: Name,
    copies: Copies<SessionRecord>,
    hits: Counter,
}

/// Whether the error says that nothing was changed.
fn nothing_was_done(error: &Error) -> bool {
    error.effect() == Effect::NotApplied
}

fn names<'a>(ids: impl IntoIterator<Item = &'a SessionId>) -> impl Iterator<Item = String> {
    ids.into_iter().map(SessionId::hash_text)
}

impl NearSessions {
    /// The greatest age.
    pub(super) const OLDEST: Duration = minutes(5);

    pub(super) fn new(
        store: Arc<dyn SessionStore>,
        service: &Name,
        near: (Arc<dyn NearEngine>, Duration),
        environment: Environment,
    ) -> Result<Self> {
        let copies = Copies::new(store.feed(), service, near, Self::OLDEST, environment)?;
        let hits = Counter::new(&metric::NEAR_HITS, &[service.into()]);
        Ok(Self { store, service: service.clone(), copies, hits })
    }

    async fn ask(&self, id: &SessionId, name: String) -> Result<Option<SessionRecord>> {
        let asked = self.copies.asking(std::slice::from_ref(&name));
        let Some(record) = self.store.use_session(&self.service, id).await? else { return Ok(None) };
        // A session that was rotated goes on under another name, of which nothing was known before: it is not kept under the old one.
        // A use that is due is to be recorded, and one that has ended is to be found so.
        let longest = record.use_due_in.min(record.expires_in);
        if record.id == *id && !longest.is_zero() {
            self.copies.keep(&name, asked, record.clone(), longest);
        }
        Ok(Some(record))
    }
}

/// The record as it is so much later.
fn later(record: &SessionRecord, passed: Duration) -> SessionRecord {
    let mut record = record.clone();
    record.expires_in = record.expires_in.saturating_sub(passed);
    record.use_due_in = record.use_due_in.saturating_sub(passed);
    record
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
        let mut changing = self.copies.changing();
        let (id, replaced) = (session.id.clone(), session.replaces.as_ref().map(|of| of.id.clone()));
        let created = self.store.create(service, session).await;
        match &created {
            Ok(CreateOutcome::Created { evicted, .. }) => {
                changing.were(names(evicted.iter().chain(&replaced).chain([&id])));
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
        match self.copies.get(&name, |record, passed| Some(later(record, passed))) {
            Some(record) => {
                self.hits.one();
                Ok(Some(record))
            }
            None => self.ask(id, name).await,
        }
    }

    async fn patch(&self, service: &Name, id: &SessionId, patch: &Patch) -> Result<PatchOutcome> {
        let _changing = self.copies.changing().one(id.hash_text());
        self.store.patch(service, id, patch).await
    }

    async fn touch(&self, service: &Name, id: &SessionId) -> Result<TouchOutcome> {
        let _changing = self.copies.changing().one(id.hash_text());
        self.store.touch(service, id).await
    }

    async fn rotate(
        &self,
        service: &Name,
        user: &str,
        id: &SessionId,
        rotation: &Rotation,
    ) -> Result<RotateOutcome> {
        let _changing = self.copies.changing().one(id.hash_text());
        self.store.rotate(service, user, id, rotation).await
    }

    async fn destroy(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        // The id may be an old one of the session, whose name is known once it is done.
        let mut changing = self.copies.changing();
        let destroyed = self.store.destroy(service, id).await;
        match &destroyed {
            Ok(Some(record)) => changing.were(names([id, &record.id])),
            Ok(None) => changing.were(names([id])),
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
        let mut changing = self.copies.changing();
        let destroyed = self.store.destroy_all(service, user, except).await;
        match &destroyed {
            Ok(ids) => changing.were(names(ids)),
            Err(error) if nothing_was_done(error) => changing.were([]),
            // It is not known how far it came.
            Err(_) => {}
        }
        destroyed
    }
}
