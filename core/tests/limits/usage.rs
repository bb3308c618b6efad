//! The arithmetic of permits.

use std::time::Duration;

use stanchion::limit::{Calendar, Decision, LimitTime, Tier, Usage};
use stanchion::time::Timestamp;

use crate::{HOUR, MINUTE};

const SECOND: Duration = Duration::from_secs(1);

/// So many microseconds after a day in 2025.
pub(crate) fn at(micros: u64) -> LimitTime {
    LimitTime::wall(Timestamp::from_micros(1_750_000_000_000_000 + micros))
}

fn remaining(decision: &Decision) -> Vec<u32> {
    decision.tiers().iter().map(|tier| tier.remaining).collect()
}

#[test]
fn a_burst_is_taken_at_once_and_comes_back_evenly() {
    let tiers = [Tier::new(3, SECOND).unwrap()];
    let mut usage = Usage::default();
    for left in [2, 1, 0] {
        assert_eq!(remaining(&usage.check(&tiers, 1, at(0))), [left]);
    }
    let denied = usage.check(&tiers, 1, at(0));
    assert_eq!(denied.retry_after(), Some(Duration::from_micros(333_334)));
    assert!(!usage.check(&tiers, 1, at(333_333)).is_allowed());
    assert!(usage.check(&tiers, 1, at(333_334)).is_allowed());
    // The fraction is not lost: the third permit after three thirds of a second.
    assert!(usage.check(&tiers, 1, at(666_667)).is_allowed());
    assert!(usage.check(&tiers, 1, at(1_000_000)).is_allowed());
}

#[test]
fn a_denied_request_takes_nothing_from_any_tier() {
    let tiers = [Tier::new(10, SECOND).unwrap(), Tier::new(1, SECOND).unwrap()];
    let mut usage = Usage::default();
    assert!(usage.check(&tiers, 1, at(0)).is_allowed());
    for _ in 0..5 {
        let denied = usage.check(&tiers, 1, at(0));
        assert!(matches!(denied, Decision::Denied { tier: 1, .. }));
        assert_eq!(remaining(&denied), [9, 0]);
    }
    assert_eq!(usage.check(&tiers, 2, at(0)), Decision::CostExceedsCapacity { tier: 1 });
}

/// Five a minute are spent, and the clock is set back by an hour.
#[test]
fn a_clock_set_back_denies_no_longer_than_a_burst_takes() {
    let tiers = [Tier::new(5, MINUTE).unwrap()];
    let mut spent = Usage::default();
    assert!(spent.check(&tiers, 5, at(3_600_000_000)).is_allowed());
    let (next, full) = (Duration::from_secs(12), MINUTE);
    let status = spent.peek(&tiers, at(0))[0];
    assert_eq!((status.remaining, status.next_in, status.full_in), (0, next, full));
    assert_eq!(spent.lasts(at(0)), full);
    let mut refunded = spent.clone();
    refunded.refund(&tiers, 5, at(0));
    assert_eq!(refunded.peek(&tiers, at(0))[0].remaining, 5);
    assert_eq!(spent.check(&tiers, 1, at(0)).retry_after(), Some(next));
    assert!(!spent.check(&tiers, 1, at(11_999_999)).is_allowed());
    assert!(spent.check(&tiers, 1, at(12_000_000)).is_allowed());
    // A denial stores nothing else.
    let before = spent.clone();
    assert!(!spent.check(&tiers, 1, at(12_000_001)).is_allowed());
    assert_eq!(spent, before);
}

#[test]
fn a_change_of_limit_keeps_what_was_used() {
    let (ten, twenty) = ([Tier::new(10, HOUR).unwrap()], [Tier::new(20, HOUR).unwrap()]);
    let mut usage = Usage::default();
    let mut taken = 0;
    for tiers in [&ten, &twenty, &ten, &twenty, &ten] {
        taken += usage.take_up_to(tiers, 100, at(0)).permits;
    }
    assert_eq!(taken, 20);
    // Down to ten, one is back after a tenth of the hour, as it was said.
    assert_eq!(usage.check(&ten, 1, at(0)).retry_after(), Some(HOUR / 10));
    assert!(!usage.check(&ten, 1, at(359_999_999)).is_allowed());
    assert!(usage.check(&ten, 1, at(360_000_000)).is_allowed());
    // And of twenty two are, of which that was one.
    assert_eq!(usage.take_up_to(&twenty, 100, at(360_000_000)).permits, 1);
    // Another period is another limit.
    assert_eq!(usage.take_up_to(&[Tier::new(3, MINUTE).unwrap()], 9, at(360_000_000)).permits, 3);
}

#[test]
fn a_lesser_limit_waits_for_no_more_than_itself() {
    let (many, few) = ([Tier::new(1_000, HOUR).unwrap()], [Tier::new(10, HOUR).unwrap()]);
    let mut usage = Usage::default();
    assert!(usage.check(&many, 1_000, at(0)).is_allowed());
    assert_eq!(usage.check(&few, 10, at(0)).retry_after(), Some(HOUR));
    assert!(usage.check(&few, 10, at(3_600_000_000)).is_allowed());
}

#[test]
fn states_are_bounded() {
    let mut usage = Usage::default();
    for limit in 1..=100 {
        let tier = Tier::with_burst(limit, HOUR, limit).unwrap();
        let _ = usage.check(&[tier], 1, at(u64::from(limit)));
        assert!(usage.fields().count() <= Usage::MAX_STATES);
        assert_eq!(Usage::from_fields(usage.fields()).unwrap(), usage);
    }
    // And forgotten with the next request, once all of the period are full.
    let _ = usage.check(&[Tier::new(5, MINUTE).unwrap()], 1, at(7_200_000_000));
    assert_eq!(usage.fields().count(), 1);
}

#[test]
fn as_many_as_there_are_are_taken() {
    let tiers = [Tier::new(10, HOUR).unwrap(), Tier::new(4, MINUTE).unwrap()];
    let mut usage = Usage::default();
    let grant = usage.take_up_to(&tiers, 3, at(0));
    assert_eq!((grant.permits, grant.next_in()), (3, Duration::ZERO));
    let grant = usage.take_up_to(&tiers, 3, at(0));
    assert_eq!((grant.permits, grant.next_in()), (1, MINUTE / 4));
    assert_eq!(usage.take_up_to(&tiers, 3, at(0)).permits, 0);
    assert_eq!(usage.take_up_to(&tiers, 0, at(0)).permits, 0);
    let left: Vec<_> = usage.peek(&tiers, at(0)).iter().map(|tier| tier.remaining).collect();
    assert_eq!(left, [6, 0]);
}

#[test]
fn added_permits_are_taken_where_a_tier_has_too_few() {
    let tiers = [Tier::new(2, HOUR).unwrap()];
    let mut usage = Usage::default();
    let until = |secs: u64| Timestamp::from_micros(1_750_000_000_000_000 + secs * 1_000_000);
    assert_eq!(usage.add(3, until(60), at(0)), 3);
    assert_eq!(usage.add(0, until(90), at(0)), 3);
    assert!(usage.check(&tiers, 2, at(0)).is_allowed());
    assert_eq!(usage.add(0, until(60), at(0)), 3, "the tier had enough");
    assert!(usage.check(&tiers, 2, at(0)).is_allowed());
    assert!(!usage.check(&tiers, 2, at(0)).is_allowed());
    assert_eq!(usage.take_up_to(&tiers, 5, at(0)).permits, 1);
    assert_eq!(usage.add(1, until(60), at(0)), 1);
    assert_eq!(usage.add(0, until(60), at(60_000_000)), 0, "they have ended");
    assert_eq!(usage.add(Usage::MAX_EXTRA, until(90), at(60_000_000)), Usage::MAX_EXTRA);
    assert_eq!(usage.add(1, until(90), at(60_000_000)), Usage::MAX_EXTRA);
}

#[test]
fn a_quota_is_there_again_with_the_next_window() {
    // The 15th of June 2025, 15:06:40.
    let month = Calendar::monthly();
    let tiers = [Tier::quota(3, month).unwrap(), Tier::new(2, SECOND).unwrap()];
    let mut usage = Usage::default();
    assert!(usage.check(&tiers, 2, at(0)).is_allowed());
    assert!(usage.check(&tiers, 1, at(1_000_000)).is_allowed());
    let denied = usage.check(&tiers, 1, at(2_000_000));
    let (_, ends) = month.window(Timestamp::from_micros(1_750_000_002_000_000));
    let left = ends.as_micros() - 1_750_000_002_000_000;
    assert_eq!(denied.retry_after(), Some(Duration::from_micros(left)));
    assert!(matches!(denied, Decision::Denied { tier: 0, .. }));
    assert_eq!(remaining(&denied), [0, 2]);
    let last = usage.clone();
    assert!(!usage.check(&tiers, 1, at(2_000_000 + left - 1)).is_allowed());
    assert!(usage.check(&tiers, 1, at(2_000_000 + left)).is_allowed());
    // Set back over the end of the month, what was taken in the later one counts for the earlier, and no more than that.
    assert_eq!(usage.peek(&tiers, at(2_000_000))[0].remaining, 2);
    // Another number of permits in the same windows keeps the count.
    let mut changed = last;
    let five = [Tier::quota(5, month).unwrap()];
    assert_eq!(changed.take_up_to(&five, 9, at(2_000_000)).permits, 2);
    assert!(!changed.check(&tiers[..1], 1, at(2_000_000)).is_allowed());
    assert_eq!(Usage::from_fields(changed.fields()).unwrap(), changed);
}

#[test]
fn a_rest_of_whole_microseconds_counts_as_those() {
    let tiers = [Tier::new(3, SECOND).unwrap()];
    let now = 1_750_000_000_000_000_u64;
    let stored = |text: String| Usage::from_fields([(tiers[0].id(), text)]).unwrap();
    let (mut odd, mut even) = (stored(format!("{now}:7")), stored(format!("{}:1", now + 2)));
    assert_eq!(odd.peek(&tiers, at(0)), even.peek(&tiers, at(0)));
    assert_eq!(odd.check(&tiers, 1, at(0)), even.check(&tiers, 1, at(0)));
    assert_eq!(odd, even);
    for text in ["", ":", "1", "1:", "a:1", "1:-1", "9007199254740992:0", "1:1000000"] {
        assert!(Usage::from_fields([(tiers[0].id(), text.to_owned())]).is_err(), "{text:?}");
    }
}
