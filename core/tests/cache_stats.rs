//! What a cache counts, number by number.

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use stanchion::prelude::*;
use stanchion_memory::{MokaNear, QuickNear};

use support::{Flaky, manual, settle};

#[tokio::test]
async fn what_changes_while_it_is_read_is_not_kept_near_and_counted() {
    let (backend, clock) = manual();
    let flaky = Flaky::over(&backend.stores());
    let here = flaky.cache(&clock).near(MokaNear::entries(100)).build().unwrap();
    let there: Cache<u32> = backend.handle().stores().cache("n").build().unwrap();
    there.set(1, &1).await.unwrap();
    flaky.late.store(true, Ordering::SeqCst);
    let reading = {
        let here = here.clone();
        tokio::spawn(async move { here.get(1).await })
    };
    settle().await;
    there.set(1, &2).await.unwrap();
    flaky.arrive.notify_one();
    assert_eq!(reading.await.unwrap().unwrap().as_deref(), Some(&1), "it was true when it was asked");
    let stats = here.stats();
    assert_eq!((stats.near_fenced, stats.store_hits), (1, 1));
    assert_eq!(here.peek(1), None);
    flaky.late.store(false, Ordering::SeqCst);
    assert_eq!(here.get(1).await.unwrap().as_deref(), Some(&2));
    assert_eq!(here.peek(1).as_deref(), Some(&2));
    assert_eq!(here.stats().near_fenced, 1);
}

#[tokio::test]
async fn each_change_that_is_told_is_counted() {
    let (backend, _) = manual();
    let here: Cache<u32> = backend.stores().cache("n").near(MokaNear::entries(100)).build().unwrap();
    let deaf: Cache<u32> = backend.stores().cache("n").build().unwrap();
    let there: Cache<u32> = backend.handle().stores().cache("n").build().unwrap();
    let other: Cache<u32> = backend.stores().cache("other").build().unwrap();
    there.set(1, &1).await.unwrap();
    here.set(2, &1).await.unwrap();
    there.set_many(&[(3, 1), (4, 1), (5, 1)]).await.unwrap();
    assert_eq!(here.stats().invalidations, 5, "by anybody, and of each key");
    there.remove_many(&[3, 4]).await.unwrap();
    assert_eq!(here.stats().invalidations, 7);
    other.set(1, &1).await.unwrap();
    other.clear().await.unwrap();
    assert!(there.get(1).await.unwrap().is_some());
    assert_eq!(here.stats().invalidations, 7, "what is no change of it");
    assert_eq!(deaf.stats().invalidations, 0, "without a near cache and without a wait it is not told");
}

#[tokio::test]
async fn bytes_are_counted_as_they_are_stored() {
    let (backend, _) = manual();
    let store = backend.stores().cache_store().unwrap();
    let cache: Cache<String> = backend
        .stores()
        .cache("n")
        .near(MokaNear::entries(100))
        .negative_ttl(minutes(1))
        .schema(1, &[])
        .build()
        .unwrap();
    let stored = async |id: u32| {
        store.get(&cache.key(id).unwrap()).await.unwrap().map_or(0, |bytes| bytes.len() as u64)
    };
    let bytes = || (cache.stats().bytes_read, cache.stats().bytes_written);

    cache.set(1, &"a".repeat(100)).await.unwrap();
    let mut written = stored(1).await;
    assert!(written > 100, "with the header");
    assert_eq!(bytes(), (0, written));
    cache.set_many(&[(2, "b".repeat(20)), (3, "c".repeat(30))]).await.unwrap();
    written += stored(2).await + stored(3).await;
    assert_eq!(bytes(), (0, written));
    // Loads; also that there is none.
    cache.get_or_load(4, || async { Ok::<_, ()>("d".repeat(40)) }).await.unwrap();
    assert_eq!(cache.get_or_find(5, || async { Ok::<_, ()>(None::<String>) }).await.unwrap(), None);
    let load = |ids: Vec<u32>| async move { Ok::<_, ()>(vec![(ids[0], "e".repeat(50))]) };
    cache.get_or_load_many(&[6], load).await.unwrap();
    written += stored(4).await + stored(5).await + stored(6).await;
    assert_eq!(bytes(), (0, written));
    // What is not stored is not counted.
    assert_eq!(cache.set_if_absent(1, &"f".repeat(500)).await.unwrap(), SetOutcome::NotStored);
    let own = || async { Ok::<_, ()>(Loaded::new("g".repeat(60)).not_stored()) };
    cache.get_or_load(7, own).await.unwrap();
    let mut read = stored(1).await;
    assert_eq!(bytes(), (read, written), "the condition was judged by what is there");

    // Nor what makes room for a program that knows more.
    let newer: Cache<String> = backend.stores().cache("n").schema(2, &[]).build().unwrap();
    newer.set(9, &"h".repeat(70)).await.unwrap();
    cache.set(9, &"i".repeat(80)).await.unwrap();
    assert_eq!((stored(9).await, bytes()), (0, (read, written)));

    assert!(cache.get(2).await.unwrap().is_some());
    read += stored(2).await;
    // From now on it is near, and costs nothing.
    assert!(cache.get(2).await.unwrap().is_some());
    cache.get_many(&[2, 3, 8]).await.unwrap();
    read += stored(3).await;
    assert_eq!(bytes(), (read, written));
}

#[tokio::test]
async fn the_lag_of_the_feed_is_the_longest_that_an_own_change_took() {
    let (backend, clock) = manual();
    let flaky = Flaky::over(&backend.stores());
    let here = flaky.cache(&clock).near(MokaNear::entries(100)).build().unwrap();
    let there: Cache<u32> = backend.handle().stores().cache("n").build().unwrap();
    let lag = async |of: &Cache<u32>, id: u32, late: Duration| {
        flaky.hold_news();
        of.set(id, &1).await.unwrap();
        clock.advance(late);
        flaky.deliver_news();
        here.stats().invalidation_lag
    };
    assert_eq!(lag(&here, 1, Duration::ZERO).await, Duration::ZERO);
    let millis = Duration::from_millis;
    assert_eq!(lag(&here, 1, millis(30)).await, millis(30));
    assert_eq!(lag(&here, 2, millis(20)).await, millis(30), "the longest");
    assert_eq!(lag(&there, 3, millis(50)).await, millis(30), "nobody here knows when that was written");
    assert_eq!(lag(&here, 4, millis(40)).await, millis(40));
    // Two under way: the first is followed.
    flaky.hold_news();
    here.set(5, &1).await.unwrap();
    clock.advance(millis(10));
    here.set(6, &1).await.unwrap();
    clock.advance(millis(60));
    flaky.deliver_news();
    assert_eq!(here.stats().invalidation_lag, millis(70));
    // News of another entry is no echo.
    flaky.hold_news();
    there.set(7, &1).await.unwrap();
    here.set(8, &1).await.unwrap();
    clock.advance(millis(30));
    flaky.deliver_one();
    clock.advance(millis(50));
    flaky.deliver_news();
    assert_eq!(here.stats().invalidation_lag, millis(80));
    // One whose echo never comes is given up, and keeps nobody from being followed.
    flaky.hold_news();
    here.set(9, &1).await.unwrap();
    flaky.lose();
    flaky.restore();
    clock.advance(seconds(2));
    assert_eq!(lag(&here, 10, millis(90)).await, millis(90));
}

#[tokio::test]
async fn the_time_of_loads_is_added_up() {
    let (backend, clock) = manual();
    let cache: Cache<u32> = backend.stores().cache("n").build().unwrap();
    let taking = |time: Duration| {
        let clock = clock.clone();
        move || async move {
            clock.advance(time);
            Ok::<_, ()>(1)
        }
    };
    cache.get_or_load(1, taking(seconds(2))).await.unwrap();
    assert_eq!(cache.stats().load_time, seconds(2));
    cache.get_or_load(1, taking(seconds(7))).await.unwrap();
    assert_eq!(cache.stats().load_time, seconds(2), "a hit takes no load");
    cache.refresh(1, taking(seconds(1))).await.unwrap();
    assert_eq!(cache.stats().load_time, seconds(3));
    let failing = clock.clone();
    let failed = cache.get_or_load(2, || async move {
        failing.advance(seconds(4));
        Err::<u32, _>("down")
    });
    assert!(failed.await.is_err());
    assert_eq!(cache.stats().load_time, seconds(7), "also of those that failed");
    let batch = clock.clone();
    let load = |ids: Vec<u32>| async move {
        batch.advance(seconds(5));
        Ok::<_, ()>(ids.into_iter().map(|id| (id, id)).collect())
    };
    cache.get_or_load_many(&[3, 4, 5], load).await.unwrap();
    let stats = cache.stats();
    assert_eq!((stats.load_time, stats.loads, stats.load_failures), (seconds(12), 4, 1));
    let batch = clock.clone();
    let failing = |_| async move {
        batch.advance(seconds(1));
        Err::<Vec<(u32, u32)>, _>("down")
    };
    assert!(cache.get_or_load_many(&[6, 7], failing).await.is_err());
    let stats = cache.stats();
    assert_eq!((stats.load_time, stats.loads, stats.load_failures), (seconds(13), 5, 2));
}

#[tokio::test]
async fn the_entries_that_are_near_are_counted() {
    let (backend, _) = manual();
    let stores = backend.stores();
    let near: Cache<u32> = stores.cache("n").near(QuickNear::entries(100)).build().unwrap();
    let far: Cache<u32> = stores.cache("n").build().unwrap();
    let ids: Vec<u32> = (0..20).collect();
    near.set_many(&ids.iter().map(|id| (*id, *id)).collect::<Vec<_>>()).await.unwrap();
    assert_eq!(near.stats().near_entries, 0, "a write is no read");
    near.get_many(&ids).await.unwrap();
    far.get_many(&ids).await.unwrap();
    assert_eq!((near.stats().near_entries, far.stats().near_entries), (20, 0));
    far.remove_many(&[3, 4]).await.unwrap();
    assert_eq!(near.stats().near_entries, 18, "what was dropped by anybody is gone");
    far.clear().await.unwrap();
    assert_eq!(near.stats().near_entries, 0);
}
