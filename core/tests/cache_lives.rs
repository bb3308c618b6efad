//! How long values count, are served stale, and what is counted of them, where it is easily got wrong.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::convert::Infallible;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use stanchion::cache::{Eager, WarmOptions};
use stanchion::clock::Clock;
use stanchion::prelude::*;
use stanchion::time::days;
use stanchion_memory::{MemoryBackend, MokaNear};

use support::{Flaky, manual, settle};

fn plain(backend: &MemoryBackend) -> Cache<u32> {
    backend.stores().cache("n").build().unwrap()
}

async fn loaded(cache: &Cache<u32>, value: u32) -> u32 {
    *cache.get_or_load(1, move || async move { Ok::<_, Infallible>(value) }).await.unwrap()
}

#[tokio::test]
async fn a_touch_gives_a_life_of_a_hundred_days_again() {
    let (backend, clock) = manual();
    let cache: Cache<u32> = backend.stores().cache("n").ttl(days(100)).build().unwrap();
    cache.set(1, &1).await.unwrap();
    clock.advance(days(1));
    assert!(cache.touch(1).await.unwrap());
    clock.advance(days(50));
    assert!(cache.get(1).await.unwrap().is_some(), "touched fifty days ago, and lives a hundred");
}

#[tokio::test]
async fn a_long_life_is_due_by_its_share() {
    let (backend, clock) = manual();
    let cache: Cache<u32> =
        backend.stores().cache("n").ttl(days(100)).eager(Eager::After(0.5)).build().unwrap();
    cache.set(1, &1).await.unwrap();
    clock.advance(days(60));
    loaded(&cache, 2).await;
    settle().await;
    assert_eq!(cache.stats().loads, 1, "six tenths are over");
}

#[tokio::test]
async fn a_touch_keeps_a_value_of_a_readable_newer_schema() {
    let (backend, _) = manual();
    let of = |schema, readable: &[u32]| {
        backend.handle().stores().cache::<u32>("n").schema(schema, readable).build().unwrap()
    };
    // The first step of a rollout: all read 3 before any writes it.
    let (first, second) = (of(2, &[3]), of(3, &[2]));
    second.set(1, &3).await.unwrap();
    assert_eq!(first.get(1).await.unwrap().as_deref(), Some(&3));
    assert!(first.touch(1).await.unwrap());
    assert_eq!(second.get(1).await.unwrap().as_deref(), Some(&3), "touched, and gone");
}

#[tokio::test]
async fn a_plain_value_with_endless_grace_is_fresh_first() {
    let (backend, _) = manual();
    let cache: Cache<u32> =
        backend.stores().cache("n").plain().fail_safe(Duration::MAX, seconds(30)).build().unwrap();
    cache.set(1, &1).await.unwrap();
    assert_eq!(cache.get(1).await.unwrap().as_deref(), Some(&1));
}

#[tokio::test]
async fn fail_safe_serves_nothing_that_this_process_dropped_itself() {
    let (backend, clock) = manual();
    let flaky = Flaky::over(&backend.stores());
    let cache =
        flaky.cache(&clock).near(MokaNear::entries(10)).fail_safe(hours(1), seconds(30)).build().unwrap();
    let tag = Tag::new("t").unwrap();
    cache.put(1, Loaded::new(1).tag(tag.clone())).await.unwrap();
    assert!(cache.get(1).await.unwrap().is_some());
    cache.invalidate_tag(&tag).await.unwrap();
    assert_eq!(cache.get(1).await.unwrap(), None);
    flaky.lose();
    let served = cache.serve(1, || async { Err::<u32, _>("down") }).await;
    assert!(served.is_err(), "dropped here: {served:?}");
}

#[tokio::test]
async fn fail_safe_ends_and_says_the_true_age() {
    let (backend, clock) = manual();
    let cache: Cache<u32> =
        backend.stores().cache("n").ttl(minutes(10)).fail_safe(minutes(1), seconds(1)).build().unwrap();
    cache.set(1, &1).await.unwrap();
    clock.advance(minutes(10) + seconds(1));
    let serving = {
        let (cache, clock) = (cache.clone(), clock.clone());
        tokio::spawn(async move {
            cache
                .serve(1, move || async move {
                    clock.sleep_until(clock.now().saturating_add(minutes(30))).await;
                    Err::<u32, _>("down")
                })
                .await
        })
    };
    settle().await;
    for _ in 0..31 {
        clock.advance(minutes(1));
        settle().await;
    }
    let served = serving.await.unwrap();
    assert!(served.is_err(), "half an hour after its end, with a minute of grace: {served:?}");
}

#[tokio::test]
async fn a_warming_of_one_batch_does_not_panic() {
    let (backend, _) = manual();
    let cache = plain(&backend);
    let load =
        |ids: Vec<u32>| async move { Ok::<_, Infallible>(ids.into_iter().map(|id| (id, id)).collect()) };
    let options = WarmOptions::new().batch(usize::MAX).unwrap();
    assert_eq!(cache.warm(1..4, options, load, |_| ()).await.unwrap().stored, 3);
}

#[tokio::test]
async fn a_read_is_a_hit_or_a_miss() {
    let (backend, _) = manual();
    let cache: Cache<u32> =
        backend.stores().cache("n").negative_ttl(minutes(1)).near(MokaNear::entries(10)).build().unwrap();
    cache.get_or_find(1, || async { Ok::<_, Infallible>(None::<u32>) }).await.unwrap();
    cache.get(1).await.unwrap();
    let before = cache.stats();
    loaded(&cache, 2).await;
    let after = cache.stats();
    assert_eq!((after.hits - before.hits, after.misses - before.misses), (0, 1), "one read");
}

#[tokio::test]
async fn the_lag_of_the_feed_is_no_time_between_two_writes() {
    let (backend, clock) = manual();
    let flaky = Flaky::over(&backend.stores());
    let cache = flaky.cache(&clock).near(MokaNear::entries(10)).build().unwrap();
    let there = plain(&backend.handle());
    cache.set(1, &1).await.unwrap();
    flaky.down.store(true, SeqCst);
    cache.set(1, &2).await.unwrap_err(); // has no echo
    flaky.down.store(false, SeqCst);
    clock.advance(minutes(10));
    there.set(1, &3).await.unwrap();
    assert!(cache.stats().invalidation_lag < seconds(1), "{:?}", cache.stats().invalidation_lag);
}
