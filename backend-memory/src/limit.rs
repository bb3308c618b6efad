//! Rate limits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use stanchion::Result;
use stanchion::key::Key;
use stanchion::limit::{Decision, Gcra, LimitCapabilities, RateLimiter, Tier, TierStatus};
use stanchion::time::{Monotonic, Timestamp};

use crate::expiring::Expiring;
use crate::shared::{CONTRACT, Handle, NEVER_WAITS, locked};

pub(crate) type State = Expiring<Key, HashMap<Tier, Gcra>>;

#[derive(Debug)]
pub(crate) struct MemoryLimits {
    handle: Arc<Handle>,
    state: Arc<Mutex<State>>,
}

impl MemoryLimits {
    pub(crate) fn new(handle: &Arc<Handle>, state: &Arc<Mutex<State>>) -> Self {
        Self { handle: Arc::clone(handle), state: Arc::clone(state) }
    }
}

/// The algorithm takes microseconds of any clock; this one never goes back.
fn instant(now: Monotonic) -> Timestamp {
    Timestamp::from_micros(0).saturating_add(now.since_origin())
}

fn states(state: &State, key: &Key, tiers: &[Tier], now: Monotonic) -> Vec<Gcra> {
    let stored = state.get(key, now);
    tiers.iter().map(|tier| stored.and_then(|stored| stored.get(tier)).copied().unwrap_or_default()).collect()
}

fn store(state: &mut State, key: &Key, tiers: &[Tier], states: &[Gcra], now: Monotonic) {
    state.purge(now);
    let full_in = tiers.iter().zip(states).map(|(tier, gcra)| gcra.full_in(tier, instant(now))).max();
    // Other tiers of the same key keep their own life.
    let until = now.saturating_add(full_in.unwrap_or_default()).max(state.deadline(key, now).unwrap_or(now));
    let changed = tiers.iter().copied().zip(states.iter().copied());
    if let Some(stored) = state.get_mut(key, now) {
        stored.extend(changed);
        // A full tier is as good as none, so that a key holds no more tiers than are in use.
        stored.retain(|tier, gcra| !gcra.full_in(tier, instant(now)).is_zero());
        state.extend(key, until, now);
    } else if until > now {
        state.insert(key.clone(), changed.collect(), until);
    }
}

#[async_trait]
impl RateLimiter for MemoryLimits {
    fn capabilities(&self) -> LimitCapabilities {
        LimitCapabilities::new(CONTRACT).call_deadline(NEVER_WAITS)
    }

    async fn check(&self, key: &Key, tiers: &[Tier], cost: u32) -> Result<Decision> {
        self.handle.operate("limit.check", || {
            self.capabilities().check_tiers(tiers)?;
            let (mut state, now) = (locked(&self.state), self.handle.now());
            let mut states = states(&state, key, tiers, now);
            let before = states.clone();
            let decision = Gcra::check(&mut states, tiers, cost, instant(now));
            if cost > 0 && states != before {
                store(&mut state, key, tiers, &states, now);
            }
            Ok(decision)
        })
    }

    async fn peek(&self, key: &Key, tiers: &[Tier]) -> Result<Vec<TierStatus>> {
        self.handle.operate("limit.peek", || {
            self.capabilities().check_tiers(tiers)?;
            let (state, now) = (locked(&self.state), self.handle.now());
            let states = states(&state, key, tiers, now);
            Ok(states.iter().zip(tiers).map(|(gcra, tier)| gcra.status(tier, instant(now))).collect())
        })
    }

    async fn refund(&self, key: &Key, tiers: &[Tier], cost: u32) -> Result<()> {
        self.handle.operate("limit.refund", || {
            self.capabilities().check_tiers(tiers)?;
            let (mut state, now) = (locked(&self.state), self.handle.now());
            let states = states(&state, key, tiers, now);
            let refunded: Vec<_> = states
                .iter()
                .zip(tiers)
                .map(|(gcra, tier)| gcra.refunded(tier, cost, instant(now)))
                .collect();
            store(&mut state, key, tiers, &refunded, now);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use stanchion::clock::ManualClock;
    use stanchion::environment::Environment;

    use super::*;

    #[tokio::test]
    async fn full_tiers_and_keys_are_forgotten() {
        let clock = ManualClock::new();
        let environment = Environment::system().clock(Arc::new(clock.clone()));
        let (handle, state) = (Handle::new(environment, 0), Arc::default());
        let limiter = MemoryLimits::new(&handle, &state);
        let key = Key::new("rate_limit", "t", "u1").unwrap();
        let hour = Tier::new(1, Duration::from_hours(1)).unwrap();
        assert!(limiter.check(&key, &[hour], 1).await.unwrap().is_allowed());
        // The hour keeps the key alive, while other limits come and go.
        for burst in 1..=100 {
            let tier = Tier::with_burst(1, Duration::from_secs(1), burst).unwrap();
            assert!(limiter.check(&key, &[tier], 1).await.unwrap().is_allowed());
            clock.advance(Duration::from_secs(1));
            let tiers = locked(&state).get(&key, handle.now()).map(HashMap::len);
            assert_eq!(tiers, Some(2));
        }
        clock.advance(Duration::from_hours(1));
        // A refund to somebody who has taken nothing keeps nothing, and clears away what has expired.
        limiter.refund(&Key::new("rate_limit", "t", "u2").unwrap(), &[hour], 1).await.unwrap();
        assert_eq!(locked(&state).len(), 0);
    }
}
