//! A session store with a layer around each call.

use async_trait::async_trait;

use super::{Around, Layered};
use crate::error::Result;
use crate::key::Name;
use crate::layer::Call;
use crate::session::{
    CreateOutcome, NewSession, Patch, PatchOutcome, SessionCapabilities, SessionId, SessionRecord,
    SessionStore, TouchOutcome,
};

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<A: Around> SessionStore for Layered<dyn SessionStore, A> {
    fn capabilities(&self) -> SessionCapabilities {
        let mut capabilities = self.inner.capabilities();
        capabilities.base = self.base(capabilities.base);
        capabilities
    }

    async fn create(&self, service: &Name, session: NewSession) -> Result<CreateOutcome> {
        self.around.call(Call::SESSION_CREATE, || self.inner.create(service, session.clone())).await
    }

    async fn load(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        self.around.call(Call::SESSION_LOAD, || self.inner.load(service, id)).await
    }

    async fn patch(&self, service: &Name, id: &SessionId, patch: &Patch) -> Result<PatchOutcome> {
        self.around.call(Call::SESSION_PATCH, || self.inner.patch(service, id, patch)).await
    }

    async fn touch(&self, service: &Name, id: &SessionId) -> Result<TouchOutcome> {
        self.around.call(Call::SESSION_TOUCH, || self.inner.touch(service, id)).await
    }

    async fn destroy(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        self.around.call(Call::SESSION_DESTROY, || self.inner.destroy(service, id)).await
    }

    async fn list(&self, service: &Name, user: &str) -> Result<Vec<SessionRecord>> {
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
