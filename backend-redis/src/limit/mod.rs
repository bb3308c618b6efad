//! Limits: permits, leases of what is in flight, and failed attempts, each by a key of its own.

mod attempts;
mod leases;
mod permits;

use std::sync::Arc;

use async_trait::async_trait;
use stanchion::Result;
use stanchion::key::Key;
use stanchion::limit::{
    AttemptOutcome, AttemptRequest, Decision, Grant, LeaseOutcome, LeaseRequest, LimitCapabilities,
    RateLimiter, Settlement, Tier, TierStatus,
};
use stanchion::time::Ttl;

use self::permits::Mode;
use crate::command::Call;
use crate::scripts;
use crate::shared::{CONTRACT, Shared};

#[derive(Debug)]
pub(crate) struct RedisLimits(pub(crate) Arc<Shared>);

/// The most leases of one subject.
const MAX_LEASES: u32 = 10_000;

#[async_trait]
impl RateLimiter for RedisLimits {
    fn capabilities(&self) -> LimitCapabilities {
        LimitCapabilities::new(CONTRACT).call_deadline(self.0.deadline).max_leases(MAX_LEASES).attempts()
    }

    async fn check(&self, key: &Key, tiers: &[Tier], cost: u32) -> Result<Decision> {
        let call = Call::write("limit.check");
        self.capabilities().check_tiers(tiers).map_err(|error| call.named(error))?;
        // No state is needed to see that it can never be allowed.
        if let Some(tier) = tiers.iter().position(|tier| cost > tier.burst()) {
            return Ok(Decision::CostExceedsCapacity { tier });
        }
        let reply = self.permits(call, Mode::Take, key, tiers, cost).await?;
        reply.decision(tiers.len()).ok_or_else(|| call.unexpected())
    }

    async fn take_up_to(&self, key: &Key, tiers: &[Tier], most: u32) -> Result<Grant> {
        let call = Call::write("limit.take_up_to");
        let reply = self.permits(call, Mode::UpTo, key, tiers, most).await?;
        reply.granted(most).ok_or_else(|| call.unexpected())
    }

    async fn peek(&self, key: &Key, tiers: &[Tier]) -> Result<Vec<TierStatus>> {
        Ok(self.permits(Call::read("limit.peek"), Mode::Take, key, tiers, 0).await?.tiers)
    }

    async fn refund(&self, key: &Key, tiers: &[Tier], cost: u32) -> Result<()> {
        self.permits(Call::write("limit.refund"), Mode::Refund, key, tiers, cost).await.map(drop)
    }

    async fn add(&self, key: &Key, permits: u32, life: Ttl) -> Result<u32> {
        self.add_permits(Call::write("limit.add"), key, permits, life).await
    }

    async fn reset(&self, key: &Key) -> Result<()> {
        let key = self.0.layout().key(key);
        let call = Call::write("limit.reset");
        self.0.client.run(call, scripts::LIMIT_RESET.with(&[&key], &[])).await.map(drop)
    }

    async fn lease(&self, key: &Key, request: &LeaseRequest) -> Result<LeaseOutcome> {
        let call = Call::write("limit.lease");
        self.capabilities().check_leases(request.most).map_err(|error| call.named(error))?;
        self.lease_place(call, key, request).await
    }

    async fn give_back(&self, key: &Key, holder: &str) -> Result<bool> {
        self.give_place_back(Call::write("limit.give_back"), key, holder).await
    }

    async fn attempt(&self, key: &Key, request: &AttemptRequest) -> Result<AttemptOutcome> {
        let call = Call::write("limit.attempt");
        request.check().map_err(|error| call.named(error))?;
        self.count_attempt(call, key, request).await
    }

    async fn settle(&self, key: &Key, settlement: &Settlement) -> Result<()> {
        let call = Call::write("limit.settle");
        settlement.check().map_err(|error| call.named(error))?;
        self.settle_attempt(call, key, settlement).await
    }
}
