//! A session store with a layer around each call.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Around, Layered};
use crate::changes::ChangeFeed;
use crate::error::{Error, Result};
use crate::key::Name;
use crate::layer::Call;
use crate::session::outbox::{
    OutboxBounds, OutboxId, OutboxPage, OutboxPosition, PublisherId, ReapCursor, Reaped,
};
use crate::session::{
    CreateOutcome, NewSession, Patch, PatchOutcome, RotateOutcome, Rotation, SessionBounds,
    SessionCapabilities, SessionId, SessionOutbox, SessionRecord, SessionStore, SessionSummary, TouchOutcome,
};
use crate::time::Ttl;

/// A part that the accessor has not handed out.
fn absent() -> Error {
    Error::unsupported("this store has no outbox")
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<A: Around> SessionStore for Layered<dyn SessionStore, A> {
    fn capabilities(&self) -> SessionCapabilities {
        let mut capabilities = self.inner.capabilities();
        capabilities.base = self.base(capabilities.base);
        capabilities
    }

    fn outbox(&self) -> Option<&dyn SessionOutbox> {
        self.inner.outbox().map(|_| self as &dyn SessionOutbox)
    }

    fn feed(&self) -> Option<&dyn ChangeFeed> {
        self.inner.feed()
    }

    fn bounded(&self, bounds: SessionBounds) -> Arc<dyn SessionStore> {
        Layered::new(self.inner.bounded(bounds), &self.around)
    }

    async fn create(&self, service: &Name, session: NewSession) -> Result<CreateOutcome> {
        self.around.call(Call::SESSION_CREATE, || self.inner.create(service, session.clone())).await
    }

    async fn load(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        self.around.call(Call::SESSION_LOAD, || self.inner.load(service, id)).await
    }

    async fn use_session(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        self.around.call(Call::SESSION_USE, || self.inner.use_session(service, id)).await
    }

    async fn patch(&self, service: &Name, id: &SessionId, patch: &Patch) -> Result<PatchOutcome> {
        self.around.call(Call::SESSION_PATCH, || self.inner.patch(service, id, patch)).await
    }

    async fn touch(&self, service: &Name, id: &SessionId) -> Result<TouchOutcome> {
        self.around.call(Call::SESSION_TOUCH, || self.inner.touch(service, id)).await
    }

    async fn rotate(
        &self,
        service: &Name,
        user: &str,
        id: &SessionId,
        rotation: &Rotation,
    ) -> Result<RotateOutcome> {
        self.around.call(Call::SESSION_ROTATE, || self.inner.rotate(service, user, id, rotation)).await
    }

    async fn destroy(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        self.around.call(Call::SESSION_DESTROY, || self.inner.destroy(service, id)).await
    }

    async fn list(&self, service: &Name, user: &str) -> Result<Vec<SessionSummary>> {
        self.around.call(Call::SESSION_LIST, || self.inner.list(service, user)).await
    }

    async fn destroy_all(
        &self,
        service: &Name,
        user: &str,
        except: Option<&SessionId>,
    ) -> Result<Vec<SessionId>> {
        self.around.call(Call::SESSION_DESTROY_ALL, || self.inner.destroy_all(service, user, except)).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<A: Around> SessionOutbox for Layered<dyn SessionStore, A> {
    fn bounds(&self) -> OutboxBounds {
        self.inner.outbox().map_or_else(OutboxBounds::new, SessionOutbox::bounds)
    }

    fn outbox_of(&self, id: &SessionId) -> OutboxId {
        self.inner.outbox().map_or(OutboxId::new(0), |outbox| outbox.outbox_of(id))
    }

    async fn lead(&self, service: &Name, publisher: &PublisherId, lease: Ttl) -> Result<bool> {
        let outbox = self.inner.outbox().ok_or_else(absent)?;
        self.around.call(Call::SESSION_LEAD, || outbox.lead(service, publisher, lease)).await
    }

    async fn reap(&self, service: &Name, from: ReapCursor, limit: usize) -> Result<Reaped> {
        let outbox = self.inner.outbox().ok_or_else(absent)?;
        self.around.call(Call::SESSION_REAP, || outbox.reap(service, from, limit)).await
    }

    async fn read(
        &self,
        service: &Name,
        outbox: OutboxId,
        publisher: &PublisherId,
        claim: Ttl,
        limit: usize,
    ) -> Result<OutboxPage> {
        let part = self.inner.outbox().ok_or_else(absent)?;
        let read = || part.read(service, outbox, publisher, claim, limit);
        self.around.call(Call::SESSION_READ_OUTBOX, read).await
    }

    async fn acknowledge(
        &self,
        service: &Name,
        outbox: OutboxId,
        publisher: &PublisherId,
        positions: &[OutboxPosition],
    ) -> Result<u64> {
        let part = self.inner.outbox().ok_or_else(absent)?;
        let acknowledge = || part.acknowledge(service, outbox, publisher, positions);
        self.around.call(Call::SESSION_ACKNOWLEDGE, acknowledge).await
    }
}
