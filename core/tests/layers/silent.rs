//! A store of everything that never answers.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use stanchion::Result;
use stanchion::cache::{
    CacheCapabilities, CacheCounters, CacheFeed, CacheLeases, CacheStore, CacheTags, Fetched, Fill,
    FillOutcome, Generation, LeaseRequest, Release, SetEntry, SetOptions, SetOutcome, Shard, Tag,
};
use stanchion::contract::{BaseCapabilities, Contract};
use stanchion::environment::Environment;
use stanchion::event::{Envelope, EventBus, EventCapabilities, SubscribeOptions, Subscription};
use stanchion::key::{Key, Name};
use stanchion::limit::{
    AttemptOutcome, AttemptRequest, Decision, Grant, LeaseOutcome, LeaseRequest as PlaceRequest,
    LimitCapabilities, RateLimiter, Settlement, Tier, TierStatus,
};
use stanchion::lock::{
    AcquireOutcome, Fence, Lease, LockCapabilities, LockRequest, Locker, ReleaseOutcome, RenewOutcome,
};
use stanchion::session::outbox::{
    OutboxBounds, OutboxId, OutboxPage, OutboxPosition, PublisherId, ReapCursor, Reaped,
};
use stanchion::session::{
    CreateOutcome, NewSession, Patch, PatchOutcome, RotateOutcome, Rotation, SessionBounds,
    SessionCapabilities, SessionId, SessionOutbox, SessionRecord, SessionStore, SessionSummary, TouchOutcome,
};
use stanchion::stores::{Stores, StoresBuilder};
use stanchion::time::{Timestamp, Ttl};
use stanchion::token::{
    Epoch, FamilyId, FirstUses, NewFamily, RefreshFamilies, RotateOutcome as FamilyOutcome,
    Rotation as FamilyRotation, Scope, TokenCapabilities, TokenFacts, TokenSettings, TokenStore, Verdict,
};

/// With the deadline that it declares, and does not keep.
#[derive(Debug, Default)]
pub(crate) struct Silent(pub(crate) Option<Duration>);

/// Everything from one that never answers.
pub(crate) fn silent(environment: Environment, declares: Option<Duration>) -> StoresBuilder {
    let silent = Arc::new(Silent(declares));
    Stores::builder(environment)
        .cache(silent.clone())
        .sessions(silent.clone())
        .events(silent.clone())
        .locks(silent.clone())
        .limits(silent.clone())
        .tokens(silent)
}

impl Silent {
    fn base(&self) -> BaseCapabilities {
        let mut base = BaseCapabilities::new(Contract::V1);
        base.call_deadline = self.0;
        base
    }
}

/// Capabilities with the deadline that is declared.
macro_rules! capabilities {
    ($capabilities:ident) => {
        fn capabilities(&self) -> $capabilities {
            let mut capabilities = $capabilities::new(Contract::V1);
            capabilities.base = self.base();
            capabilities
        }
    };
}

#[async_trait]
impl CacheStore for Silent {
    capabilities!(CacheCapabilities);
    fn leases(&self) -> Option<&dyn CacheLeases> {
        Some(self)
    }
    fn tags(&self) -> Option<&dyn CacheTags> {
        Some(self)
    }
    fn feed(&self) -> Option<&dyn CacheFeed> {
        None
    }
    fn counters(&self) -> Option<&dyn CacheCounters> {
        Some(self)
    }
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(1)
    }
    fn shard_of(&self, _: &Key) -> Shard {
        Shard::ONLY
    }
    async fn get(&self, _: &Key) -> Result<Option<Bytes>> {
        pending().await
    }
    async fn get_many(&self, _: &[Key]) -> Result<Vec<Option<Bytes>>> {
        pending().await
    }
    async fn get_many_with_ttl(&self, _: &[Key]) -> Result<Vec<Option<(Bytes, Ttl)>>> {
        pending().await
    }
    async fn set(&self, _: &Key, _: Bytes, _: &SetOptions) -> Result<SetOutcome> {
        pending().await
    }
    async fn set_many(&self, _: &[SetEntry]) -> Result<Vec<SetOutcome>> {
        pending().await
    }
    async fn remove_many(&self, _: &[Key]) -> Result<u64> {
        pending().await
    }
    async fn touch(&self, _: &Key, _: Ttl) -> Result<bool> {
        pending().await
    }
    async fn ttl(&self, _: &Key) -> Result<Option<Ttl>> {
        pending().await
    }
}

#[async_trait]
impl CacheLeases for Silent {
    async fn fetch(&self, _: &[LeaseRequest]) -> Result<Vec<Fetched>> {
        pending().await
    }
    async fn fill(&self, _: &[Fill]) -> Result<Vec<FillOutcome>> {
        pending().await
    }
    async fn release(&self, _: &[Release]) -> Result<()> {
        pending().await
    }
}

#[async_trait]
impl CacheTags for Silent {
    async fn generations(&self, _: &[Tag]) -> Result<Vec<(Generation, Duration)>> {
        pending().await
    }
    async fn bump(&self, _: &[Tag]) -> Result<Vec<Generation>> {
        pending().await
    }
}

#[async_trait]
impl CacheCounters for Silent {
    async fn add(&self, _: &Key, _: i64, _: Ttl) -> Result<i64> {
        pending().await
    }
}

#[async_trait]
impl SessionStore for Silent {
    capabilities!(SessionCapabilities);
    fn outbox(&self) -> Option<&dyn SessionOutbox> {
        Some(self)
    }
    fn bounded(&self, _: SessionBounds) -> Arc<dyn SessionStore> {
        Arc::new(Self(self.0))
    }
    async fn create(&self, _: &Name, _: NewSession) -> Result<CreateOutcome> {
        pending().await
    }
    async fn load(&self, _: &Name, _: &SessionId) -> Result<Option<SessionRecord>> {
        pending().await
    }
    async fn use_session(&self, _: &Name, _: &SessionId) -> Result<Option<SessionRecord>> {
        pending().await
    }
    async fn patch(&self, _: &Name, _: &SessionId, _: &Patch) -> Result<PatchOutcome> {
        pending().await
    }
    async fn touch(&self, _: &Name, _: &SessionId) -> Result<TouchOutcome> {
        pending().await
    }
    async fn rotate(&self, _: &Name, _: &str, _: &SessionId, _: &Rotation) -> Result<RotateOutcome> {
        pending().await
    }
    async fn destroy(&self, _: &Name, _: &SessionId) -> Result<Option<SessionRecord>> {
        pending().await
    }
    async fn list(&self, _: &Name, _: &str) -> Result<Vec<SessionSummary>> {
        pending().await
    }
    async fn destroy_all(&self, _: &Name, _: &str, _: Option<&SessionId>) -> Result<Vec<SessionId>> {
        pending().await
    }
}

#[async_trait]
impl SessionOutbox for Silent {
    fn bounds(&self) -> OutboxBounds {
        OutboxBounds::new()
    }
    fn outbox_of(&self, _: &SessionId) -> OutboxId {
        OutboxId::new(0)
    }
    async fn lead(&self, _: &Name, _: &PublisherId, _: Ttl) -> Result<bool> {
        pending().await
    }
    async fn reap(&self, _: &Name, _: ReapCursor, _: usize) -> Result<Reaped> {
        pending().await
    }
    async fn read(&self, _: &Name, _: OutboxId, _: &PublisherId, _: Ttl, _: usize) -> Result<OutboxPage> {
        pending().await
    }
    async fn acknowledge(&self, _: &Name, _: OutboxId, _: &PublisherId, _: &[OutboxPosition]) -> Result<u64> {
        pending().await
    }
}

#[async_trait]
impl EventBus for Silent {
    capabilities!(EventCapabilities);
    async fn publish(&self, _: &Envelope) -> Result<()> {
        pending().await
    }
    async fn subscribe(&self, _: SubscribeOptions) -> Result<Box<dyn Subscription>> {
        pending().await
    }
}

#[async_trait]
impl Locker for Silent {
    capabilities!(LockCapabilities);
    async fn acquire(&self, _: &LockRequest) -> Result<AcquireOutcome> {
        pending().await
    }
    async fn renew(&self, _: &[Lease]) -> Result<Vec<RenewOutcome>> {
        pending().await
    }
    async fn release(&self, _: &Lease) -> Result<ReleaseOutcome> {
        pending().await
    }
    async fn inspect(&self, _: &Key) -> Result<Option<(Fence, Duration)>> {
        pending().await
    }
}

#[async_trait]
impl RateLimiter for Silent {
    capabilities!(LimitCapabilities);
    async fn check(&self, _: &Key, _: &[Tier], _: u32) -> Result<Decision> {
        pending().await
    }
    async fn peek(&self, _: &Key, _: &[Tier]) -> Result<Vec<TierStatus>> {
        pending().await
    }
    async fn refund(&self, _: &Key, _: &[Tier], _: u32) -> Result<()> {
        pending().await
    }
    async fn take_up_to(&self, _: &Key, _: &[Tier], _: u32) -> Result<Grant> {
        pending().await
    }
    async fn add(&self, _: &Key, _: u32, _: Ttl) -> Result<u32> {
        pending().await
    }
    async fn reset(&self, _: &Key) -> Result<()> {
        pending().await
    }
    async fn lease(&self, _: &Key, _: &PlaceRequest) -> Result<LeaseOutcome> {
        pending().await
    }
    async fn give_back(&self, _: &Key, _: &str) -> Result<bool> {
        pending().await
    }
    async fn attempt(&self, _: &Key, _: &AttemptRequest) -> Result<AttemptOutcome> {
        pending().await
    }
    async fn settle(&self, _: &Key, _: &Settlement) -> Result<()> {
        pending().await
    }
}

#[async_trait]
impl FirstUses for Silent {
    async fn claim(&self, _: &Name, _: &str, _: Ttl) -> Result<bool> {
        pending().await
    }
}

#[async_trait]
impl RefreshFamilies for Silent {
    async fn open_family(&self, _: &Name, _: &NewFamily) -> Result<bool> {
        pending().await
    }
    async fn rotate(&self, _: &Name, _: &FamilyRotation) -> Result<FamilyOutcome> {
        pending().await
    }
    async fn end_family(&self, _: &Name, _: &FamilyId) -> Result<Option<Bytes>> {
        pending().await
    }
}

#[async_trait]
impl TokenStore for Silent {
    capabilities!(TokenCapabilities);
    fn first_uses(&self) -> Option<&dyn FirstUses> {
        Some(self)
    }
    fn families(&self) -> Option<&dyn RefreshFamilies> {
        Some(self)
    }
    async fn revoke(&self, _: &Name, _: &str, _: Ttl) -> Result<()> {
        pending().await
    }
    async fn revoke_all(&self, _: &Name, _: &Scope, _: Ttl) -> Result<Epoch> {
        pending().await
    }
    async fn epochs(&self, _: &Name, _: &[Scope]) -> Result<Vec<Epoch>> {
        pending().await
    }
    async fn check(&self, _: &Name, _: &TokenFacts) -> Result<Verdict> {
        pending().await
    }
    async fn agree(&self, _: &Name, _: &TokenSettings, _: Option<Ttl>) -> Result<TokenSettings> {
        pending().await
    }
    async fn floor(&self, _: &Name) -> Result<Epoch> {
        pending().await
    }
}
