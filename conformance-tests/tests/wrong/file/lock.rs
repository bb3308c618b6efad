//! Locks in the file.

use std::time::Duration;

use async_trait::async_trait;
use stanchion::Result;
use stanchion::contract::Contract;
use stanchion::key::Key;
use stanchion::lock::{
    AcquireOutcome, Fence, Lease, LockCapabilities, LockRequest, Locker, ReleaseOutcome, RenewOutcome,
};

use super::state::{self, Change, Files, State, not_here, now};

impl State {
    fn holder(&self, key: &str) -> Option<&state::Lease> {
        self.locks.get(key).filter(|held| held.until > now())
    }
}

fn left(held: &state::Lease) -> Duration {
    Duration::from_micros(held.until.saturating_sub(now()))
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Locker for Files {
    fn capabilities(&self) -> LockCapabilities {
        LockCapabilities::new(Contract::V1)
    }

    async fn acquire(&self, request: &LockRequest) -> Result<AcquireOutcome> {
        self.change(Change::Lock, |state| {
            let (key, token) = (request.key.as_str().to_owned(), request.token.to_hex());
            if let Some(held) = state.holder(&key).filter(|held| held.token != token) {
                return Ok(AcquireOutcome::Busy { remaining: left(held) });
            }
            let last = state.fences.get(&key).copied().unwrap_or_default();
            let fence = if state.holder(&key).is_some() { last } else { now().max(last + 1) };
            state.fences.insert(key.clone(), fence);
            state.locks.insert(key, state::Lease { token, until: now() + request.lease.as_millis() * 1_000 });
            let LockRequest { key, token, lease, .. } = request.clone();
            Ok(AcquireOutcome::Acquired(Lease::new(key, token, Fence::new(fence), lease)))
        })
    }

    async fn renew(&self, _leases: &[Lease]) -> Result<Vec<RenewOutcome>> {
        not_here()
    }

    async fn release(&self, lease: &Lease) -> Result<ReleaseOutcome> {
        self.change(Change::Lock, |state| {
            let (key, token) = (lease.key.as_str(), lease.token.to_hex());
            if state.holder(key).is_none_or(|held| held.token != token) {
                return Ok(ReleaseOutcome::WasLost);
            }
            state.locks.remove(key);
            Ok(ReleaseOutcome::Released)
        })
    }

    async fn inspect(&self, key: &Key) -> Result<Option<(Fence, Duration)>> {
        self.look(|state| {
            let fence = state.fences.get(key.as_str()).copied().map(Fence::new);
            fence.zip(state.holder(key.as_str()).map(left))
        })
    }
}
