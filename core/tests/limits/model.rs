//! Against models that are simple enough to be seen to be right.

use std::time::Duration;

use proptest::prelude::*;
use stanchion::limit::{Tier, Usage};

use crate::usage::at;

fn whole_micros(wait: Duration) -> u64 {
    u64::try_from(wait.as_micros()).unwrap()
}

/// From a few permits a day to millions a second.
fn tier() -> impl Strategy<Value = Tier> {
    let count = || prop_oneof![1_u32..20, 1_u32..=Tier::MAX_COUNT];
    let period = prop_oneof![1_u64..5_000, 1_u64..100_000_000, Just(86_400_000_000), Just(2_592_000_000_000)];
    (count(), period, count()).prop_filter_map("too fine for exact arithmetic", |(limit, period, burst)| {
        Tier::with_burst(limit, Duration::from_micros(period), burst).ok()
    })
}

proptest! {
    #[test]
    fn stored_and_read_back_it_is_the_same(
        tier in tier(), steps in prop::collection::vec((0_u64..20_000_000, 0_u32..20), 1..50),
    ) {
        let (mut kept, mut now) = (Usage::default(), 0);
        for (wait, cost) in steps {
            now += wait;
            let mut read = Usage::from_fields(kept.fields()).unwrap();
            prop_assert_eq!(read.check(&[tier], cost, at(now)), kept.check(&[tier], cost, at(now)));
            prop_assert_eq!(read, kept.clone());
        }
    }

    // Whatever is stored, and however far the clock is from it, nothing overflows.
    #[test]
    fn any_stored_state_can_be_counted_with(
        micros in 0_u64..1 << 53, rest in 0..u64::from(Tier::MAX_COUNT), now in 0_u64..1 << 52,
        tier in tier(), other in tier(), cost in 0_u32..10,
    ) {
        let stored = [(tier.id(), format!("{micros}:{rest}"))];
        let mut usage = Usage::from_fields(stored).unwrap();
        let now = at(now);
        let allowed = usage.check(&[tier], cost, now).is_allowed();
        prop_assert!(allowed || cost > 0, "nothing is always there");
        let _ = usage.check(&[other], cost, now);
        usage.refund(&[tier, other], cost, now);
        let _ = usage.peek(&[tier, other], now);
        let _ = usage.lasts(now);
    }

    #[test]
    fn never_more_than_burst_plus_rate(
        limit in 1_u32..2_000, period in 1_u64..5_000_000, burst in 1_u32..500,
        steps in prop::collection::vec((0_u64..200_000, 0_u32..20), 1..200),
    ) {
        let tiers = [Tier::with_burst(limit, Duration::from_micros(period), burst).unwrap()];
        let (mut usage, mut now, mut taken) = (Usage::default(), 0_u64, 0_u64);
        for (wait, cost) in steps {
            now += wait;
            let before = usage.peek(&tiers, at(now))[0];
            let decision = usage.check(&tiers, cost, at(now));
            prop_assert_eq!(decision.is_allowed(), cost <= before.remaining, "remaining tells the truth");
            if decision.is_allowed() { taken += u64::from(cost); }
            if let Some(wait) = decision.retry_after() {
                let wait = whole_micros(wait);
                prop_assert!(usage.clone().check(&tiers, cost, at(now + wait)).is_allowed());
                prop_assert!(!usage.clone().check(&tiers, cost, at(now + wait - 1)).is_allowed());
            }
            let most = u128::from(burst) * u128::from(period) + u128::from(now) * u128::from(limit);
            prop_assert!(u128::from(taken) * u128::from(period) <= most);
        }
    }

    // However a subject is moved between limits of one period: no more than the greatest burst and the greatest rate,
    // and what is denied is allowed after the wait.
    #[test]
    fn never_more_than_the_greatest_of_limits_that_change(
        limits in prop::collection::vec((1_u32..50, 1_u32..50), 2..5),
        steps in prop::collection::vec((0_usize..5, 0_u64..200_000, 0_u32..20, any::<bool>()), 1..200),
    ) {
        let period = 1_000_000_u64;
        let tiers: Vec<_> = (limits.iter())
            .map(|(limit, burst)| Tier::with_burst(*limit, Duration::from_micros(period), *burst).unwrap())
            .collect();
        let most_rate = u128::from(tiers.iter().map(Tier::limit).max().unwrap());
        let most_burst = u128::from(tiers.iter().map(Tier::burst).max().unwrap());
        let (mut usage, mut now) = (Usage::default(), 0_u64);
        let mut taken: Vec<(u64, u32)> = Vec::new();
        for (which, wait, cost, all) in steps {
            now += wait;
            let tiers = [tiers[which % tiers.len()]];
            let permits = if all {
                usage.take_up_to(&tiers, cost, at(now)).permits
            } else {
                let decision = usage.check(&tiers, cost, at(now));
                if let Some(wait) = decision.retry_after() {
                    prop_assert!(usage.clone().check(&tiers, cost, at(now + whole_micros(wait))).is_allowed());
                    // For no longer than its own burst takes.
                    let longest = u64::from(tiers[0].burst()) * period / u64::from(tiers[0].limit()) + 1;
                    prop_assert!(whole_micros(wait) <= longest);
                }
                if decision.is_allowed() { cost } else { 0 }
            };
            taken.push((now, permits));
            // Within every span that ends now.
            let mut sum = 0_u128;
            for (then, permits) in taken.iter().rev() {
                sum += u128::from(*permits);
                let span = u128::from(now - then);
                prop_assert!(sum * u128::from(period) <= most_burst * u128::from(period) + span * most_rate);
            }
        }
    }
}
