//! Limits: permits, leases of what is in flight, and failed attempts, each by a key of its own.

mod attempts;
mod leases;
mod permits;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use stanchion::Result;
use stanchion::key::Key;
use stanchion::limit::{
    AttemptOutcome, AttemptRequest, Decision, Grant, LeaseOutcome, LeaseRequest, LimitCapabilities,
    RateLimiter, Settlement, Tier, TierStatus,
};
use stanchion::time::{Monotonic, Timestamp, Ttl};

use crate::shared::{CONTRACT, Handle, NEVER_WAITS, locked};

/// Everything that is limited.
#[derive(Debug, Default)]
pub(crate) struct State {
    permits: permits::State,
    leases: leases::State,
    attempts: attempts::State,
}

#[derive(Debug)]
pub(crate) struct MemoryLimits {
    handle: Arc<Handle>,
    state: Arc<Mutex<State>>,
}

/// The most leases of one subject.
const MAX_LEASES: u32 = 10_000;

impl MemoryLimits {
    pub(crate) fn new(handle: &Arc<Handle>, state: &Arc<Mutex<State>>) -> Self {
        Self { handle: Arc::clone(handle), state: Arc::clone(state) }
    }

    /// Runs one step of permits, of tiers that are in order.
    fn permits<T>(
        &self,
        operation: &'static str,
        tiers: &[Tier],
        step: impl FnOnce(&mut permits::State, &permits::Now) -> T,
    ) -> Result<T> {
        self.handle.operate(operation, || {
            self.capabilities().check_tiers(tiers)?;
            Ok(self.step(|state, now| step(&mut state.permits, now)))
        })
    }

    fn step<T>(&self, step: impl FnOnce(&mut State, &permits::Now) -> T) -> T {
        let mut state = locked(&self.state);
        let now = permits::Now::new(self.handle.now(), self.handle.wall());
        step(&mut state, &now)
    }
}

/// The algorithms take microseconds of any clock; this one never goes back.
fn instant(now: Monotonic) -> Timestamp {
    Timestamp::from_micros(0).saturating_add(now.since_origin())
}

#[async_trait]
impl RateLimiter for MemoryLimits {
    fn capabilities(&self) -> LimitCapabilities {
        LimitCapabilities::new(CONTRACT).call_deadline(NEVER_WAITS).max_leases(MAX_LEASES).attempts()
    }

    async fn check(&self, key: &Key, tiers: &[Tier], cost: u32) -> Result<Decision> {
        self.permits("limit.check", tiers, |state, now| state.check(key, tiers, cost, now))
    }

    async fn take_up_to(&self, key: &Key, tiers: &[Tier], most: u32) -> Result<Grant> {
        self.permits("limit.take_up_to", tiers, |state, now| state.take_up_to(key, tiers, most, now))
    }

    async fn peek(&self, key: &Key, tiers: &[Tier]) -> Result<Vec<TierStatus>> {
        self.permits("limit.peek", tiers, |state, now| state.peek(key, tiers, now))
    }

    async fn refund(&self, key: &Key, tiers: &[Tier], cost: u32) -> Result<()> {
        self.permits("limit.refund", tiers, |state, now| state.refund(key, tiers, cost, now))
    }

    async fn add(&self, key: &Key, permits: u32, life: Ttl) -> Result<u32> {
        self.handle.operate("limit.add", || {
            LimitCapabilities::check_added(permits)?;
            Ok(self.step(|state, now| state.permits.add(key, permits, life, now)))
        })
    }

    async fn reset(&self, key: &Key) -> Result<()> {
        self.handle.operate("limit.reset", || {
            self.step(|state, now| state.permits.reset(key, now));
            Ok(())
        })
    }

    async fn lease(&self, key: &Key, request: &LeaseRequest) -> Result<LeaseOutcome> {
        self.handle.operate("limit.lease", || {
            self.capabilities().check_leases(request.most)?;
            Ok(self.step(|state, now| state.leases.lease(key, request, now.monotonic)))
        })
    }

    async fn give_back(&self, key: &Key, holder: &str) -> Result<bool> {
        self.handle.operate("limit.give_back", || {
            Ok(self.step(|state, now| state.leases.give_back(key, holder, now.monotonic)))
        })
    }

    async fn attempt(&self, key: &Key, request: &AttemptRequest) -> Result<AttemptOutcome> {
        self.handle.operate("limit.attempt", || {
            request.check()?;
            Ok(self.step(|state, now| state.attempts.attempt(key, request, now.monotonic)))
        })
    }

    async fn settle(&self, key: &Key, settlement: &Settlement) -> Result<()> {
        self.handle.operate("limit.settle", || {
            settlement.check()?;
            self.step(|state, now| state.attempts.settle(key, settlement, now.monotonic));
            Ok(())
        })
    }
}
