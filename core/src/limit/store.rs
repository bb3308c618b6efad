//! What a rate-limit backend implements.

use std::fmt;

use async_trait::async_trait;

use super::{Decision, LimitCapabilities, Tier, TierStatus};
use crate::error::Result;
use crate::key::Key;

/// GCRA over keys, by the store's own clock. Services use [`Limits`](super::Limits) instead.
///
/// # Contract
/// - `check` is one atomic step over all tiers, for every process on the same data: permits are taken from every one or
///   from none. What is denied is not charged. (A mutex is no transaction.)
/// - Within any span `t` no tier gives more than `burst + t × limit / period` permits.
/// - Every answer is that of [`Gcra`](super::Gcra), to the microsecond.
/// - 1 to [`max_tiers`](LimitCapabilities::max_tiers) different tiers, anything else is `InvalidInput`. A cost of zero takes nothing and is allowed.
/// - State expires by itself once every tier is full again.
/// - Where the store's clock is a wall clock, a step back of it gives nothing back, and denies for no longer than the limit
///   itself would: what was stored further ahead than a burst takes counts as a burst. A step forth gives no more than a
///   burst.
///
/// # Cancel safety
/// Dropping a future of any method leaves the operation either not done or wholly done.
#[async_trait]
pub trait RateLimiter: fmt::Debug + Send + Sync + 'static {
    /// What this backend can take; constant over its life.
    fn capabilities(&self) -> LimitCapabilities;

    /// Takes `cost` permits from every tier, or none.
    async fn check(&self, key: &Key, tiers: &[Tier], cost: u32) -> Result<Decision>;

    /// What is left in each tier; takes nothing.
    async fn peek(&self, key: &Key, tiers: &[Tier]) -> Result<Vec<TierStatus>>;

    /// Gives permits back, to at most the burst.
    async fn refund(&self, key: &Key, tiers: &[Tier], cost: u32) -> Result<()>;
}
