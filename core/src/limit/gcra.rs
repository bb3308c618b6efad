//! The generic cell rate algorithm in exact whole numbers.

use std::time::Duration;

use super::{Decision, Tier, TierStatus};
use crate::time::Timestamp;

/// The state of one tier: the theoretical arrival time (TAT) of the next permit, as whole microseconds and a
/// rest in the tier's fractions ([`Tier::emission`]).
///
/// What is *used* of the tier is the time from now to the TAT. Taking `n` permits adds `n` emission
/// intervals to it, time takes it away, and a request is allowed while it stays within `burst` intervals.
/// Backends that can't run this code (a script) must do the same arithmetic; the suite compares them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gcra {
    micros: u64,
    rest: u64,
}

impl Gcra {
    /// What is used, in fractions of the tier's emission interval's microseconds.
    fn used(self, tier: &Tier, now: Timestamp) -> u64 {
        let (_, denominator) = tier.emission();
        match self.micros.checked_sub(now.as_micros()) {
            Some(ahead) => ahead.saturating_mul(denominator).saturating_add(self.rest),
            None => 0,
        }
    }

    fn after(tier: &Tier, now: Timestamp, used: u64) -> Self {
        let (_, denominator) = tier.emission();
        Self { micros: now.as_micros() + used / denominator, rest: used % denominator }
    }

    /// What is left to a subject in this state.
    pub fn status(self, tier: &Tier, now: Timestamp) -> TierStatus {
        let (numerator, denominator) = tier.emission();
        let used = self.used(tier, now);
        let capacity = numerator * u64::from(tier.burst());
        let remaining = capacity.saturating_sub(used) / numerator;
        let for_one_more = used.saturating_sub(capacity.saturating_sub((remaining + 1) * numerator));
        TierStatus::new(
            u32::try_from(remaining).unwrap_or(u32::MAX),
            if remaining == u64::from(tier.burst()) {
                Duration::ZERO
            } else {
                micros(for_one_more, denominator)
            },
            micros(used, denominator),
        )
    }

    /// When the tier is full again, and the state can be forgotten.
    pub fn full_in(self, tier: &Tier, now: Timestamp) -> Duration {
        micros(self.used(tier, now), tier.emission().1)
    }

    /// The state after giving back `cost` permits.
    #[must_use]
    pub fn refunded(self, tier: &Tier, cost: u32, now: Timestamp) -> Self {
        let (numerator, _) = tier.emission();
        Self::after(tier, now, self.used(tier, now).saturating_sub(numerator.saturating_mul(u64::from(cost))))
    }

    /// Takes `cost` permits from every tier or from none; the states are changed only if allowed.
    /// `states` and `tiers` have the same length.
    pub fn check(states: &mut [Self], tiers: &[Tier], cost: u32, now: Timestamp) -> Decision {
        if let Some(tier) = tiers.iter().position(|tier| cost > tier.burst()) {
            return Decision::CostExceedsCapacity { tier };
        }
        let mut wait: Option<(Duration, usize)> = None;
        for (index, (state, tier)) in states.iter().zip(tiers).enumerate() {
            let (numerator, denominator) = tier.emission();
            let wanted = state.used(tier, now).saturating_add(numerator * u64::from(cost));
            let excess = wanted.saturating_sub(numerator * u64::from(tier.burst()));
            let needed = micros(excess, denominator);
            // A cost of zero takes nothing, so it is allowed even where the store's clock went back.
            if cost > 0 && excess > 0 && wait.is_none_or(|(longest, _)| needed > longest) {
                wait = Some((needed, index));
            }
        }
        if wait.is_none() {
            for (state, tier) in states.iter_mut().zip(tiers) {
                let (numerator, _) = tier.emission();
                *state = Self::after(tier, now, state.used(tier, now) + numerator * u64::from(cost));
            }
        }
        let tiers = states.iter().zip(tiers).map(|(state, tier)| state.status(tier, now)).collect();
        match wait {
            None => Decision::Allowed { tiers },
            Some((retry_after, tier)) => Decision::Denied { retry_after, tier, tiers },
        }
    }
}

/// Fractions as microseconds, rounded up: a wait is never too short.
fn micros(fractions: u64, denominator: u64) -> Duration {
    Duration::from_micros(fractions.div_ceil(denominator))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(micros: u64) -> Timestamp {
        Timestamp::from_micros(1_750_000_000_000_000 + micros)
    }

    #[test]
    fn a_burst_is_taken_at_once_and_comes_back_evenly() {
        let tiers = [Tier::new(3, SECOND).unwrap()];
        let mut state = [Gcra::default()];
        for left in [2, 1, 0] {
            match Gcra::check(&mut state, &tiers, 1, at(0)) {
                Decision::Allowed { tiers } => assert_eq!(tiers[0].remaining, left),
                other => panic!("{other:?}"),
            }
        }
        let denied = Gcra::check(&mut state, &tiers, 1, at(0));
        assert_eq!(denied.retry_after(), Some(Duration::from_micros(333_334)));
        assert!(!Gcra::check(&mut state, &tiers, 1, at(333_333)).is_allowed());
        assert!(Gcra::check(&mut state, &tiers, 1, at(333_334)).is_allowed());
        // The fraction is not lost: the third permit after three thirds of a second.
        assert!(Gcra::check(&mut state, &tiers, 1, at(666_667)).is_allowed());
        assert!(Gcra::check(&mut state, &tiers, 1, at(1_000_000)).is_allowed());
    }

    #[test]
    fn a_denied_request_takes_nothing_from_any_tier() {
        let tiers = [Tier::new(10, SECOND).unwrap(), Tier::new(1, SECOND).unwrap()];
        let mut states = [Gcra::default(); 2];
        assert!(Gcra::check(&mut states, &tiers, 1, at(0)).is_allowed());
        for _ in 0..5 {
            match Gcra::check(&mut states, &tiers, 1, at(0)) {
                Decision::Denied { tier: 1, tiers, .. } => assert_eq!(tiers[0].remaining, 9),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(Gcra::check(&mut states, &tiers, 2, at(0)), Decision::CostExceedsCapacity { tier: 1 });
    }

    fn whole_micros(wait: Duration) -> u64 {
        u64::try_from(wait.as_micros()).unwrap()
    }

    proptest! {
        #[test]
        fn never_more_than_burst_plus_rate(
            limit in 1_u32..2_000, period in 1_u64..5_000_000, burst in 1_u32..500,
            steps in prop::collection::vec((0_u64..200_000, 0_u32..20), 1..200),
        ) {
            let tier = Tier::with_burst(limit, Duration::from_micros(period), burst).unwrap();
            let (mut state, mut now, mut taken) = ([Gcra::default()], 0_u64, 0_u64);
            for (wait, cost) in steps {
                now += wait;
                let before = state[0].status(&tier, at(now));
                let decision = Gcra::check(&mut state, &[tier], cost, at(now));
                prop_assert_eq!(decision.is_allowed(), cost <= before.remaining, "remaining tells the truth");
                if decision.is_allowed() { taken += u64::from(cost); }
                if let Some(wait) = decision.retry_after() {
                    let mut later = state;
                    prop_assert!(Gcra::check(&mut later, &[tier], cost, at(now + whole_micros(wait))).is_allowed());
                    let mut sooner = state;
                    prop_assert!(!Gcra::check(&mut sooner, &[tier], cost, at(now + whole_micros(wait) - 1)).is_allowed());
                }
                prop_assert!(u128::from(taken) * u128::from(period) <= u128::from(burst) * u128::from(period) + u128::from(now) * u128::from(limit));
            }
        }
    }
}
