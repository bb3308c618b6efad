//! Permits of tiers.

use std::time::Duration;

use stanchion::key::Key;
use stanchion::limit::{Decision, Grant, LimitTime, Tier, TierStatus, Usage};
use stanchion::time::{Monotonic, Timestamp, Ttl};

use super::instant;
use crate::expiring::Expiring;

/// A window of a quota ends by the wall clock, and what is stored by the one that is never set back: it is kept for longer,
/// for a wall clock that is set back meanwhile.
const FOR_THE_WALL: Duration = Duration::from_hours(24);

/// The time of a step.
pub(super) struct Now {
    pub(super) monotonic: Monotonic,
    at: LimitTime,
}

impl Now {
    pub(super) fn new(monotonic: Monotonic, wall: Timestamp) -> Self {
        Self { monotonic, at: LimitTime::new(instant(monotonic), wall) }
    }
}

#[derive(Debug, Default)]
pub(super) struct State(Expiring<Key, Usage>);

impl State {
    pub(super) fn check(&mut self, key: &Key, tiers: &[Tier], cost: u32, now: &Now) -> Decision {
        if cost == 0 {
            return self.get(key, now).check(tiers, 0, now.at);
        }
        self.change(key, now, |usage| usage.check(tiers, cost, now.at))
    }

    pub(super) fn take_up_to(&mut self, key: &Key, tiers: &[Tier], most: u32, now: &Now) -> Grant {
        self.change(key, now, |usage| usage.take_up_to(tiers, most, now.at))
    }

    pub(super) fn peek(&self, key: &Key, tiers: &[Tier], now: &Now) -> Vec<TierStatus> {
        match self.0.get(key, now.monotonic) {
            Some(usage) => usage.peek(tiers, now.at),
            None => Usage::default().peek(tiers, now.at),
        }
    }

    pub(super) fn refund(&mut self, key: &Key, tiers: &[Tier], cost: u32, now: &Now) {
        self.change(key, now, |usage| usage.refund(tiers, cost, now.at));
    }

    pub(super) fn add(&mut self, key: &Key, permits: u32, life: Ttl, now: &Now) -> u32 {
        let until = instant(now.monotonic).saturating_add(life.as_duration());
        self.change(key, now, |usage| usage.add(permits, until, now.at))
    }

    pub(super) fn reset(&mut self, key: &Key, now: &Now) {
        self.0.remove(key, now.monotonic);
    }

    fn get(&self, key: &Key, now: &Now) -> Usage {
        self.0.get(key, now.monotonic).cloned().unwrap_or_default()
    }

    fn change<T>(&mut self, key: &Key, now: &Now, change: impl FnOnce(&mut Usage) -> T) -> T {
        self.0.purge(now.monotonic);
        let until = |usage: &Usage| {
            let lasts = usage.lasts(now.at);
            let for_the_wall = if usage.has_quotas() { FOR_THE_WALL } else { Duration::ZERO };
            (!lasts.is_zero()).then(|| now.monotonic.saturating_add(lasts).saturating_add(for_the_wall))
        };
        let Some(usage) = self.0.get_mut(key, now.monotonic) else {
            let mut usage = Usage::default();
            let outcome = change(&mut usage);
            if let Some(until) = until(&usage) {
                self.0.insert(key.clone(), usage, until);
            }
            return outcome;
        };
        let outcome = change(usage);
        match until(usage) {
            Some(until) => {
                self.0.extend(key, until, now.monotonic);
            }
            None => drop(self.0.remove(key, now.monotonic)),
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_tiers_and_keys_are_forgotten() {
        let mut state = State::default();
        let mut secs = 0;
        let at = |secs: u64| {
            Now::new(
                Monotonic::from_origin(Duration::from_secs(secs)),
                Timestamp::from_secs(1_750_000_000 + secs),
            )
        };
        let key = Key::new("rate_limit", "t", "u1").unwrap();
        let hour = Tier::new(1, Duration::from_hours(1)).unwrap();
        assert!(state.check(&key, &[hour], 1, &at(secs)).is_allowed());
        // The hour keeps the key alive, while other limits come and go.
        for period in 1..=100 {
            let tier = Tier::new(1, Duration::from_millis(period)).unwrap();
            assert!(state.check(&key, &[tier], 1, &at(secs)).is_allowed());
            secs += 1;
            let states = state.0.get(&key, at(secs).monotonic).map(|usage| usage.fields().count());
            assert_eq!(states, Some(2));
        }
        secs += 3_600;
        // A refund to somebody who has taken nothing keeps nothing, and clears away what has expired.
        state.refund(&Key::new("rate_limit", "t", "u2").unwrap(), &[hour], 1, &at(secs));
        assert_eq!(state.0.len(), 0);
    }
}
