//! A rate limiter with a layer around each call.

use async_trait::async_trait;

use super::{Around, Layered};
use crate::error::Result;
use crate::key::Key;
use crate::layer::Call;
use crate::limit::{Decision, LimitCapabilities, RateLimiter, Tier, TierStatus};

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

    async fn peek(&self, key: &Key, tiers: &[Tier]) -> Result<Vec<TierStatus>> {
        self.around.call(Call::LIMIT_PEEK, || self.inner.peek(key, tiers)).await
    }

    async fn refund(&self, key: &Key, tiers: &[Tier], cost: u32) -> Result<()> {
        self.around.call(Call::LIMIT_REFUND, || self.inner.refund(key, tiers, cost)).await
    }
}
