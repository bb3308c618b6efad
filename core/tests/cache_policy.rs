//! What the policy promises where several of its parts meet.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use stanchion::cache::{Eager, StaleReason, WarmOptions};
use stanchion::prelude::*;
use stanchion_memory::MokaNear;

use support::{Flaky, manual, settle};

async fn loaded(cache: &Cache<u32>, value: u32) -> u32 {
    *cache.get_or_load(1, move || async move { Ok::<_, Infallible>(value) }).await.unwrap()
}

async fn failing(cache: &Cache<u32>) -> Result<Served<u32>, LoadError<&'static str>> {
    cache.serve(1, || async { Err::<u32, _>("down") }).await
}

#[tokio::test]
async fn an_error_is_the_callers_unless_fail_safe_is_asked_for() {
    for asked in [false, true] {
        let (backend, clock) = manual();
        let flaky = Flaky::over(&backend.stores());
        let mut builder = flaky.cache(&clock).near(MokaNear::entries(10));
        if asked {
            builder = builder.fail_safe(hours(1), seconds(30));
        }
        let cache = builder.build().unwrap();
        cache.set(1, &1).await.unwrap();
        assert!(cache.get(1).await.unwrap().is_some() && cache.peek(1).is_some());
        flaky.lose();
        match (asked, failing(&cache).await) {
            (false, Err(LoadError::Loader(error))) if *error == "down" => {
                clock.advance(Duration::from_millis(500));
                assert_eq!(loaded(&cache, 2).await, 2, "it is not left alone");
            }
            (true, Ok(served)) => {
                assert_eq!(*served.value, 1);
                assert!(matches!(served.freshness, Freshness::Stale { why: StaleReason::LoaderFailed, .. }));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_near_hit_is_loaded_anew_in_time() {
    let (backend, clock) = manual();
    let cache: Cache<u32> = backend
        .stores()
        .cache("n")
        .ttl(minutes(10))
        .eager(Eager::After(0.8))
        .near(MokaNear::entries(10))
        .build()
        .unwrap();
    cache.set(1, &1).await.unwrap();
    assert!(cache.get(1).await.unwrap().is_some());
    clock.advance(minutes(7));
    assert_eq!(loaded(&cache, 2).await, 1);
    settle().await;
    assert_eq!(cache.stats().loads, 0);
    clock.advance(minutes(2));
    for _ in 0..10 {
        assert_eq!(loaded(&cache, 2).await, 1, "served at once");
    }
    settle().await;
    assert_eq!(cache.stats().loads, 1);
    assert_eq!(loaded(&cache, 3).await, 2);
    assert_eq!(cache.stats().store_hits, 2, "the others were near");
}

#[tokio::test]
async fn a_value_with_a_life_of_its_own_is_due_by_that() {
    let (backend, clock) = manual();
    let stores = backend.stores();
    let builder = || stores.cache::<u32>("n").ttl(minutes(10)).negative_ttl(seconds(30));
    let cache = builder().eager(Eager::After(0.8)).build().unwrap();
    for _ in 0..10 {
        assert_eq!(cache.get_or_find(2, || async { Ok::<_, Infallible>(None::<u32>) }).await.unwrap(), None);
        clock.advance(seconds(1));
        settle().await;
    }
    assert_eq!(cache.stats().loads, 1, "absence is remembered");
    let load = || async { Ok::<_, Infallible>(Loaded::new(1).ttl(minutes(1))) };
    for _ in 0..4 {
        assert_eq!(*cache.get_or_load(1, load).await.unwrap(), 1);
        clock.advance(seconds(10));
        settle().await;
    }
    assert_eq!(cache.stats().loads, 2);
    // Its own life again, and not the cache's.
    assert!(cache.touch(1).await.unwrap());
    clock.advance(seconds(59));
    assert!(cache.get(1).await.unwrap().is_some());
    clock.advance(seconds(1));
    assert!(cache.get(1).await.unwrap().is_none());
}

#[tokio::test]
async fn a_failing_loader_is_left_alone_in_the_background_too() {
    let (backend, clock) = manual();
    let stores = backend.stores();
    let builder = || stores.cache::<u32>("n").ttl(minutes(10));
    let stale = builder().stale_while_revalidate(minutes(5)).build().unwrap();
    let eager = builder().eager(Eager::After(0.5)).build().unwrap();
    for (cache, age) in [(stale, minutes(12)), (eager, minutes(6))] {
        cache.set(1, &1).await.unwrap();
        clock.advance(age);
        for _ in 0..5 {
            assert_eq!(*failing(&cache).await.unwrap().value, 1);
            settle().await;
        }
        assert_eq!(cache.stats().loads, 1);
        clock.advance(seconds(30));
        assert_eq!(*failing(&cache).await.unwrap().value, 1);
        settle().await;
        assert_eq!(cache.stats().loads, 2);
        clock.advance(seconds(30));
        loaded(&cache, 2).await;
        settle().await;
        assert_eq!(loaded(&cache, 3).await, 2);
    }
}

#[tokio::test]
async fn touches_that_meet_have_all_happened() {
    let (backend, clock) = manual();
    let flaky = Flaky::over(&backend.stores());
    let cache = flaky.cache(&clock).build().unwrap();
    cache.set(1, &1).await.unwrap();
    flaky.polite.store(true, Ordering::SeqCst);
    let touches: Vec<_> = (0..50)
        .map(|_| {
            let (cache, clock) = (cache.clone(), clock.clone());
            tokio::spawn(async move {
                clock.advance(Duration::from_millis(1));
                cache.touch(1).await
            })
        })
        .collect();
    for touch in touches {
        assert!(touch.await.unwrap().unwrap());
    }
    assert!(!cache.touch(2).await.unwrap());
}

#[tokio::test]
async fn one_bad_value_spoils_no_batch_and_tags_from_a_loader_count() {
    let (backend, clock) = manual();
    let cache: Cache<u32> = backend.stores().cache("n").build().unwrap();
    let tag = Tag::new("team").unwrap();
    cache.put(0, Loaded::new(0).tag(tag.clone())).await.unwrap();
    clock.advance(seconds(1));
    let of = tag.clone();
    let load = move |ids: Vec<u32>| {
        let tag = of.clone();
        async move {
            let value = |id: u32| match id {
                3 => Loaded::new(id).ttl(Duration::ZERO),
                4 => Loaded::new(id).tag(Tag::new("never used before").unwrap()),
                _ => Loaded::new(id).tag(tag.clone()),
            };
            Ok::<_, Infallible>(ids.into_iter().map(|id| (id, value(id))).collect())
        }
    };
    let found = cache.get_or_load_many(&[1, 2, 3, 4], load.clone()).await.unwrap();
    assert_eq!(
        found.iter().map(|value| value.as_deref().copied()).collect::<Vec<_>>(),
        [Some(1), Some(2), Some(3), Some(4)]
    );
    let stored = || async {
        cache.get_many(&[1, 2, 3, 4]).await.unwrap().iter().map(Option::is_some).collect::<Vec<_>>()
    };
    assert_eq!(stored().await, [true, true, false, false]);
    assert_eq!((cache.stats().fenced, cache.stats().unstorable), (1, 0), "a life of zero is no mistake");
    cache.invalidate_tag(&tag).await.unwrap();
    assert_eq!(stored().await, [false; 4]);
    clock.advance(seconds(1));
    // The leases that were not filled are given back.
    settle().await;
    let warmed =
        cache.warm_stream(futures_util::stream::iter(1..=4), WarmOptions::new(), load, |_| ()).await.unwrap();
    assert_eq!((warmed.seen, warmed.stored, warmed.failed), (4, 3, 0));
    assert_eq!(stored().await, [true, true, false, true]);
}

#[tokio::test]
async fn a_stale_plain_value_is_loaded_once_for_two_processes() {
    let (backend, clock) = manual();
    let build = || {
        let builder = backend.handle().stores().cache::<u32>("n").plain().ttl(minutes(10));
        builder.fail_safe(hours(1), seconds(30)).build().unwrap()
    };
    let (here, there) = (build(), build());
    here.set(1, &1).await.unwrap();
    clock.advance(minutes(20));
    let go = Arc::new(tokio::sync::Notify::new());
    let loads = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = [here, there]
        .into_iter()
        .map(|cache| {
            let (go, loads) = (go.clone(), loads.clone());
            tokio::spawn(async move {
                let load = move || async move {
                    loads.fetch_add(1, Ordering::SeqCst);
                    go.notified().await;
                    Ok::<u32, Infallible>(2)
                };
                *cache.get_or_load(1, load).await.unwrap()
            })
        })
        .collect();
    settle().await;
    go.notify_waiters();
    settle().await;
    clock.advance(seconds(1));
    settle().await;
    go.notify_waiters();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), 2);
    }
    assert_eq!(loads.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_panic_of_the_callers_own_code_is_said_to_be_one() {
    let (backend, _) = manual();
    let cache: Cache<u32> = backend.stores().cache("n").tags(|_| panic!("a bug")).build().unwrap();
    let load = cache.get_or_load(1, || async { Ok::<_, Infallible>(1) }).await;
    assert!(matches!(load, Err(LoadError::Panicked)), "{load:?}");
}

#[tokio::test]
async fn what_follows_events_ends_with_its_cache() {
    use stanchion::event::standard::UserUpdated;
    let (backend, _) = manual();
    let stores = backend.stores();
    let held = Arc::new(());
    let cache: Cache<u32> = stores.cache("n").build().unwrap();
    let inside = held.clone();
    let key = move |event: &UserUpdated| {
        assert!(Arc::strong_count(&inside) > 0);
        Some(event.user_id.clone())
    };
    cache.invalidate_on(&stores.topic::<UserUpdated>().unwrap(), key).await.unwrap();
    settle().await;
    assert_eq!(Arc::strong_count(&held), 2);
    drop(cache);
    settle().await;
    assert_eq!(Arc::strong_count(&held), 1, "without another event");
}

#[tokio::test]
async fn a_find_decides_by_what_it_found_and_its_caller_can_tell() {
    let (backend, clock) = manual();
    let cache: Cache<u32> = backend
        .stores()
        .cache("n")
        .fail_safe(hours(1), seconds(30))
        .negative_ttl(minutes(5))
        .build()
        .unwrap();
    let short = || async { Ok::<_, Infallible>(Some(Loaded::new(1).ttl(minutes(1)))) };
    assert_eq!(cache.serve_found(1, short).await.unwrap(), (Some(Arc::new(1)), Freshness::Fresh));
    let kept = || async { Ok::<_, Infallible>(Some(Loaded::new(2).not_stored())) };
    assert_eq!(cache.get_or_find(2, kept).await.unwrap().as_deref(), Some(&2));
    assert!(cache.get(2).await.unwrap().is_none());
    clock.advance(minutes(2));
    let fails = || async { Err::<Option<u32>, _>("down") };
    let (value, freshness) = cache.serve_found(1, fails).await.unwrap();
    assert_eq!(value.as_deref(), Some(&1));
    assert!(matches!(freshness, Freshness::Stale { why: StaleReason::LoaderFailed, .. }), "{freshness:?}");
}

#[tokio::test]
async fn a_batch_whose_loader_fails_is_served_what_is_stale() {
    let (backend, clock) = manual();
    let cache: Cache<u32> =
        backend.stores().cache("n").ttl(minutes(1)).fail_safe(hours(1), seconds(30)).build().unwrap();
    cache.set_many(&[(1, 1), (2, 2)]).await.unwrap();
    clock.advance(minutes(2));
    cache.set(2, &2).await.unwrap();
    let loads = Arc::new(AtomicUsize::new(0));
    let fails = {
        let loads = Arc::clone(&loads);
        move |_| async move {
            loads.fetch_add(1, Ordering::SeqCst);
            Err::<Vec<(u32, u32)>, _>("down")
        }
    };
    // One that was never there can't be made up for, and spoils none of the others.
    let served = cache.serve_many(&[1, 2, 3], fails.clone()).await.unwrap();
    assert!(matches!(&served[2], Err(LoadError::Loader(error)) if **error == "down"));
    let all = cache.get_or_load_many(&[1, 2, 3], fails.clone()).await;
    assert!(matches!(all, Err(LoadError::Loader(error)) if *error == "down"));
    for _ in 0..2 {
        let served = cache.serve_many(&[1, 2, 1], fails.clone()).await.unwrap();
        let served: Vec<_> = served.into_iter().map(|one| one.unwrap().unwrap()).collect();
        let values: Vec<_> = served.iter().map(|served| *served.value).collect();
        assert_eq!(values, [1, 2, 1]);
        let stale: Vec<_> = served.iter().map(|one| one.freshness != Freshness::Fresh).collect();
        assert_eq!(stale, [true, false, true]);
    }
    assert_eq!(loads.load(Ordering::SeqCst), 1, "then it is not run again for a while");
    clock.advance(seconds(31));
    let loads = |ids: Vec<u32>| async move {
        assert_eq!(ids, [1]);
        Ok::<_, Infallible>(vec![(1, 5)])
    };
    let served = cache.get_or_load_many(&[1, 2], loads).await.unwrap();
    assert_eq!(served.iter().flatten().map(|value| **value).collect::<Vec<_>>(), [5, 2]);
}

#[tokio::test]
async fn one_process_of_two_loads_what_is_due_by_chance() {
    let (backend, clock) = manual();
    // So great a factor that chance says yes each time.
    let eager = |backend: &stanchion_memory::MemoryBackend| -> Cache<u32> {
        backend.stores().cache("n").ttl(minutes(10)).eager(Eager::AtRandom(1e9)).build().unwrap()
    };
    let (here, there) = (eager(&backend), eager(&backend.handle()));
    let slow = clock.clone();
    let first = || async move {
        slow.advance(seconds(1));
        Ok::<_, Infallible>(1)
    };
    here.get_or_load(1, first).await.unwrap();
    clock.advance(minutes(1));
    let gate = Arc::new(tokio::sync::Notify::new());
    let opened = Arc::clone(&gate);
    let second = move || async move {
        opened.notified().await;
        Ok::<_, Infallible>(2)
    };
    assert_eq!(*here.get_or_load(1, second).await.unwrap(), 1, "while it is loaded anew");
    settle().await;
    assert_eq!(loaded(&there, 3).await, 1);
    settle().await;
    assert_eq!((here.stats().loads, there.stats().loads), (2, 0));
    assert_eq!(there.stats().lease_waits, 0, "nobody waits for what is only due");
    gate.notify_one();
    settle().await;
    assert_eq!(there.stats().loads, 0, "the other was quicker");
    assert_eq!(there.get(1).await.unwrap().as_deref(), Some(&2));
}

#[tokio::test]
async fn jitter_spreads_the_ends_of_what_was_stored_together_and_lengthens_no_life() {
    const MANY: u32 = 40;
    for grace in [Duration::ZERO, hours(1)] {
        let (backend, clock) = manual();
        let stores = backend.stores();
        let cache: Cache<u32> = stores
            .cache("n")
            .ttl(minutes(10))
            .negative_ttl(minutes(4))
            .jitter(0.5)
            .fail_safe(grace, seconds(30))
            .build()
            .unwrap();
        let ids = |way: u32| (way * MANY..(way + 1) * MANY).collect::<Vec<_>>();
        // Every way in which a value is stored.
        for id in ids(0) {
            cache.set(id, &id).await.unwrap();
        }
        cache.set_many(&ids(1).into_iter().map(|id| (id, id)).collect::<Vec<_>>()).await.unwrap();
        for id in ids(2) {
            cache.get_or_load(id, move || async move { Ok::<_, Infallible>(id) }).await.unwrap();
        }
        let load = |ids: Vec<u32>| async move {
            Ok::<_, Infallible>(ids.into_iter().map(|id| (id, id)).collect::<Vec<_>>())
        };
        cache.get_or_load_many(&ids(3), load).await.unwrap();
        cache.warm(ids(4), WarmOptions::new(), load, |_| ()).await.unwrap();
        // With a life of their own, and those of which there is none.
        for id in ids(5) {
            cache.put(id, Loaded::new(id).ttl(minutes(2))).await.unwrap();
        }
        for id in ids(6) {
            cache.get_or_find(id, || async { Ok::<_, Infallible>(None::<u32>) }).await.unwrap();
        }

        let store = stores.cache_store().unwrap();
        let mut lives = Vec::new();
        for (way, whole) in (0..).zip([10, 10, 10, 10, 10, 2, 4].map(minutes)) {
            let mut ends = Vec::new();
            for id in ids(way) {
                let kept = store.ttl(&cache.key(id).unwrap()).await.unwrap().unwrap().as_duration();
                // The grace is for values.
                let grace = if way == 6 { Duration::ZERO } else { grace };
                let life = kept.checked_sub(grace).unwrap();
                assert!(life <= whole && life >= whole / 2, "way {way}: {life:?}");
                ends.push(life);
            }
            lives.extend(ends.iter().copied());
            ends.sort_unstable();
            ends.dedup();
            assert!(ends.len() > 30, "way {way}: {} ends", ends.len());
            let spread = ends[ends.len() - 1].saturating_sub(ends[0]);
            assert!(spread > whole / 4, "way {way}: {spread:?}");
        }
        // What is served ends when what is stored does: the life is in both.
        let counts = async |id: u32| cache.get(id).await.unwrap().is_some();
        clock.advance(minutes(7));
        for (id, life) in (0..5 * MANY).zip(&lives) {
            assert_eq!(counts(id).await, *life > minutes(7), "{id}: {life:?}");
        }
        clock.advance(minutes(3));
        for id in 0..5 * MANY {
            assert!(!counts(id).await, "{id}");
        }
    }
}
