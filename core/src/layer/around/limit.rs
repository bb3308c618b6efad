//! A rate limiter with a layer around each call.

use async_trait::async_trait;

use super::{Around, Layered};
use crate::error::Result;
use crate::key::Key;
use crate::layer::Call;
use crate::limit::{
    AttemptOutcome, AttemptRequest, Decision, Grant, LeaseOutcome, LeaseRequest, LimitCapabilities,
    RateLimiter, Settlement, Tier, TierStatus,
};
use crate::time::Ttl;

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<A: Around> RateLimiter for Layered<dyn RateLimiter, A> {
    fn capabilities(&self) -> LimitCapabilities {
        let mut capabilities = self.inner.capabilities();
        capabilities.base = self.base(capabilities.base);
        capabilities
    }

    async fn check(&self, key: &Key, tiers: &[Tier], cost: u32) -> Result<Decision> {
        self.around.call(Call::LIMIT_CHECK, || self.inner.check(key, tiers, cost)).await
    }

    async fn take_up_to(&self, key: &Key, tiers: &[Tier], most: u32) -> Result<Grant> {
        self.around.call(Call::LIMIT_TAKE_UP_TO, || self.inner.take_up_to(key, tiers, most)).await
    }

    async fn peek(&self, key: &Key, tiers: &[Tier]) -> Result<Vec<TierStatus>> {
        self.around.call(Call::LIMIT_PEEK, || self.inner.peek(key, tiers)).await
    }

    async fn refund(&self, key: &Key, tiers: &[Tier], cost: u32) -> Result<()> {
        self.around.call(Call::LIMIT_REFUND, || self.inner.refund(key, tiers, cost)).await
    }

    async fn add(&self, key: &Key, permits: u32, life: Ttl) -> Result<u32> {
        self.around.call(Call::LIMIT_ADD, || self.inner.add(key, permits, life)).await
    }

    async fn reset(&self, key: &Key) -> Result<()> {
        self.around.call(Call::LIMIT_RESET, || self.inner.reset(key)).await
    }

    async fn lease(&self, key: &Key, request: &LeaseRequest) -> Result<LeaseOutcome> {
        self.around.call(Call::LIMIT_LEASE, || self.inner.lease(key, request)).await
    }

    async fn give_back(&self, key: &Key, holder: &str) -> Result<bool> {
        self.around.call(Call::LIMIT_GIVE_BACK, || self.inner.give_back(key, holder)).await
    }

    async fn attempt(&self, key: &Key, request: &AttemptRequest) -> Result<AttemptOutcome> {
        self.around.call(Call::LIMIT_ATTEMPT, || self.inner.attempt(key, request)).await
    }

    async fn settle(&self, key: &Key, settlement: &Settlement) -> Result<()> {
        self.around.call(Call::LIMIT_SETTLE, || self.inner.settle(key, settlement)).await
    }
}
