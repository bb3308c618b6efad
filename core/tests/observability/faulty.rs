//! A locker, a token store and an event bus that do what a test says.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use stanchion::event::{
    Envelope, EventBus, EventCapabilities, FeedSender, SubscribeOptions, Subscription, feed,
};
use stanchion::key::{Key, Name};
use stanchion::lock::{
    AcquireOutcome, Fence, Lease, LockCapabilities, LockRequest, Locker, ReleaseOutcome, RenewOutcome,
};
use stanchion::time::Ttl;
use stanchion::token::{
    Epoch, FamilyId, NewFamily, RefreshFamilies, RotateOutcome, Rotation, Scope, TokenCapabilities,
    TokenFacts, TokenSettings, TokenStore, Verdict,
};
use stanchion::{Effect, Result};

use crate::support::down;

/// Answers nothing while it is down.
#[derive(Debug)]
pub(crate) struct Faulty<S: ?Sized> {
    down: AtomicBool,
    inner: Arc<S>,
}

impl<S: ?Sized> Faulty<S> {
    pub(crate) fn over(inner: Arc<S>) -> Arc<Self> {
        Arc::new(Self { down: AtomicBool::new(false), inner })
    }

    pub(crate) fn is_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    fn pass(&self) -> Result<&S> {
        if self.down.load(Ordering::SeqCst) { Err(down(Effect::NotApplied)) } else { Ok(&self.inner) }
    }
}

#[async_trait]
impl Locker for Faulty<dyn Locker> {
    fn capabilities(&self) -> LockCapabilities {
        self.inner.capabilities()
    }
    async fn acquire(&self, request: &LockRequest) -> Result<AcquireOutcome> {
        self.pass()?.acquire(request).await
    }
    async fn renew(&self, leases: &[Lease]) -> Result<Vec<RenewOutcome>> {
        self.pass()?.renew(leases).await
    }
    async fn release(&self, lease: &Lease) -> Result<ReleaseOutcome> {
        self.pass()?.release(lease).await
    }
    async fn inspect(&self, key: &Key) -> Result<Option<(Fence, Duration)>> {
        self.pass()?.inspect(key).await
    }
}

#[async_trait]
impl RefreshFamilies for Faulty<dyn TokenStore> {
    async fn open_family(&self, service: &Name, family: &NewFamily) -> Result<bool> {
        self.pass()?.families().unwrap().open_family(service, family).await
    }
    async fn rotate(&self, service: &Name, rotation: &Rotation) -> Result<RotateOutcome> {
        self.pass()?.families().unwrap().rotate(service, rotation).await
    }
    async fn end_family(&self, service: &Name, id: &FamilyId) -> Result<Option<Bytes>> {
        self.pass()?.families().unwrap().end_family(service, id).await
    }
}

#[async_trait]
impl TokenStore for Faulty<dyn TokenStore> {
    fn capabilities(&self) -> TokenCapabilities {
        self.inner.capabilities()
    }
    fn families(&self) -> Option<&dyn RefreshFamilies> {
        Some(self)
    }
    async fn revoke(&self, service: &Name, jti: &str, ttl: Ttl) -> Result<()> {
        self.pass()?.revoke(service, jti, ttl).await
    }
    async fn revoke_all(&self, service: &Name, scope: &Scope, ttl: Ttl) -> Result<Epoch> {
        self.pass()?.revoke_all(service, scope, ttl).await
    }
    async fn epochs(&self, service: &Name, scopes: &[Scope]) -> Result<Vec<Epoch>> {
        self.pass()?.epochs(service, scopes).await
    }
    async fn check(&self, service: &Name, token: &TokenFacts) -> Result<Verdict> {
        self.pass()?.check(service, token).await
    }
    async fn agree(
        &self,
        service: &Name,
        ours: &TokenSettings,
        before: Option<Ttl>,
    ) -> Result<TokenSettings> {
        self.pass()?.agree(service, ours, before).await
    }
    async fn floor(&self, service: &Name) -> Result<Epoch> {
        self.pass()?.floor(service).await
    }
}

/// A bus whose subscriptions receive what a test sends.
#[derive(Debug)]
pub(crate) struct Scripted {
    capabilities: EventCapabilities,
    pub(crate) senders: Mutex<Vec<FeedSender>>,
}

impl Scripted {
    pub(crate) fn like(bus: &dyn EventBus) -> Arc<Self> {
        Arc::new(Self { capabilities: bus.capabilities(), senders: Mutex::default() })
    }
}

#[async_trait]
impl EventBus for Scripted {
    fn capabilities(&self) -> EventCapabilities {
        self.capabilities
    }
    async fn publish(&self, _: &Envelope) -> Result<()> {
        Err(down(Effect::NotApplied))
    }
    async fn subscribe(&self, options: SubscribeOptions) -> Result<Box<dyn Subscription>> {
        let (sender, feed) = feed(options.buffer, || ());
        self.senders.lock().unwrap().push(sender);
        Ok(Box::new(feed))
    }
}
