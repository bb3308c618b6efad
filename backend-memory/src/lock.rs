//! Locks.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use stanchion::Result;
use stanchion::key::Key;
use stanchion::lock::{
    AcquireOutcome, Fence, Lease, LockCapabilities, LockRequest, LockToken, Locker, ReleaseOutcome,
    RenewOutcome,
};

use crate::expiring::Expiring;
use crate::shared::{CONTRACT, Handle, NEVER_WAITS, locked};

/// How long the last fence is remembered after its lease. Later ones are greater all the same, since they are
/// made of the time; only a wall clock set back by more than this would show.
const FENCE_KEPT: Duration = Duration::from_hours(24);

#[derive(Debug, Default)]
pub(crate) struct State {
    held: Expiring<Key, Held>,
    fences: Expiring<Key, Fence>,
}

#[derive(Debug)]
struct Held {
    token: LockToken,
    fence: Fence,
}

#[derive(Debug)]
pub(crate) struct MemoryLocks {
    handle: Arc<Handle>,
    state: Arc<Mutex<State>>,
}

impl MemoryLocks {
    pub(crate) fn new(handle: &Arc<Handle>, state: &Arc<Mutex<State>>) -> Self {
        Self { handle: Arc::clone(handle), state: Arc::clone(state) }
    }
}

#[async_trait]
impl Locker for MemoryLocks {
    fn capabilities(&self) -> LockCapabilities {
        LockCapabilities::new(CONTRACT).call_deadline(NEVER_WAITS)
    }

    async fn acquire(&self, request: &LockRequest) -> Result<AcquireOutcome> {
        self.handle.operate("lock.acquire", || {
            let (mut state, now) = (locked(&self.state), self.handle.now());
            let state = &mut *state;
            state.held.purge(now);
            state.fences.purge(now);
            let until = now.saturating_add(request.lease.as_duration());
            if let Some(held) = state.held.get(&request.key, now) {
                if held.token != request.token {
                    let free_at = state.held.deadline(&request.key, now).unwrap_or(now);
                    return Ok(AcquireOutcome::Busy { remaining: free_at.saturating_since(now) });
                }
                let fence = held.fence;
                state.held.extend(&request.key, until, now);
                state.fences.extend(&request.key, until.saturating_add(FENCE_KEPT), now);
                return Ok(AcquireOutcome::Acquired(Lease::new(
                    request.key.clone(),
                    request.token.clone(),
                    fence,
                    request.lease,
                )));
            }
            let last = state.fences.get(&request.key, now).map_or(0, |fence| fence.get());
            let fence = Fence::new(self.handle.wall().as_micros().max(last.saturating_add(1)));
            state.fences.insert(request.key.clone(), fence, until.saturating_add(FENCE_KEPT));
            state.held.insert(request.key.clone(), Held { token: request.token.clone(), fence }, until);
            Ok(AcquireOutcome::Acquired(Lease::new(
                request.key.clone(),
                request.token.clone(),
                fence,
                request.lease,
            )))
        })
    }

    async fn renew(&self, leases: &[Lease]) -> Result<Vec<RenewOutcome>> {
        self.handle.operate("lock.renew", || {
            let (mut state, now) = (locked(&self.state), self.handle.now());
            Ok(leases
                .iter()
                .map(|lease| {
                    let until = now.saturating_add(lease.lease.as_duration());
                    let mine = state.held.get(&lease.key, now).is_some_and(|held| held.token == lease.token);
                    if mine && state.held.extend(&lease.key, until, now) {
                        state.fences.extend(&lease.key, until.saturating_add(FENCE_KEPT), now);
                        RenewOutcome::Held
                    } else {
                        RenewOutcome::Lost
                    }
                })
                .collect())
        })
    }

    async fn release(&self, lease: &Lease) -> Result<ReleaseOutcome> {
        self.handle.operate("lock.release", || {
            let (mut state, now) = (locked(&self.state), self.handle.now());
            if state.held.get(&lease.key, now).is_some_and(|held| held.token == lease.token) {
                state.held.remove(&lease.key, now);
                Ok(ReleaseOutcome::Released)
            } else {
                Ok(ReleaseOutcome::WasLost)
            }
        })
    }

    async fn inspect(&self, key: &Key) -> Result<Option<(Fence, Duration)>> {
        self.handle.operate("lock.inspect", || {
            let (state, now) = (locked(&self.state), self.handle.now());
            let until = state.held.deadline(key, now);
            Ok(state
                .held
                .get(key, now)
                .zip(until)
                .map(|(held, until)| (held.fence, until.saturating_since(now))))
        })
    }
}

#[cfg(test)]
mod tests {
    use stanchion::clock::{Clock, ManualClock};
    use stanchion::environment::Environment;
    use stanchion::time::Ttl;

    use super::*;

    async fn fence_of(locker: &dyn Locker, name: &str) -> Fence {
        let request =
            LockRequest::new(Key::new("locks", "t", name).unwrap(), LockToken::new([1; 16]), Ttl::MIN);
        match locker.acquire(&request).await.unwrap() {
            AcquireOutcome::Acquired(lease) => {
                assert_eq!(locker.release(&lease).await.unwrap(), ReleaseOutcome::Released);
                lease.fence
            }
            busy => panic!("{busy:?}"),
        }
    }

    #[tokio::test]
    async fn fences_grow_while_the_wall_clock_goes_back_and_are_forgotten_after_a_day() {
        let clock = ManualClock::new();
        let environment = Environment::system().clock(Arc::new(clock.clone()));
        let (handle, state) = (Handle::new(environment, 0), Arc::default());
        let locker = MemoryLocks::new(&handle, &state);
        let first = fence_of(&locker, "a").await;
        assert_eq!(first.get(), clock.wall().as_micros());
        clock.set_wall(stanchion::time::Timestamp::from_secs(1));
        assert_eq!(fence_of(&locker, "a").await.get(), first.get() + 1);
        for n in 0..100 {
            fence_of(&locker, &n.to_string()).await;
        }
        clock.advance(FENCE_KEPT + Duration::from_millis(1));
        for _ in 0..100 {
            fence_of(&locker, "b").await;
        }
        assert_eq!(locked(&state).fences.len(), 1);
        assert_eq!(locked(&state).held.len(), 0);
    }
}
