//! Stores whose calls wait for their turn.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use stanchion::Result;
use stanchion::key::Name;
use stanchion::session::{
    CreateOutcome, NewSession, Patch, PatchOutcome, RotateOutcome, Rotation, SessionBounds,
    SessionCapabilities, SessionId, SessionOutbox, SessionRecord, SessionStore, SessionSummary, TouchOutcome,
};
use stanchion::time::Ttl;
use stanchion::token::{
    Epoch, FamilyId, FirstUses, NewFamily, RefreshFamilies, RotateOutcome as FamilyOutcome,
    Rotation as FamilyRotation, Scope, TokenCapabilities, TokenFacts, TokenSettings, TokenStore, Verdict,
};
use tokio::sync::oneshot;

/// Where every call waits until it is let through, while the gate is closed.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    is_closed: AtomicBool,
    waiting: Mutex<Vec<(String, oneshot::Sender<()>)>>,
}

impl Gate {
    pub(crate) fn close(&self) {
        self.is_closed.store(true, SeqCst);
    }

    pub(crate) fn open(&self) {
        self.is_closed.store(false, SeqCst);
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.lock().unwrap().len()
    }

    /// Lets one through; answers its name.
    pub(crate) fn let_through(&self, index: usize) -> String {
        let (name, word) = self.waiting.lock().unwrap().remove(index);
        // Whoever is gone by now needs no word.
        let _ = word.send(());
        name
    }

    pub(crate) async fn step(&self, name: impl Into<String>) {
        if self.is_closed.load(SeqCst) {
            let (word, heard) = oneshot::channel();
            self.waiting.lock().unwrap().push((name.into(), word));
            heard.await.unwrap();
        }
    }
}

#[derive(Debug)]
pub(crate) struct Gated<S: ?Sized> {
    pub(crate) gate: Arc<Gate>,
    pub(crate) inner: Arc<S>,
}

#[async_trait]
impl SessionStore for Gated<dyn SessionStore> {
    fn capabilities(&self) -> SessionCapabilities {
        self.inner.capabilities()
    }
    fn outbox(&self) -> Option<&dyn SessionOutbox> {
        None
    }

    fn bounded(&self, bounds: SessionBounds) -> Arc<dyn SessionStore> {
        Arc::new(Self { gate: Arc::clone(&self.gate), inner: self.inner.bounded(bounds) })
    }
    async fn create(&self, service: &Name, session: NewSession) -> Result<CreateOutcome> {
        self.gate.step("create").await;
        self.inner.create(service, session).await
    }
    async fn load(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        self.gate.step("load").await;
        self.inner.load(service, id).await
    }
    async fn use_session(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        self.gate.step("use").await;
        self.inner.use_session(service, id).await
    }
    async fn patch(&self, service: &Name, id: &SessionId, patch: &Patch) -> Result<PatchOutcome> {
        self.gate.step("patch").await;
        self.inner.patch(service, id, patch).await
    }
    async fn touch(&self, service: &Name, id: &SessionId) -> Result<TouchOutcome> {
        self.gate.step("touch").await;
        self.inner.touch(service, id).await
    }
    async fn rotate(
        &self,
        service: &Name,
        user: &str,
        id: &SessionId,
        rotation: &Rotation,
    ) -> Result<RotateOutcome> {
        self.gate.step("rotate").await;
        self.inner.rotate(service, user, id, rotation).await
    }
    async fn destroy(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        self.gate.step("destroy").await;
        self.inner.destroy(service, id).await
    }
    async fn list(&self, service: &Name, user: &str) -> Result<Vec<SessionSummary>> {
        self.gate.step("list").await;
        self.inner.list(service, user).await
    }
    async fn destroy_all(
        &self,
        service: &Name,
        user: &str,
        except: Option<&SessionId>,
    ) -> Result<Vec<SessionId>> {
        self.gate.step("destroy_all").await;
        self.inner.destroy_all(service, user, except).await
    }
}

#[async_trait]
impl TokenStore for Gated<dyn TokenStore> {
    fn capabilities(&self) -> TokenCapabilities {
        self.inner.capabilities()
    }
    fn first_uses(&self) -> Option<&dyn FirstUses> {
        self.inner.first_uses()
    }
    fn families(&self) -> Option<&dyn RefreshFamilies> {
        Some(self)
    }
    async fn revoke(&self, service: &Name, jti: &str, ttl: Ttl) -> Result<()> {
        self.gate.step("revoke").await;
        self.inner.revoke(service, jti, ttl).await
    }
    async fn revoke_all(&self, service: &Name, scope: &Scope, ttl: Ttl) -> Result<Epoch> {
        let name = match scope {
            Scope::LogIn(_) => "end log-ins",
            _ => "revoke",
        };
        self.gate.step(name).await;
        self.inner.revoke_all(service, scope, ttl).await
    }
    async fn epochs(&self, service: &Name, scopes: &[Scope]) -> Result<Vec<Epoch>> {
        self.gate.step("epochs").await;
        self.inner.epochs(service, scopes).await
    }
    async fn check(&self, service: &Name, token: &TokenFacts) -> Result<Verdict> {
        self.gate.step("check").await;
        self.inner.check(service, token).await
    }
    async fn agree(
        &self,
        service: &Name,
        ours: &TokenSettings,
        before: Option<Ttl>,
    ) -> Result<TokenSettings> {
        self.inner.agree(service, ours, before).await
    }
    async fn floor(&self, service: &Name) -> Result<Epoch> {
        self.inner.floor(service).await
    }
}

impl Gated<dyn TokenStore> {
    fn right(&self) -> &dyn RefreshFamilies {
        self.inner.families().unwrap()
    }
}

#[async_trait]
impl RefreshFamilies for Gated<dyn TokenStore> {
    async fn open_family(&self, service: &Name, family: &NewFamily) -> Result<bool> {
        self.gate.step("open family").await;
        self.right().open_family(service, family).await
    }
    async fn rotate(&self, service: &Name, rotation: &FamilyRotation) -> Result<FamilyOutcome> {
        self.gate.step("rotate token").await;
        self.right().rotate(service, rotation).await
    }
    async fn end_family(&self, service: &Name, id: &FamilyId) -> Result<Option<Bytes>> {
        self.gate.step("end family").await;
        self.right().end_family(service, id).await
    }
}
