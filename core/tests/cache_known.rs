//! What this process has read, loaded or begun to change is what it goes by, also when the store is away.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use stanchion::cache::{CacheBuilder, WarmOptions};
use stanchion::clock::ManualClock;
use stanchion::prelude::*;
use stanchion_memory::{MokaNear, QuickNear};

use support::{Flaky, manual, settle};

struct Two {
    here: Cache<u32>,
    there: Cache<u32>,
    flaky: Arc<Flaky>,
    clock: ManualClock,
}

/// Two processes; the store of the first can be lost, and it has a near copy under 1.
async fn two(with: impl FnOnce(CacheBuilder<u32>) -> CacheBuilder<u32>) -> Two {
    let (backend, clock) = manual();
    let flaky = Flaky::over(&backend.stores());
    let here = with(flaky.cache(&clock).near(MokaNear::entries(100))).build().unwrap();
    let there = backend.handle().stores().cache("n").build().unwrap();
    here.set(1, &1).await.unwrap();
    assert_eq!(here.get(1).await.unwrap().as_deref(), Some(&1));
    assert_eq!(here.peek(1).as_deref(), Some(&1));
    Two { here, there, flaky, clock }
}

fn fail_safe(builder: CacheBuilder<u32>) -> CacheBuilder<u32> {
    builder.fail_safe(hours(1), seconds(30)).failure_ttl(Duration::ZERO)
}

fn in_outage(builder: CacheBuilder<u32>) -> CacheBuilder<u32> {
    builder.near_in_outage(hours(1))
}

/// What is served by a loader that fails.
async fn last_resort(cache: &Cache<u32>, id: u32) -> Option<u32> {
    cache.serve(id, || async { Err::<u32, _>("down") }).await.ok().map(|served| *served.value)
}

#[tokio::test]
async fn an_invalidation_that_was_dropped_may_have_happened() {
    for whole in [false, true] {
        let Two { here, flaky, .. } = two(|builder| builder).await;
        let team = Tag::new("team").unwrap();
        here.put(2, Loaded::new(2).tag(team.clone())).await.unwrap();
        assert_eq!(here.get(2).await.unwrap().as_deref(), Some(&2));
        flaky.hold_news();
        flaky.mute.store(true, SeqCst);
        let cache = here.clone();
        let invalidating = tokio::spawn(async move {
            if whole { cache.clear().await } else { cache.invalidate_tag(&team).await }
        });
        settle().await;
        invalidating.abort();
        settle().await;
        assert_eq!(here.peek(2), None, "{whole}");
        assert_eq!(here.peek(1).is_some(), !whole);
        assert_eq!(here.get(2).await.unwrap(), None, "{whole}: it has happened");
    }
}

#[tokio::test]
async fn nothing_is_served_that_a_conditional_change_has_found_to_be_absent() {
    for change in 0..3 {
        let Two { here, there, flaky, .. } = two(fail_safe).await;
        flaky.lose_feed();
        there.remove(1).await.unwrap();
        match change {
            0 => assert!(!here.touch(1).await.unwrap()),
            1 => assert_eq!(here.replace(1, &1, &2).await.unwrap(), SetOutcome::NotStored),
            _ => assert_eq!(here.set_if_present(1, &2).await.unwrap(), SetOutcome::NotStored),
        }
        flaky.lose();
        assert_eq!(last_resort(&here, 1).await, None, "{change}");
    }
}

#[tokio::test]
async fn nothing_is_served_that_a_request_for_its_lease_has_found_to_be_absent() {
    let Two { here, there, flaky, .. } = two(fail_safe).await;
    flaky.lose_feed();
    there.remove(1).await.unwrap();
    here.refresh(1, || async { Err::<u32, _>("down") }).await.unwrap_err();
    flaky.lose();
    assert_eq!(last_resort(&here, 1).await, None);
}

#[tokio::test]
async fn nothing_is_served_that_a_refresh_has_replaced() {
    let Two { here, flaky, .. } = two(in_outage).await;
    flaky.lose();
    assert_eq!(here.peek(1).as_deref(), Some(&1));
    assert_eq!(*here.refresh(1, || async { Ok::<_, Infallible>(2) }).await.unwrap(), 2);
    assert_eq!(here.peek(1), None);
}

#[tokio::test]
async fn a_generation_that_is_read_for_a_loaded_value_ends_the_copies_of_the_last() {
    for batch in [false, true] {
        let Two { here, there, flaky, clock } = two(in_outage).await;
        let team = Tag::new("team").unwrap();
        here.put(2, Loaded::new(2).tag(team.clone())).await.unwrap();
        assert_eq!(here.get(2).await.unwrap().as_deref(), Some(&2));
        flaky.lose_feed();
        assert_eq!(here.peek(2).as_deref(), Some(&2));
        there.invalidate_tag(&team).await.unwrap();
        clock.advance(seconds(1));
        let of = team.clone();
        if batch {
            let load = move |ids: Vec<u32>| async move {
                Ok::<_, Infallible>(vec![(ids[0], Loaded::new(3).tag(of))])
            };
            here.get_or_load_many(&[3], load).await.unwrap();
        } else {
            let load = move || async move { Ok::<_, Infallible>(Loaded::new(3).tag(of)) };
            here.get_or_load(3, load).await.unwrap();
        }
        assert_eq!(here.peek(2), None, "{batch}");
    }
}

#[tokio::test]
async fn what_was_read_to_be_absent_is_not_put_back_by_an_earlier_read() {
    let Two { here, there, flaky, .. } = two(in_outage).await;
    flaky.lose_feed();
    there.set(1, &2).await.unwrap();
    here.remove(5).await.unwrap();
    // What it has read is on its way while the entry is removed, and read to be.
    flaky.late.store(true, SeqCst);
    here.remove(1).await.unwrap();
    there.set(1, &2).await.unwrap();
    let cache = here.clone();
    let early = tokio::spawn(async move { cache.get(1).await });
    settle().await;
    there.remove(1).await.unwrap();
    assert_eq!(here.get_many(&[1]).await.unwrap(), [None]);
    flaky.arrive.notify_one();
    assert_eq!(early.await.unwrap().unwrap().as_deref(), Some(&2));
    assert_eq!(here.peek(1), None);
}

#[tokio::test]
async fn what_was_read_later_is_not_replaced_by_an_earlier_read() {
    let Two { here, there, flaky, clock } = two(in_outage).await;
    flaky.lose_feed();
    here.remove(1).await.unwrap();
    there.set(1, &2).await.unwrap();
    flaky.late.store(true, SeqCst);
    let cache = here.clone();
    let early = tokio::spawn(async move { cache.get(1).await });
    settle().await;
    clock.advance(Duration::from_millis(10));
    there.set(1, &3).await.unwrap();
    assert_eq!(here.get_many(&[1]).await.unwrap()[0].as_deref(), Some(&3));
    flaky.arrive.notify_one();
    assert_eq!(early.await.unwrap().unwrap().as_deref(), Some(&2));
    assert_eq!(here.peek(1).as_deref(), Some(&3));
}

#[tokio::test]
async fn a_copy_is_as_old_as_the_beginning_of_its_read() {
    let Two { here, flaky, clock, .. } = two(in_outage).await;
    flaky.lose_feed();
    let kept = here.get(1).await.unwrap();
    assert!(kept.is_some());
    here.set(1, &2).await.unwrap();
    flaky.late.store(true, SeqCst);
    let cache = here.clone();
    let reading = tokio::spawn(async move { cache.get(1).await });
    settle().await;
    clock.advance(Duration::from_millis(90));
    settle().await;
    flaky.arrive.notify_one();
    assert_eq!(reading.await.unwrap().unwrap().as_deref(), Some(&2));
    let served = here.serve(1, || async { Ok::<_, Infallible>(100) }).await.unwrap();
    assert_eq!(served.freshness, Freshness::Unconfirmed { age: Duration::from_millis(90) });
}

#[tokio::test]
async fn a_touch_that_met_a_removal_has_touched_nothing() {
    let Two { here, there, flaky, .. } = two(|builder| builder).await;
    flaky.polite.store(true, SeqCst);
    let cache = here.clone();
    let touching = tokio::spawn(async move { cache.touch(1).await });
    tokio::task::yield_now().await;
    there.remove(1).await.unwrap();
    assert!(!touching.await.unwrap().unwrap());
}

#[tokio::test]
async fn a_warming_looks_in_the_store_and_not_at_unconfirmed_copies() {
    let Two { here, there, flaky, .. } = two(in_outage).await;
    flaky.lose_feed();
    there.remove(1).await.unwrap();
    let load = |ids: Vec<u32>| async move {
        Ok::<_, Infallible>(ids.into_iter().map(|id| (id, 7)).collect::<Vec<_>>())
    };
    let warmed = here.warm([1], WarmOptions::new(), load, |_| ()).await.unwrap();
    assert_eq!((warmed.present, warmed.stored, here.stats().outage_hits), (0, 1, 0));
    assert_eq!(there.get(1).await.unwrap().as_deref(), Some(&7));
}

#[tokio::test]
async fn near_copies_in_an_outage_need_a_near_cache() {
    let (backend, _) = manual();
    let built = backend.stores().cache::<u32>("n").near_in_outage(hours(1)).build();
    assert_eq!(built.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_stale_value_that_nothing_serves_in_an_outage_is_not_kept() {
    let (backend, clock) = manual();
    let flaky = Flaky::over(&backend.stores());
    let cache = in_outage(flaky.cache(&clock).near(QuickNear::entries(100)).stale_while_revalidate(hours(1)))
        .ttl(seconds(10))
        .build()
        .unwrap();
    cache.set(1, &1).await.unwrap();
    assert_eq!(cache.get(1).await.unwrap().as_deref(), Some(&1));
    assert_eq!(cache.stats().near_entries, 1);
    clock.advance(seconds(11));
    assert_eq!(cache.get(1).await.unwrap(), None, "stale");
    assert_eq!(cache.stats().near_entries, 0);
}
