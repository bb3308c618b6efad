//! Rate limits in the file, as the fields of [`Usage`].

use async_trait::async_trait;
use stanchion::Result;
use stanchion::clock::{Clock, SystemClock};
use stanchion::contract::Contract;
use stanchion::key::Key;
use stanchion::limit::{
    AttemptOutcome, AttemptRequest, Decision, Grant, LeaseOutcome, LeaseRequest, LimitCapabilities,
    LimitTime, RateLimiter, Settlement, Tier, TierStatus, Usage,
};
use stanchion::time::Ttl;

use super::state::{Change, Files, not_here};

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl RateLimiter for Files {
    fn capabilities(&self) -> LimitCapabilities {
        LimitCapabilities::new(Contract::V1)
    }

    async fn check(&self, key: &Key, tiers: &[Tier], cost: u32) -> Result<Decision> {
        self.change(Change::Limit, |state| {
            let stored = state.limits.get(key.as_str()).cloned().unwrap_or_default();
            let mut usage = Usage::from_fields(stored)?;
            let decision = usage.check(tiers, cost, LimitTime::wall(SystemClock.wall()));
            if decision.is_allowed() {
                state.limits.insert(key.as_str().to_owned(), usage.fields().collect());
            }
            Ok(decision)
        })
    }

    async fn peek(&self, _key: &Key, _tiers: &[Tier]) -> Result<Vec<TierStatus>> {
        not_here()
    }

    async fn refund(&self, _key: &Key, _tiers: &[Tier], _cost: u32) -> Result<()> {
        not_here()
    }

    async fn take_up_to(&self, _key: &Key, _tiers: &[Tier], _most: u32) -> Result<Grant> {
        not_here()
    }

    async fn add(&self, _key: &Key, _permits: u32, _life: Ttl) -> Result<u32> {
        not_here()
    }

    async fn reset(&self, _key: &Key) -> Result<()> {
        not_here()
    }

    async fn lease(&self, _key: &Key, _request: &LeaseRequest) -> Result<LeaseOutcome> {
        not_here()
    }

    async fn give_back(&self, _key: &Key, _holder: &str) -> Result<bool> {
        not_here()
    }

    async fn attempt(&self, _key: &Key, _request: &AttemptRequest) -> Result<AttemptOutcome> {
        not_here()
    }

    async fn settle(&self, _key: &Key, _settlement: &Settlement) -> Result<()> {
        not_here()
    }
}
