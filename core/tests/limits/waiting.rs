//! Waiting for permits, plans, and what responses say.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use stanchion::ErrorKind;
use stanchion::limit::{Calendar, Limits, Tier};
use stanchion::time::{minutes, seconds};

use crate::{HOUR, manual, settled};

#[tokio::test]
async fn a_permit_is_waited_for_and_not_for_longer_than_said() {
    let (clock, stores) = manual();
    let limits = stores.limits("mail").per_minute(6).build().unwrap();
    assert!(limits.until_allowed_cost("u1", 6, seconds(0)).await.unwrap().is_allowed());
    // Ten seconds are more than nine: that is known at once.
    let denied = limits.until_allowed("u1", seconds(9)).await.unwrap();
    assert_eq!(denied.retry_after(), Some(seconds(10)));
    let waiting = tokio::spawn({
        let limits = limits.clone();
        async move { limits.until_allowed("u1", seconds(15)).await }
    });
    settled().await;
    clock.advance(seconds(9));
    settled().await;
    assert!(!waiting.is_finished());
    clock.advance(seconds(2));
    assert!(waiting.await.unwrap().unwrap().is_allowed());
}

#[tokio::test]
async fn waiters_come_in_turn_and_only_the_first_asks() {
    let (clock, stores) = manual();
    let limits = stores.limits("mail").per_minute(6).build().unwrap();
    assert!(limits.check_cost("u1", 6).await.unwrap().is_allowed());
    let (order, done) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let waiters: Vec<_> = (0..20)
        .map(|number| {
            let (limits, order, done) = (limits.clone(), Arc::clone(&order), Arc::clone(&done));
            tokio::spawn(async move {
                let decision = limits.until_allowed("u1", minutes(2)).await.unwrap();
                if decision.is_allowed() {
                    assert_eq!(order.swap(number, Ordering::Relaxed).max(number), number, "in their order");
                    done.fetch_add(1, Ordering::Relaxed);
                }
                decision.is_allowed()
            })
        })
        .collect();
    settled().await;
    // One sleeps until its permit is there, the others until their deadlines.
    assert_eq!(clock.sleepers(), 20);
    // One that leaves the line costs the others nothing.
    waiters[5].abort();
    for _ in 0..240 {
        clock.advance(seconds(1) / 2);
        settled().await;
    }
    let done = done.load(Ordering::Relaxed);
    assert!((11..=12).contains(&done), "one each ten seconds, as there are permits: {done}");
    let mut denied = 0;
    for (number, waiter) in waiters.into_iter().enumerate() {
        match waiter.await {
            Ok(allowed) => denied += u32::from(!allowed),
            Err(_) => assert_eq!(number, 5),
        }
    }
    assert_eq!(denied, 19 - done);
    assert_eq!(clock.sleepers(), 0);
}

#[tokio::test]
async fn one_subject_does_not_take_all_places() {
    let (clock, stores) = manual();
    let limits = stores.limits("mail").per_minute(6).plan("pro", [Tier::new(6, HOUR).unwrap()]);
    let limits = limits.build().unwrap();
    let pro = limits.plan("pro").unwrap();
    for limits in [&limits, &pro] {
        assert!(limits.check_cost("busy", 6).await.unwrap().is_allowed());
    }
    assert!(limits.check_cost("quiet", 6).await.unwrap().is_allowed());
    let wait = |limits: &Limits, subject: &'static str| {
        let limits = limits.clone();
        tokio::spawn(async move { limits.until_allowed(subject, minutes(1)).await })
    };
    let busy: Vec<_> = (0..1_000).map(|_| wait(&limits, "busy")).collect();
    settled().await;
    for limits in [&limits, &pro] {
        let full = limits.until_allowed("busy", minutes(1)).now_or_never().expect("refused at once");
        let full = full.unwrap_err();
        assert_eq!(full.kind(), ErrorKind::Throttled);
        assert!(full.to_string().contains("of one subject"), "{full}");
    }
    let quiet = wait(&limits, "quiet");
    settled().await;
    // Whoever leaves makes room.
    busy[500].abort();
    settled().await;
    let another = wait(&limits, "busy");
    settled().await;
    assert!(!another.is_finished());
    clock.advance(seconds(11));
    settled().await;
    assert!(quiet.await.unwrap().unwrap().is_allowed());
    clock.advance(minutes(1));
    settled().await;
    assert_eq!(join_all(busy).await.len(), 1_000);
    assert!(another.await.unwrap().unwrap().retry_after().is_some());
    assert_eq!(clock.sleepers(), 0);
}

#[tokio::test]
async fn another_plan_has_a_line_of_its_own() {
    let (clock, stores) = manual();
    let limits = stores.limits("mail").per_minute(6).plan("pro", [Tier::new(10, HOUR).unwrap()]);
    let limits = limits.build().unwrap();
    let pro = limits.plan("pro").unwrap();
    assert!(limits.check_cost("u1", 6).await.unwrap().is_allowed());
    let wait = |limits: &Limits, wait| {
        let limits = limits.clone();
        tokio::spawn(async move { limits.until_allowed("u1", wait).await.unwrap() })
    };
    let first = wait(&limits, minutes(2));
    settled().await;
    let other = pro.until_allowed("u1", seconds(1)).now_or_never();
    assert!(other.expect("it does not wait behind another plan").unwrap().is_allowed());
    assert!(pro.check_cost("u1", 9).await.unwrap().is_allowed());
    // One comes back in six minutes.
    let (of_pro, behind) = (wait(&pro, minutes(30)), wait(&pro, seconds(5)));
    settled().await;
    clock.advance(seconds(5));
    settled().await;
    let denied = behind.await.unwrap();
    assert_eq!(denied.retry_after(), Some(seconds(355)), "of its own plan, and from now on");
    assert_eq!(denied.tiers()[0].full_in, seconds(3_595));
    of_pro.abort();
    clock.advance(seconds(6));
    assert!(first.await.unwrap().is_allowed());
}

#[tokio::test]
async fn a_denial_of_another_cost_is_nobody_elses() {
    let (clock, stores) = manual();
    let limits = stores.limits("mail").per_minute(6).build().unwrap();
    assert!(limits.check_cost("u1", 6).await.unwrap().is_allowed());
    let wait = |cost, wait| {
        let limits = limits.clone();
        tokio::spawn(async move { limits.until_allowed_cost("u1", cost, wait).await })
    };
    let first = wait(4, minutes(2));
    settled().await;
    let [less, more, same] = [1, 5, 4].map(|cost| wait(cost, seconds(15)));
    settled().await;
    clock.advance(seconds(15));
    settled().await;
    for other in [less, more] {
        assert_eq!(other.await.unwrap().unwrap_err().kind(), ErrorKind::Timeout);
    }
    assert_eq!(same.await.unwrap().unwrap().retry_after(), Some(seconds(25)));
    clock.advance(seconds(30));
    assert!(first.await.unwrap().unwrap().is_allowed());
}

#[tokio::test]
async fn a_plan_is_other_tiers_of_the_same_subject() {
    let (_clock, stores) = manual();
    let tier = |limit| Tier::new(limit, HOUR).unwrap();
    let limits = stores.limits("api").per_hour(10).plan("pro", [tier(20)]).build().unwrap();
    let pro = limits.plan("pro").unwrap();
    assert_eq!(limits.take_up_to("u1", 100).await.unwrap().permits, 10);
    assert_eq!(pro.take_up_to("u1", 100).await.unwrap().permits, 10);
    assert_eq!(limits.take_up_to("u1", 100).await.unwrap().permits, 0);
    let own = limits.with_tiers([tier(25)]).unwrap();
    assert_eq!(own.take_up_to("u1", 100).await.unwrap().permits, 5);
    assert_eq!(limits.plan("gold").unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(limits.with_tiers([]).unwrap_err().kind(), ErrorKind::InvalidInput);
    let twice = stores.limits("api").per_hour(1).plan("pro", [tier(2)]).plan("pro", [tier(3)]).build();
    assert_eq!(twice.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_quota_and_a_rate_are_taken_together() {
    let (clock, stores) = manual();
    let limits = stores.limits("api").per_second(2).quota(5, Calendar::monthly()).build().unwrap();
    let mut allowed = 0;
    for _ in 0..10 {
        while limits.check("u1").await.unwrap().is_allowed() {
            allowed += 1;
        }
        clock.advance(seconds(1));
    }
    assert_eq!(allowed, 5);
    let headers = limits.headers(&limits.check("u1").await.unwrap());
    assert_eq!(headers.policy, "\"api-1\";q=2;w=1, \"api-2\";q=5;w=2678400");
    let secs = headers.retry_after.unwrap();
    // From the 15th of June, 15:06:50, to the first of July.
    assert_eq!(secs, 1_327_990);
    clock.advance(seconds(secs));
    assert!(limits.check("u1").await.unwrap().is_allowed());
    let two = stores.limits("api").quota(5, Calendar::monthly()).quota(6, Calendar::monthly()).build();
    assert_eq!(two.unwrap_err().kind(), ErrorKind::InvalidInput, "they would share their count");
}
