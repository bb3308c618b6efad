//! Loads: one in a deployment, never stored over what was written meanwhile, and what is served if they fail.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use stanchion::cache::{CacheBuilder, Eager, StaleReason, WarmOptions};
use stanchion::environment::Environment;
use stanchion::prelude::*;
use stanchion_memory::{MemoryBackend, MokaNear};
use tokio::sync::Notify;

use stanchion::cache::AllParts as _;
use support::{Flaky, instant, manual, settle, slow};

fn plain(backend: &MemoryBackend) -> Cache<u32> {
    backend.stores().cache("n").build().unwrap()
}

#[tokio::test]
async fn what_was_loaded_before_a_write_is_never_stored_after_it() {
    for writes in 0..5 {
        let (backend, _) = manual();
        let (reader, writer) = (plain(&backend), plain(&backend.handle()));
        if writes == 4 {
            // There is a value, and it is loaded anew.
            writer.set(1, &0).await.unwrap();
            writer.clear().await.unwrap();
        }
        // The reader has begun: it has read the old row.
        let (load, row, begun) = slow(&reader, 1);
        begun.await.unwrap();
        // The writer commits the new row and tells the cache.
        match writes {
            0 => writer.remove(1).await.map(drop).unwrap(),
            1 => writer.set(1, &2).await.unwrap(),
            2 => writer.set_many(&[(1, 2)]).await.unwrap(),
            3 => writer.invalidate(1).await.unwrap(),
            _ => writer.remove_many(&[1]).await.map(drop).unwrap(),
        }
        // Only now the old row arrives.
        row.send(1).unwrap();
        assert_eq!(*load.await.unwrap().unwrap(), 1, "who asked before is served what was true then");
        let expected = if matches!(writes, 1 | 2) { Some(2) } else { None };
        assert_eq!(reader.get(1).await.unwrap().as_deref().copied(), expected, "write {writes}");
        assert_eq!(reader.stats().fenced, 1);
        // Nothing is left behind: the next load is stored.
        if expected.is_none() {
            assert_eq!(*instant(&reader, 1, 2).await.unwrap().unwrap(), 2);
            assert_eq!(writer.get(1).await.unwrap().as_deref(), Some(&2));
        }
    }
}

#[tokio::test]
async fn a_load_under_way_is_dropped_by_a_tag_too() {
    let (backend, _) = manual();
    let (reader, writer) = (plain(&backend), plain(&backend.handle()));
    let (load, row, begun) = slow(&reader, 1);
    begun.await.unwrap();
    writer.clear().await.unwrap();
    row.send(1).unwrap();
    load.await.unwrap().unwrap();
    assert_eq!(reader.get(1).await.unwrap(), None);
}

#[tokio::test]
async fn who_asks_after_a_write_is_not_served_what_was_loaded_before_it() {
    let (backend, _) = manual();
    let cache = plain(&backend);
    let (old, row, begun) = slow(&cache, 1);
    begun.await.unwrap();
    cache.remove(1).await.unwrap();
    assert_eq!(*instant(&cache, 1, 2).await.unwrap().unwrap(), 2);
    row.send(1).unwrap();
    assert_eq!(*old.await.unwrap().unwrap(), 1);
    assert_eq!(cache.get(1).await.unwrap().as_deref(), Some(&2));
}

#[tokio::test]
async fn one_load_serves_every_process_and_a_dead_one_is_taken_over() {
    let (backend, clock) = manual();
    let (here, there) = (plain(&backend), plain(&backend.handle()));
    let (first, row, begun) = slow(&here, 1);
    begun.await.unwrap();
    let waiting: Vec<_> = (0..50).map(|_| instant(&there, 1, 99)).collect();
    settle().await;
    row.send(1).unwrap();
    assert_eq!(*first.await.unwrap().unwrap(), 1);
    for waiter in waiting {
        assert_eq!(*waiter.await.unwrap().unwrap(), 1, "woken by the fill, without the clock having moved");
    }
    assert_eq!((here.stats().loads, there.stats().loads), (1, 0));
    let waits = there.stats().lease_waits;
    assert!(
        (1..=2).contains(&waits),
        "one waits for all, and looks again once it is told of changes: {waits}"
    );

    // A process that dies holds its lease until it runs out: here its tasks are cut off.
    let dying = backend.handle().stores();
    let dead: Cache<u32> = dying.cache("n").build().unwrap();
    let store = dying.cache_store().unwrap();
    let token = stanchion::cache::LeaseToken::new([9; 16]);
    let lease = stanchion::time::Ttl::new(seconds(3)).unwrap();
    let key = dead.key(2).unwrap();
    let request = stanchion::cache::LeaseRequest::new(key, token, lease, stanchion::cache::Want::IfAbsent);
    store.fetch(&[request]).await.unwrap();
    let waiter = instant(&there, 2, 5);
    for _ in 0..29 {
        settle().await;
        clock.advance(Duration::from_millis(100));
    }
    settle().await;
    assert!(!waiter.is_finished());
    for _ in 0..4 {
        settle().await;
        clock.advance(Duration::from_millis(100));
    }
    assert_eq!(*waiter.await.unwrap().unwrap(), 5);
}

#[tokio::test]
async fn a_long_load_keeps_its_lease_and_a_dropped_one_gives_it_back() {
    let (backend, clock) = manual();
    let here = plain(&backend);
    let there = backend.handle().stores().cache("n").wait_timeout(minutes(1)).build().unwrap();
    let (load, row, begun) = slow(&here, 1);
    begun.await.unwrap();
    let waiter = instant(&there, 1, 99);
    for _ in 0..20 {
        settle().await;
        clock.advance(seconds(1));
    }
    row.send(1).unwrap();
    assert_eq!(*load.await.unwrap().unwrap(), 1);
    clock.advance(seconds(1));
    assert_eq!(*waiter.await.unwrap().unwrap(), 1);
    assert_eq!(there.stats().loads, 0);

    let (load, _row, begun) = slow(&here, 2);
    begun.await.unwrap();
    load.abort();
    settle().await;
    assert_eq!(
        *instant(&there, 2, 7).await.unwrap().unwrap(),
        7,
        "at once, without waiting for the lease to end"
    );
}

#[tokio::test]
async fn a_stale_value_is_served_while_it_is_loaded_anew() {
    let (backend, clock) = manual();
    let cache: Cache<u32> =
        backend.stores().cache("n").ttl(minutes(10)).stale_while_revalidate(minutes(5)).build().unwrap();
    cache.set(1, &1).await.unwrap();
    clock.advance(minutes(12));
    assert_eq!(cache.get(1).await.unwrap(), None, "who has no loader is served nothing stale");
    let served = cache.serve(1, || async { Ok::<_, Infallible>(2) }).await.unwrap();
    assert_eq!(*served.value, 1);
    let age = match served.freshness {
        Freshness::Stale { age, why: StaleReason::Revalidating } => age,
        other => panic!("{other:?}"),
    };
    assert_eq!(age, minutes(2));
    settle().await;
    assert_eq!(*cache.get_or_load(1, || async { Ok::<_, Infallible>(3) }).await.unwrap(), 2);
    clock.advance(minutes(15));
    assert_eq!(
        *cache.get_or_load(1, || async { Ok::<_, Infallible>(4) }).await.unwrap(),
        4,
        "too old to be served"
    );
}

#[tokio::test]
async fn an_eager_refresh_comes_before_the_end_and_once() {
    let (backend, clock) = manual();
    let cache: Cache<u32> =
        backend.stores().cache("n").ttl(minutes(10)).eager(Eager::After(0.8)).build().unwrap();
    cache.set(1, &1).await.unwrap();
    clock.advance(minutes(7));
    assert_eq!(*cache.get_or_load(1, || async { Ok::<_, Infallible>(2) }).await.unwrap(), 1);
    settle().await;
    assert_eq!(cache.stats().loads, 0);
    clock.advance(minutes(2));
    for n in 0..10 {
        let read = *cache.get_or_load(1, || async { Ok::<_, Infallible>(2) }).await.unwrap();
        // The first has it loaded anew, and is not kept waiting for that.
        assert!(read == 1 || (read == 2 && n > 0), "read {n}: {read}");
    }
    settle().await;
    assert_eq!(cache.get(1).await.unwrap().as_deref(), Some(&2));
    assert_eq!(cache.stats().loads, 1);
}

#[tokio::test]
async fn what_can_not_be_loaded_is_served_stale_and_its_loader_left_alone() {
    let (backend, clock) = manual();
    let cache: Cache<u32> =
        backend.stores().cache("n").ttl(minutes(10)).fail_safe(hours(1), seconds(30)).build().unwrap();
    cache.set(1, &1).await.unwrap();
    clock.advance(minutes(20));
    let tried = Arc::new(AtomicUsize::new(0));
    let serve = || {
        let (cache, tried) = (cache.clone(), tried.clone());
        async move {
            let load = move || async move {
                tried.fetch_add(1, Ordering::SeqCst);
                Err::<u32, _>("down")
            };
            cache.serve(1, load).await
        }
    };
    for _ in 0..5 {
        let served = serve().await.unwrap();
        assert_eq!(*served.value, 1);
        assert!(matches!(served.freshness, Freshness::Stale { why: StaleReason::LoaderFailed, .. }));
    }
    assert_eq!(tried.load(Ordering::SeqCst), 1, "left alone for half a minute");
    clock.advance(seconds(30));
    serve().await.unwrap();
    assert_eq!(tried.load(Ordering::SeqCst), 2);
    assert_eq!(cache.stats().stale_served, 6);
    clock.advance(hours(1));
    assert!(
        matches!(serve().await, Err(LoadError::Loader(error)) if *error == "down"),
        "too old even for that"
    );
    assert!(matches!(
        cache.serve(2, || async { Err::<u32, _>("down") }).await,
        Err(LoadError::Loader(error)) if *error == "down"
    ));
}

#[tokio::test]
async fn a_slow_loader_is_passed_by_and_a_stuck_one_is_ended() {
    let (backend, clock) = manual();
    let cache: Cache<u32> = backend
        .stores()
        .cache("n")
        .ttl(minutes(10))
        .fail_safe(hours(1), seconds(30))
        .soft_timeout(seconds(1))
        .hard_timeout(seconds(10))
        .build()
        .unwrap();
    cache.set(1, &1).await.unwrap();
    clock.advance(minutes(20));
    let go = Arc::new(Notify::new());
    let serving = {
        let (cache, go) = (cache.clone(), go.clone());
        tokio::spawn(async move {
            cache
                .serve(1, move || async move {
                    go.notified().await;
                    Ok::<_, Infallible>(2)
                })
                .await
        })
    };
    settle().await;
    clock.advance(seconds(1));
    let served = serving.await.unwrap().unwrap();
    assert_eq!(*served.value, 1);
    assert!(matches!(served.freshness, Freshness::Stale { why: StaleReason::LoaderSlow, .. }));
    // The load goes on in the background.
    go.notify_one();
    settle().await;
    assert_eq!(cache.get(1).await.unwrap().as_deref(), Some(&2));

    let stuck = {
        let cache = cache.clone();
        tokio::spawn(
            async move { cache.get_or_load(2, std::future::pending::<Result<u32, Infallible>>).await },
        )
    };
    for _ in 0..11 {
        settle().await;
        clock.advance(seconds(1));
    }
    assert!(matches!(stuck.await.unwrap(), Err(LoadError::TimedOut(after)) if after == seconds(10)));
    assert_eq!(*instant(&cache, 2, 5).await.unwrap().unwrap(), 5, "its lease was given back");
}

#[tokio::test]
async fn absence_is_remembered_where_that_is_asked_for() {
    let (backend, clock) = manual();
    let finds = Arc::new(AtomicUsize::new(0));
    let find = |cache: &Cache<u32>, found: Option<u32>| {
        let (cache, finds) = (cache.clone(), finds.clone());
        async move {
            let find = move || async move {
                finds.fetch_add(1, Ordering::SeqCst);
                Ok::<_, Infallible>(found)
            };
            cache.get_or_find(1, find).await.unwrap().as_deref().copied()
        }
    };
    let forgetful = plain(&backend);
    assert_eq!((find(&forgetful, None).await, find(&forgetful, None).await), (None, None));
    assert_eq!(finds.swap(0, Ordering::SeqCst), 2);
    let cache: Cache<u32> =
        backend.stores().cache("m").negative_ttl(seconds(30)).near(MokaNear::entries(10)).build().unwrap();
    for _ in 0..3 {
        assert_eq!(find(&cache, None).await, None);
    }
    assert_eq!(finds.load(Ordering::SeqCst), 1);
    assert_eq!(cache.get(1).await.unwrap(), None);
    assert_eq!(
        *instant(&cache, 1, 3).await.unwrap().unwrap(),
        3,
        "that there is none is no answer to a loader"
    );
    assert_eq!(find(&cache, None).await, Some(3));
    cache.remove(1).await.unwrap();
    find(&cache, None).await;
    clock.advance(seconds(30));
    assert_eq!(find(&cache, Some(4)).await, Some(4));
}

#[tokio::test]
async fn the_loader_decides_life_tags_and_storing() {
    let (backend, clock) = manual();
    let cache = plain(&backend);
    let load = |id: u32, loaded: Loaded<u32>| {
        let cache = cache.clone();
        async move { *cache.get_or_load(id, move || async move { Ok::<_, Infallible>(loaded) }).await.unwrap() }
    };
    assert_eq!(load(1, Loaded::new(1).ttl(seconds(5))).await, 1);
    assert_eq!(load(2, Loaded::new(2).not_stored()).await, 2);
    assert_eq!(cache.get(2).await.unwrap(), None);
    clock.advance(seconds(5));
    assert_eq!(cache.get(1).await.unwrap(), None);
    // A tag that nobody has used before can't be told from one that was just dropped.
    let tag = Tag::new("team:red").unwrap();
    assert_eq!(load(3, Loaded::new(3).tag(tag.clone())).await, 3);
    assert_eq!(cache.get(3).await.unwrap(), None);
    clock.advance(seconds(1));
    settle().await;
    assert_eq!(load(3, Loaded::new(3).tag(tag.clone())).await, 3);
    assert_eq!(cache.get(3).await.unwrap().as_deref(), Some(&3));
    cache.invalidate_tag(&tag).await.unwrap();
    assert_eq!(cache.get(3).await.unwrap(), None);
}

#[tokio::test]
async fn a_store_that_does_not_answer_costs_its_deadline_and_then_nothing() {
    let (backend, clock) = manual();
    let flaky = Flaky::over(&backend.stores());
    let environment = Environment::system().clock(Arc::new(clock.clone()));
    let cache: Cache<u32> = CacheBuilder::new(flaky.clone(), environment, "n").build().unwrap();
    flaky.hang.store(true, Ordering::SeqCst);
    for n in 0..5 {
        let load = instant(&cache, n, n);
        settle().await;
        assert!(!load.is_finished());
        clock.advance(Duration::from_millis(100));
        assert_eq!(*load.await.unwrap().unwrap(), n);
    }
    let calls = flaky.calls.load(Ordering::SeqCst);
    for n in 5..50 {
        assert_eq!(*instant(&cache, n, n).await.unwrap().unwrap(), n, "at once");
    }
    assert_eq!(flaky.calls.load(Ordering::SeqCst), calls, "the store is left alone");
    assert_eq!(cache.get(1).await.unwrap_err().kind(), ErrorKind::Unavailable);
    flaky.hang.store(false, Ordering::SeqCst);
    clock.advance(seconds(1));
    assert_eq!(*instant(&cache, 1, 100).await.unwrap().unwrap(), 100);
    assert_eq!(cache.get(1).await.unwrap().as_deref(), Some(&100), "it is asked again");
}

#[tokio::test]
async fn a_batch_loads_what_is_missing_in_one_call() {
    let (backend, _) = manual();
    let cache: Cache<u32> = backend.stores().cache("n").near(MokaNear::entries(100)).build().unwrap();
    cache.set_many(&[(1, 10), (2, 20)]).await.unwrap();
    assert!(cache.get(1).await.unwrap().is_some());
    let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
    let load = |asked: Arc<std::sync::Mutex<Vec<Vec<u32>>>>| {
        move |ids: Vec<u32>| {
            asked.lock().unwrap().push(ids.clone());
            async move {
                Ok::<_, Infallible>(ids.into_iter().filter(|id| *id < 5).map(|id| (id, id * 100)).collect())
            }
        }
    };
    let found = cache.get_or_load_many(&[1, 4, 2, 3, 4, 9], load(asked.clone())).await.unwrap();
    let found: Vec<_> = found.iter().map(|value| value.as_deref().copied()).collect();
    assert_eq!(found, [Some(10), Some(400), Some(20), Some(300), Some(400), None]);
    let again = cache.get_or_load_many(&[4, 3, 9], load(asked.clone())).await.unwrap();
    assert_eq!(
        again.iter().map(|value| value.as_deref().copied()).collect::<Vec<_>>(),
        [Some(400), Some(300), None]
    );
    assert_eq!(*asked.lock().unwrap(), [vec![4, 3, 9], vec![9]]);
    // A writer in the middle of the load is not overwritten.
    let (there, inside) = (plain(&backend.handle()), HashMap::from([(7, 1), (8, 1)]));
    let found = cache
        .get_or_load_many(&[7, 8], |ids| async move {
            there.set(7, &2).await.unwrap();
            Ok::<_, Infallible>(ids.into_iter().map(|id| (id, inside[&id])).collect())
        })
        .await
        .unwrap();
    assert_eq!(found.iter().map(|value| value.as_deref().copied()).collect::<Vec<_>>(), [Some(1), Some(1)]);
    assert_eq!(cache.get(7).await.unwrap().as_deref(), Some(&2));
    assert_eq!(cache.get(8).await.unwrap().as_deref(), Some(&1));
}

#[tokio::test]
async fn warming_fills_what_is_missing_and_can_be_begun_again() {
    let (backend, clock) = manual();
    let cache = plain(&backend);
    for id in 0..10 {
        cache.set(id, &(id + 1_000)).await.unwrap();
    }
    let load = |ids: Vec<u32>| async move {
        if ids.contains(&55) {
            Err("a bad batch")
        } else {
            Ok(ids.into_iter().map(|id| (id, id)).collect::<Vec<_>>())
        }
    };
    let options = WarmOptions::new().batch(10).unwrap().concurrency(3).unwrap();
    let mut told = 0;
    let warmed = cache.warm(0..100, options, load, |_| told += 1).await.unwrap();
    assert_eq!((warmed.seen, warmed.present, warmed.stored, warmed.failed, told), (100, 10, 80, 10, 10));
    assert_eq!(cache.get(3).await.unwrap().as_deref(), Some(&1_003), "what was there is as it was");
    // The failure of a batch is that of each of its values, and remembered for a short while.
    clock.advance(Duration::from_millis(500));
    let again = cache
        .warm(
            0..100,
            options,
            |ids| async move { Ok::<_, Infallible>(ids.into_iter().map(|id| (id, id)).collect()) },
            |_| (),
        )
        .await
        .unwrap();
    assert_eq!((again.present, again.stored), (90, 10));
    assert!(WarmOptions::new().batch(0).is_err() && WarmOptions::new().concurrency(0).is_err());
}

#[tokio::test]
async fn a_refresh_loads_whatever_is_there() {
    let (backend, _) = manual();
    let (here, there) = (plain(&backend), plain(&backend.handle()));
    here.set(1, &1).await.unwrap();
    assert_eq!(*here.refresh(1, || async { Ok::<_, Infallible>(2) }).await.unwrap(), 2);
    assert_eq!(there.get(1).await.unwrap().as_deref(), Some(&2));
}
