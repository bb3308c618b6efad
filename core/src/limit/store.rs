//! What a rate-limit backend implements.

use std::fmt;

use async_trait::async_trait;

use super::{
    AttemptOutcome, AttemptRequest, Decision, Grant, LeaseOutcome, LeaseRequest, LimitCapabilities,
    Settlement, Tier, TierStatus,
};
use crate::error::Result;
use crate::key::Key;
use crate::time::Ttl;

/// Limits over keys, by the store's own clock. Services use [`Limits`](super::Limits), [`InFlight`](super::InFlight) and
/// [`Attempts`](crate::attempts::Attempts) instead.
///
/// # Contract
/// - Every method is one atomic step, for every process on the same data. (A mutex is no transaction.)
/// - `check` takes permits from every tier or from none. What is denied is not charged.
/// - Within any span `t` no tier gives more than `burst + t × limit / period` permits, a quota no more than its limit in a window
///   of its calendar, but for permits that were added.
/// - Every answer is that of [`Usage`](super::Usage), to the microsecond; so is that of attempts of
///   [`Failures`](super::Failures).
/// - 1 to [`max_tiers`](LimitCapabilities::max_tiers) different tiers, no two quotas of one calendar; anything else is
///   `InvalidInput`. A cost of zero takes nothing and is allowed.
/// - State expires by itself once it says nothing any more.
/// - A lease lasts for its own life, whatever others have asked for. Where the store's clock is a wall clock, a step back of it makes no
///   lease and no lock-out last for longer than the longest would from then on.
/// - Where the store's clock is a wall clock, a step back of it gives nothing back, and denies for no longer than the limit
///   itself would: what was stored further ahead than a burst takes counts as a burst. A step forth gives no more than a
///   burst.
/// - Leases, attempts and permits of one key do not share it: their façades give each a key of its own.
///
/// # Cancel safety
/// Dropping a future of any method leaves the operation either not done or wholly done.
#[async_trait]
pub trait RateLimiter: fmt::Debug + Send + Sync + 'static {
    /// What this backend can take; constant over its life.
    fn capabilities(&self) -> LimitCapabilities;

    /// Takes `cost` permits from every tier, or none; where a tier has too few, all of them from those that were added.
    async fn check(&self, key: &Key, tiers: &[Tier], cost: u32) -> Result<Decision>;

    /// Takes as many permits as there are, at most so many: what every tier has, and then of those that were added.
    async fn take_up_to(&self, key: &Key, tiers: &[Tier], most: u32) -> Result<Grant>;

    /// What is left in each tier; takes nothing.
    async fn peek(&self, key: &Key, tiers: &[Tier]) -> Result<Vec<TierStatus>>;

    /// Gives permits back, to at most the burst.
    async fn refund(&self, key: &Key, tiers: &[Tier], cost: u32) -> Result<()>;

    /// Adds permits beside all tiers, for `life`, and answers how many there are then; adding none is a look. More than
    /// [`Usage::MAX_EXTRA`](super::Usage::MAX_EXTRA) are `InvalidInput`.
    async fn add(&self, key: &Key, permits: u32, life: Ttl) -> Result<u32>;

    /// Forgets what was used of any tier, and permits that were added.
    async fn reset(&self, key: &Key) -> Result<()>;

    /// Grants a place among at most so many in flight, or renews one; a holder that has one is granted the same again.
    /// `Unsupported` without [`max_leases`](LimitCapabilities::max_leases).
    async fn lease(&self, key: &Key, request: &LeaseRequest) -> Result<LeaseOutcome>;

    /// Gives a place back; whether it was held.
    async fn give_back(&self, key: &Key, holder: &str) -> Result<bool>;

    /// Counts an attempt as failed before it is made, or says that it must not be made. A source without a name, or with one that is
    /// too long, is `InvalidInput` ([`AttemptRequest::check`]), and nothing is counted.
    /// `Unsupported` without [`attempts`](LimitCapabilities::attempts).
    async fn attempt(&self, key: &Key, request: &AttemptRequest) -> Result<AttemptOutcome>;

    /// Says what became of an attempt, or lifts lock-outs; a source as in [`attempt`](Self::attempt) ([`Settlement::check`]).
    async fn settle(&self, key: &Key, settlement: &Settlement) -> Result<()>;
}
