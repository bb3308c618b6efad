//! Rate limits of one kind.

use std::sync::Arc;
use std::time::Duration;

use super::telemetry::Telemetry;
use super::{Decision, RateLimiter, Tier, TierStatus};
use crate::environment::Environment;
use crate::error::Result;
use crate::key::{Identifier, Namespace};
use crate::layer::deadline::bounded;
use crate::time::{hours, minutes, seconds};

/// Builds [`Limits`].
#[derive(Debug)]
#[must_use = "call build()"]
pub struct LimitsBuilder {
    store: Result<Arc<dyn RateLimiter>>,
    kind: String,
    tiers: Vec<Result<Tier>>,
}

impl LimitsBuilder {
    /// Limits of one kind on any backend, without a bundle.
    pub fn new(store: Arc<dyn RateLimiter>, environment: &Environment, kind: &str) -> Self {
        Self::on(Ok(bounded(store, environment)), kind)
    }

    pub(crate) fn on(store: Result<Arc<dyn RateLimiter>>, kind: &str) -> Self {
        Self { store, kind: kind.into(), tiers: Vec::new() }
    }

    /// `n` at once, then evenly `n` a second: see [`per`](Self::per).
    pub fn per_second(self, n: u32) -> Self {
        self.per(n, seconds(1))
    }

    /// `n` at once, then evenly `n` a minute: see [`per`](Self::per).
    pub fn per_minute(self, n: u32) -> Self {
        self.per(n, minutes(1))
    }

    /// `n` at once, then evenly `n` an hour: see [`per`](Self::per).
    pub fn per_hour(self, n: u32) -> Self {
        self.per(n, hours(1))
    }

    /// `n` at once, then evenly `n` per `period`. Whoever has taken none for a while may so take up to `2 × n` within one
    /// period: the burst, and what comes back meanwhile. [`Tier::with_burst`] with a smaller burst bounds that
    /// ([`tier`](Self::tier)).
    pub fn per(mut self, n: u32, period: Duration) -> Self {
        self.tiers.push(Tier::new(n, period));
        self
    }

    /// A tier with a burst of its own.
    pub fn tier(mut self, tier: Tier) -> Self {
        self.tiers.push(Ok(tier));
        self
    }

    /// The limits.
    ///
    /// # Errors
    /// `InvalidInput` for a bad name, a bad tier, the same twice, none or more than the backend takes, 8 with every one;
    /// `Unsupported` if the stores have no rate limits.
    pub fn build(self) -> Result<Limits> {
        let store = self.store?;
        let tiers = self.tiers.into_iter().collect::<Result<Vec<_>>>()?;
        store.capabilities().check_tiers(&tiers)?;
        let namespace = Namespace::new("rate_limit", &self.kind)?;
        let telemetry = Arc::new(Telemetry::of(namespace.kind()));
        Ok(Limits { store, telemetry, namespace, tiers: tiers.into() })
    }
}

/// Rate limits of one kind, under `rate_limit:{kind}:{subject}`: a subject must stay within every tier.
///
/// # Errors
/// Every method that is `async` answers `InvalidInput` for a subject that is empty or longer than 512 bytes after
/// escaping, `Closed` once the stores are, and the store's error where it does not answer. That a request is denied is
/// no error.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> stanchion::Result<()> {
/// use stanchion::prelude::*;
/// use stanchion_memory::MemoryBackend;
///
/// let limits = MemoryBackend::new().stores().limits("login").per_minute(5).per_hour(20).build()?;
/// match limits.check("203.0.113.7").await? {
///     Decision::Allowed { .. } => println!("go on"),
///     Decision::Denied { retry_after, .. } => println!("429, Retry-After: {}", retry_after.as_secs() + 1),
///     Decision::CostExceedsCapacity { .. } => println!("413"),
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Limits {
    store: Arc<dyn RateLimiter>,
    telemetry: Arc<Telemetry>,
    namespace: Namespace,
    tiers: Arc<[Tier]>,
}

impl Limits {
    /// Takes one permit from every tier, or none.
    ///
    /// # Errors
    /// Those of [every method](Limits#errors). An error means that nobody knows: the caller decides whether to let the
    /// request through.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the permit either taken or not.
    pub async fn check(&self, subject: impl Identifier) -> Result<Decision> {
        self.check_cost(subject, 1).await
    }

    /// Takes `cost` permits from every tier, or none.
    ///
    /// # Errors
    /// As [`check`](Self::check). After `Unknown` the permits may have been taken.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the permits either taken or not.
    pub async fn check_cost(&self, subject: impl Identifier, cost: u32) -> Result<Decision> {
        let decision = self.store.check(&self.namespace.key(subject)?, &self.tiers, cost).await;
        self.telemetry.checked(&decision);
        decision
    }

    /// What is left to a subject in each tier; takes nothing.
    ///
    /// # Errors
    /// Those of [every method](Limits#errors).
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn peek(&self, subject: impl Identifier) -> Result<Vec<TierStatus>> {
        self.store.peek(&self.namespace.key(subject)?, &self.tiers).await
    }

    /// Gives permits back, for a request that was not served after all.
    ///
    /// # Errors
    /// Those of [every method](Limits#errors). After `Unknown` they may have been given back: refunding again may give back
    /// twice.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the permits either given back or not.
    pub async fn refund(&self, subject: impl Identifier, cost: u32) -> Result<()> {
        self.store.refund(&self.namespace.key(subject)?, &self.tiers, cost).await
    }

    /// The tiers, in the order of every answer.
    pub fn tiers(&self) -> &[Tier] {
        &self.tiers
    }
}
