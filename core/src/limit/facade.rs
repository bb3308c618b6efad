//! Rate limits of one kind.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::denials::Denials;
use super::outage::Outage;
use super::subject::AddressPrefix;
use super::telemetry::Telemetry;
use super::waiting::Waiting;
use super::{Decision, Grant, RateHeaders, RateLimiter, Tier, TierStatus};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{Identifier, Key, Namespace};
use crate::random::jittered;
use crate::time::Ttl;

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
///     denied => println!("429, {:?}", denied.headers(&limits)),
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Limits {
    pub(super) shared: Arc<Shared>,
    pub(super) tiers: Arc<[Tier]>,
}

/// What all tiers of one kind share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) store: Arc<dyn RateLimiter>,
    pub(super) environment: Environment,
    pub(super) telemetry: Telemetry,
    pub(super) namespace: Namespace,
    pub(super) addresses: AddressPrefix,
    pub(super) outage: Outage,
    pub(super) denials: Denials,
    pub(super) waiting: Arc<Waiting>,
    pub(super) plans: HashMap<String, Arc<[Tier]>>,
}

impl Limits {
    /// The most that [wait for permits](Self::until_allowed_cost) at once in this process, of one kind.
    pub const MAX_WAITERS: usize = 10_000;
    /// The most of these that wait for one subject, under all limits together: so one subject does not take all places.
    pub const MAX_WAITERS_OF_ONE: usize = 1_000;

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
        self.decide(&self.key(subject)?, cost).await
    }

    async fn decide(&self, key: &Key, cost: u32) -> Result<Decision> {
        let Shared { store, environment, telemetry, denials, outage, .. } = &*self.shared;
        let asked_at = environment.clock.now();
        let decision = match denials.look(key, &self.tiers, cost, asked_at) {
            Ok(denied) => Ok(denied),
            Err(changes) => match store.check(key, &self.tiers, cost).await {
                Ok(decision) => {
                    let now = environment.clock.now();
                    denials.remember((key, &self.tiers, cost), &decision, changes, asked_at, now);
                    Ok(decision)
                }
                Err(error) => outage.decide(error, key, &self.tiers, cost, &*environment.clock),
            },
        };
        telemetry.checked(&decision);
        decision
    }

    /// Takes one permit, and waits for it for up to `wait`: see [`until_allowed_cost`](Self::until_allowed_cost).
    ///
    /// # Errors
    /// As [`until_allowed_cost`](Self::until_allowed_cost).
    ///
    /// # Cancel safety
    /// As that of [`check`](Self::check); the place in the line is left.
    pub async fn until_allowed(&self, subject: impl Identifier, wait: Duration) -> Result<Decision> {
        self.until_allowed_cost(subject, 1, wait).await
    }

    /// Takes `cost` permits, and waits for them for up to `wait`. It is denied as soon as it is known that they will not be there
    /// within that time.
    ///
    /// The last request is sent before the time is over; its answer may come after it, by the store's own deadline.
    ///
    /// Those who wait for one subject under the same tiers stand in line in this process: the first asks the store, at the time at which it
    /// may succeed, and the others wait for their turn and ask nothing. Whoever's time is over before its turn has come is denied as
    /// the first was, if that asked for as much. Waiters of other processes come at slightly different times.
    ///
    /// # Errors
    /// Those of [every method](Limits#errors); `Throttled` at once, and nothing was asked, if
    /// [`MAX_WAITERS`](Self::MAX_WAITERS) wait already, or [`MAX_WAITERS_OF_ONE`](Self::MAX_WAITERS_OF_ONE) for this subject; `Timeout` if
    /// the time is over before its turn has come, and the store has not denied as much to the one whose turn it is.
    ///
    /// # Cancel safety
    /// As that of [`check`](Self::check); the place in the line is left.
    pub async fn until_allowed_cost(
        &self,
        subject: impl Identifier,
        cost: u32,
        wait: Duration,
    ) -> Result<Decision> {
        let key = self.key(subject)?;
        let environment = &self.shared.environment;
        let deadline = environment.clock.now().saturating_add(wait);
        let waiter = self.shared.waiting.enter(&key, &self.tiers, cost)?;
        let _turn = tokio::select! {
            biased;
            turn = waiter.turn() => turn,
            () = environment.clock.sleep_until(deadline) => {
                return waiter.last_denial(environment.clock.now()).ok_or_else(|| {
                    let late = "whoever waits before this one was not answered, or asks for another number of permits";
                    Error::new(ErrorKind::Timeout, late).with_operation("limit.check")
                });
            }
        };
        loop {
            let asked_at = environment.clock.now();
            let decision = self.decide(&key, cost).await?;
            let Some(retry_after) = decision.retry_after() else { return Ok(decision) };
            waiter.was_denied(&decision, asked_at);
            // A store that denies for no time at all is not asked without a pause, nor for ever.
            let retry_after = retry_after.max(Duration::from_millis(1));
            let left = deadline.saturating_since(environment.clock.now());
            if retry_after > left {
                return Ok(decision);
            }
            // Never sooner; and a little later than others, though not so much that a permit is idle for long.
            let later = jittered(&*environment.random, retry_after / 16).saturating_sub(retry_after / 32);
            environment.sleep(retry_after.saturating_add(later).min(left)).await;
        }
    }

    /// Takes as many permits as there are in every tier, at most so many, and says how many.
    ///
    /// # Errors
    /// Those of [every method](Limits#errors). [`OnOutage`](super::OnOutage) says nothing of this call.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the permits either taken or not.
    pub async fn take_up_to(&self, subject: impl Identifier, most: u32) -> Result<Grant> {
        self.shared.store.take_up_to(&self.key(subject)?, &self.tiers, most).await
    }

    /// What is left to a subject in each tier; takes nothing.
    ///
    /// # Errors
    /// Those of [every method](Limits#errors).
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn peek(&self, subject: impl Identifier) -> Result<Vec<TierStatus>> {
        self.shared.store.peek(&self.key(subject)?, &self.tiers).await
    }

    /// Gives permits back, for a request that was not served after all. Soon: what has come back by itself meanwhile, and what was taken
    /// in an earlier window of a quota, is given back a second time.
    ///
    /// # Errors
    /// Those of [every method](Limits#errors). After `Unknown` they may have been given back: refunding again may give back
    /// twice.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the permits either given back or not.
    pub async fn refund(&self, subject: impl Identifier, cost: u32) -> Result<()> {
        let key = self.key(subject)?;
        let _changing = self.shared.denials.changing(&key);
        self.shared.store.refund(&key, &self.tiers, cost).await
    }

    /// Adds permits for a subject, beside all tiers, for `life`: they are taken where a tier has too few for a request, all of its cost
    /// from them. Answers how many there are then. Added to others, all of them last until the later end. Of a million at most;
    /// adding none is a look.
    ///
    /// # Errors
    /// Those of [every method](Limits#errors); `InvalidInput` over a million, or for a life of zero. After `Unknown` they may have been added.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the permits either added or not.
    pub async fn add(&self, subject: impl Identifier, permits: u32, life: Duration) -> Result<u32> {
        let (key, life) = (self.key(subject)?, Ttl::new(life)?);
        let _changing = self.shared.denials.changing(&key);
        self.shared.store.add(&key, permits, life).await
    }

    /// Forgets all that a subject has used, under any plan, and what was added for it.
    ///
    /// # Errors
    /// Those of [every method](Limits#errors).
    ///
    /// # Cancel safety
    /// Dropping the future leaves it either done or not.
    pub async fn reset(&self, subject: impl Identifier) -> Result<()> {
        let key = self.key(subject)?;
        let _changing = self.shared.denials.changing(&key);
        self.shared.store.reset(&key).await
    }

    /// The same limits with the tiers of a [plan](super::LimitsBuilder::plan). A subject keeps what it has used of periods that both
    /// plans have: see [`Usage`](super::Usage#when-a-limit-changes).
    ///
    /// # Errors
    /// `InvalidInput` if there is no such plan.
    pub fn plan(&self, name: &str) -> Result<Self> {
        let Some(tiers) = self.shared.plans.get(name) else {
            return Err(Error::invalid(format!("there is no plan {name:?} of {}", self.kind())));
        };
        Ok(Self { shared: Arc::clone(&self.shared), tiers: Arc::clone(tiers) })
    }

    /// The same limits with other tiers, such as a customer's own: as [`plan`](Self::plan).
    ///
    /// # Errors
    /// `InvalidInput` as for [`LimitsBuilder::build`](super::LimitsBuilder::build).
    pub fn with_tiers(&self, tiers: impl Into<Arc<[Tier]>>) -> Result<Self> {
        let tiers = tiers.into();
        self.shared.store.capabilities().check_tiers(&tiers)?;
        Ok(Self { shared: Arc::clone(&self.shared), tiers })
    }

    /// What an HTTP response says of these limits.
    pub fn headers(&self, decision: &Decision) -> RateHeaders {
        RateHeaders::new(self.kind(), &self.tiers, decision)
    }

    /// The tiers, in the order of every answer.
    pub fn tiers(&self) -> &[Tier] {
        &self.tiers
    }

    /// What is limited: the kind that they were built with.
    pub fn kind(&self) -> &str {
        self.shared.namespace.kind().as_str()
    }

    fn key(&self, subject: impl Identifier) -> Result<Key> {
        self.shared.addresses.key(&self.shared.namespace, subject)
    }
}

impl Decision {
    /// What the response says of these limits, by which the request was checked.
    pub fn headers(&self, limits: &Limits) -> RateHeaders {
        limits.headers(self)
    }
}
