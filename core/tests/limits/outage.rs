//! A store that is away, and denials that are remembered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use stanchion::layer::{Fault, Faults};
use stanchion::limit::{Calendar, DecidedBy, Decision, Limits, LimitsBuilder, OnOutage, Tier};
use stanchion::stores::Stores;
use stanchion::time::seconds;
use stanchion::{Error, ErrorKind};

use crate::{HOUR, MINUTE, manual};

fn away(stores: &Stores) -> (Faults, Stores) {
    let faults = Faults::new(stores.environment());
    (faults.clone(), stores.layer(faults))
}

fn down() -> Error {
    Error::new(ErrorKind::Unavailable, "down")
}

async fn by(limits: &Limits) -> (bool, DecidedBy) {
    let decision = limits.check("u1").await.unwrap();
    (decision.is_allowed(), decision.decided_by())
}

#[tokio::test]
async fn the_answer_says_which_policy_was_applied() {
    let (clock, stores) = manual();
    let (faults, stores) = away(&stores);
    let limits = |policy| stores.limits("login").per_hour(4).on_outage(policy).build();
    let fail = stores.limits("login").per_hour(4).build().unwrap();
    let (closed, open) = (limits(OnOutage::Closed).unwrap(), limits(OnOutage::Open).unwrap());
    let local = limits(OnOutage::Local { processes: 2 }).unwrap();
    assert_eq!(by(&local).await, (true, DecidedBy::Store));
    let fault = |limits: &Limits| {
        faults.plan("limit.check", 1, Fault::Fail(down())).unwrap();
        limits.clone()
    };
    assert_eq!(fault(&fail).check("u1").await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(by(&fault(&closed)).await, (false, DecidedBy::Closed));
    assert_eq!(by(&fault(&open)).await, (true, DecidedBy::Open));
    // Half of four an hour.
    for allowed in [true, true, false] {
        assert_eq!(by(&fault(&local)).await, (allowed, DecidedBy::Local));
    }
    clock.advance(HOUR / 2);
    assert_eq!(by(&fault(&local)).await, (true, DecidedBy::Local));
    // Another error is none of the store's absence.
    faults.plan("limit.check", 1, Fault::Fail(Error::new(ErrorKind::Denied, "no"))).unwrap();
    assert_eq!(open.check("u1").await.unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(limits(OnOutage::Local { processes: 0 }).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn subjects_that_are_counted_here_are_bounded() {
    let (_clock, stores) = manual();
    let (faults, stores) = away(&stores);
    let policy = OnOutage::Local { processes: 1 };
    let limits = stores.limits("login").per_hour(1).on_outage(policy).build().unwrap();
    faults.plan("limit.check", u32::MAX, Fault::Fail(down())).unwrap();
    for subject in 0..OnOutage::LOCAL_SUBJECTS {
        assert!(limits.check(subject).await.unwrap().is_allowed());
    }
    assert!(limits.check("one more").await.unwrap().is_allowed());
    assert!(!limits.check("and another").await.unwrap().is_allowed(), "they share one count");
    assert!(!limits.check(7).await.unwrap().is_allowed());
}

/// Limits that count how often the store is asked.
fn counted(stores: &Stores, build: impl Fn(LimitsBuilder) -> LimitsBuilder) -> (Limits, Arc<AtomicU32>) {
    let asked = Arc::new(AtomicU32::new(0));
    let counter = Counted(Arc::clone(&asked));
    let limits = build(stores.layer(counter).limits("login").tier(Tier::new(5, MINUTE).unwrap()));
    (limits.build().unwrap(), asked)
}

#[derive(Debug, Clone)]
struct Counted(Arc<AtomicU32>);

impl stanchion::layer::Around for Counted {
    fn deadline(&self, own: Option<std::time::Duration>) -> Option<std::time::Duration> {
        own
    }

    async fn call<'a, T: Send + 'a>(
        &'a self,
        call: stanchion::layer::Call,
        mut work: impl FnMut() -> stanchion::layer::Answer<'a, T> + Send + 'a,
    ) -> stanchion::Result<T> {
        if call.operation == "limit.check" {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        work().await
    }
}

#[tokio::test]
async fn a_denial_is_remembered_for_as_long_as_the_store_would_deny() {
    let (clock, stores) = manual();
    let (limits, asked) = counted(&stores, |limits| limits.remember_denials(100));
    for _ in 0..6 {
        let _ = limits.check("u1").await.unwrap();
    }
    assert_eq!(asked.load(Ordering::Relaxed), 6);
    clock.advance(seconds(5));
    for _ in 0..100 {
        let denied = limits.check("u1").await.unwrap();
        assert_eq!(denied.retry_after(), Some(seconds(7)));
        assert_eq!(denied.decided_by(), DecidedBy::DenyCopy);
        assert_eq!(denied.tiers()[0].next_in, seconds(7));
    }
    assert_eq!(asked.load(Ordering::Relaxed), 6);
    // Another subject, other tiers and another cost go to the store.
    assert!(limits.check("u2").await.unwrap().is_allowed());
    assert!(
        limits.with_tiers([Tier::new(50, MINUTE).unwrap()]).unwrap().check("u1").await.unwrap().is_allowed()
    );
    let more = limits.check_cost("u1", 2).await.unwrap();
    // The other tiers have the same period: what they gave counts here.
    assert_eq!(more.retry_after(), Some(seconds(24)), "two come back later than one");
    let never = limits.check_cost("u1", 6).await.unwrap();
    assert_eq!(never, Decision::CostExceedsCapacity { tier: 0 });
    assert_eq!(asked.load(Ordering::Relaxed), 10);
    // What was denied last is remembered.
    assert_eq!(limits.check_cost("u1", 2).await.unwrap().decided_by(), DecidedBy::DenyCopy);
    assert_eq!(asked.load(Ordering::Relaxed), 10);
    clock.advance(seconds(7));
    let _ = limits.check("u1").await.unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 11);
}

#[tokio::test]
async fn what_is_given_back_ends_the_denial() {
    let (_clock, stores) = manual();
    let (limits, _) = counted(&stores, |limits| limits.remember_denials(100));
    let spend = async || while limits.check("u1").await.unwrap().is_allowed() {};
    spend().await;
    limits.refund("u1", 1).await.unwrap();
    assert!(limits.check("u1").await.unwrap().is_allowed());
    spend().await;
    limits.add("u1", 1, MINUTE).await.unwrap();
    assert!(limits.check("u1").await.unwrap().is_allowed());
    spend().await;
    limits.reset("u1").await.unwrap();
    assert!(matches!(limits.check("u1").await.unwrap(), Decision::Allowed { .. }));
}

#[tokio::test]
async fn remembered_denials_are_bounded() {
    let (_clock, stores) = manual();
    let (limits, asked) = counted(&stores, |limits| limits.remember_denials(10));
    for subject in 0..20 {
        while limits.check(subject).await.unwrap().is_allowed() {}
    }
    let before = asked.load(Ordering::Relaxed);
    for subject in 0..20 {
        assert!(!limits.check(subject).await.unwrap().is_allowed());
    }
    assert_eq!(asked.load(Ordering::Relaxed) - before, 10);
}

#[tokio::test]
async fn a_share_denies_what_the_store_would_allow_at_some_time() {
    let (_clock, stores) = manual();
    let (faults, stores) = away(&stores);
    let policy = OnOutage::Local { processes: 4 };
    let limits = stores.limits("login").per_hour(20).on_outage(policy).build().unwrap();
    faults.plan("limit.check", 3, Fault::Fail(down())).unwrap();
    let decision = limits.check_cost("u1", 10).await.unwrap();
    assert_eq!(
        decision.retry_after(),
        Some(OnOutage::RETRY_AFTER),
        "ten of twenty are more than a share of five"
    );
    assert_eq!(decision.decided_by(), DecidedBy::Local);
    assert!(limits.check_cost("u1", 5).await.unwrap().is_allowed(), "nothing was taken");
    let never = limits.check_cost("u1", 21).await.unwrap();
    assert_eq!(never, Decision::CostExceedsCapacity { tier: 0 });
}

#[tokio::test]
async fn what_another_process_gives_back_is_seen_within_a_minute() {
    let (clock, stores) = manual();
    let month = |limits: LimitsBuilder| limits.quota(6, Calendar::monthly()).remember_denials(100);
    let (limits, asked) = counted(&stores, month);
    assert!(limits.check_cost("u1", 5).await.unwrap().is_allowed());
    clock.advance(MINUTE);
    assert!(limits.check("u1").await.unwrap().is_allowed());
    assert!(!limits.check("u1").await.unwrap().is_allowed());
    assert_eq!(asked.load(Ordering::Relaxed), 3);
    // By a process of its own.
    stores.limits("login").per_minute(5).build().unwrap().add("u1", 1, HOUR).await.unwrap();
    clock.advance(seconds(59));
    assert_eq!(by(&limits).await, (false, DecidedBy::DenyCopy));
    clock.advance(seconds(1));
    assert_eq!(by(&limits).await, (true, DecidedBy::Store));
}
