//! Loads on a store without leases: one for each key in a process, and none is stored over a change by this process.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use stanchion::cache::{CacheParts, StaleReason};
use stanchion::clock::ManualClock;
use stanchion::environment::Environment;
use stanchion::prelude::*;
use stanchion::random::SeededRandom;
use stanchion_memory::{MemoryBackend, MemoryConfig, MokaNear};
use tokio::sync::oneshot;

use support::between::Between;
use support::{Loading, instant, settle, slow};

/// A backend with all parts but leases.
fn unleased() -> (MemoryBackend, ManualClock) {
    let clock = ManualClock::new();
    let environment =
        Environment::system().clock(Arc::new(clock.clone())).random(Arc::new(SeededRandom::new(7)));
    let config = MemoryConfig::new().environment(environment);
    (MemoryBackend::with(config.cache_parts(CacheParts::all().leases(false))), clock)
}

/// A cache of a process of its own.
fn process(backend: &MemoryBackend) -> Cache<u32> {
    backend.handle().stores().cache("n").build().unwrap()
}

/// Asks for a value, alone or in a batch, with a loader that waits for a word; answers the task, the word, and when the
/// loader has begun.
fn load(cache: &Cache<u32>, batch: bool) -> (Loading<u32>, oneshot::Sender<u32>, oneshot::Receiver<()>) {
    if !batch {
        return slow(cache, 1);
    }
    let (word, value) = oneshot::channel();
    let (began, begun) = oneshot::channel();
    let (cache, value) = (cache.clone(), value.shared());
    let began = Arc::new(std::sync::Mutex::new(Some(began)));
    let task = tokio::spawn(async move {
        let load = |ids: Vec<u32>| async move {
            began.lock().unwrap().take().unwrap().send(()).unwrap();
            let value = value.await.unwrap();
            Ok::<_, Infallible>(ids.into_iter().map(|id| (id, value)).collect())
        };
        let mut values = cache.get_or_load_many(&[1], load).await?;
        Ok(values.remove(0).unwrap())
    });
    (task, word, begun)
}

async fn stored(cache: &Cache<u32>) -> Option<u32> {
    cache.get(1).await.unwrap().as_deref().copied()
}

/// The next load is stored, and seen by the other process.
async fn goes_on(cache: &Cache<u32>, other: &Cache<u32>) {
    assert_eq!(*instant(cache, 1, 9).await.unwrap().unwrap(), 9);
    assert_eq!((stored(cache).await, stored(other).await), (Some(9), Some(9)));
}

#[tokio::test]
async fn of_all_callers_in_a_process_one_loads() {
    let (backend, _) = unleased();
    let cache = process(&backend);
    let loads = Arc::new(AtomicUsize::new(0));
    let (word, value) = oneshot::channel();
    let first = {
        let (cache, loads) = (cache.clone(), loads.clone());
        tokio::spawn(async move {
            let load = || async move {
                loads.fetch_add(1, Ordering::SeqCst);
                Ok::<u32, Infallible>(value.await.unwrap())
            };
            cache.get_or_load(1, load).await
        })
    };
    let asks = || {
        let (cache, loads) = (cache.clone(), loads.clone());
        tokio::spawn(async move {
            let load = || async move {
                loads.fetch_add(1, Ordering::SeqCst);
                Ok::<_, Infallible>(8)
            };
            cache.get_or_load(1, load).await
        })
    };
    let mut others: Vec<_> = (0..20).map(|_| asks()).collect();
    settle().await;
    // The loader runs by now.
    others.extend((0..20).map(|_| asks()));
    settle().await;
    word.send(7).unwrap();
    assert_eq!(*first.await.unwrap().unwrap(), 7);
    for other in others {
        assert_eq!(*other.await.unwrap().unwrap(), 7);
    }
    assert_eq!(loads.load(Ordering::SeqCst), 1);
    assert_eq!(stored(&process(&backend)).await, Some(7));
}

#[tokio::test]
async fn what_this_process_changes_during_a_load_is_not_overwritten() {
    for (batch, change) in [false, true].into_iter().flat_map(|batch| (0..6).map(move |n| (batch, n))) {
        let (backend, _) = unleased();
        let (cache, other) = (process(&backend), process(&backend));
        let (load, word, begun) = load(&cache, batch);
        begun.await.unwrap();
        match change {
            0 => assert!(!cache.remove(1).await.unwrap()),
            1 => cache.set(1, &2).await.unwrap(),
            2 => cache.set_many(&[(1, 2)]).await.unwrap(),
            3 => assert_eq!(cache.remove_many(&[1]).await.unwrap(), 0),
            4 => assert_eq!(cache.set_if_absent(1, &2).await.unwrap(), SetOutcome::Stored),
            _ => cache.clear().await.unwrap(),
        }
        word.send(1).unwrap();
        assert_eq!(*load.await.unwrap().unwrap(), 1, "who asked before is served what was true then");
        settle().await;
        let expected = [None, Some(2), Some(2), None, Some(2), None][change];
        assert_eq!((stored(&cache).await, stored(&other).await), (expected, expected), "{batch} {change}");
        assert_eq!(cache.stats().fenced, 1, "{batch} {change}");
        cache.remove(1).await.unwrap();
        goes_on(&cache, &other).await;
    }
}

#[tokio::test]
async fn what_was_changed_before_the_store_is_asked_is_not_stored_even_for_a_moment() {
    for batch in [false, true] {
        let (backend, clock) = unleased();
        let between = Between::over(&backend, None);
        let cache = between.cache(&clock).build().unwrap();
        let (load, word, begun) = load(&cache, batch);
        begun.await.unwrap();
        cache.remove(1).await.unwrap();
        *between.before_set.lock().unwrap() = Some(Box::pin(async {}));
        word.send(1).unwrap();
        assert_eq!(*load.await.unwrap().unwrap(), 1);
        settle().await;
        assert!(between.before_set.lock().unwrap().is_some(), "nothing was set");
        assert_eq!(stored(&cache).await, None);
    }
}

/// The removal that is under way when a loaded value is stored: done before it, and answered after it.
#[tokio::test]
async fn a_removal_that_is_answered_after_the_load_was_stored_leaves_nothing_stale() {
    for batch in [false, true] {
        let (backend, clock) = unleased();
        let between = Between::over(&backend, None);
        let (cache, other) = (between.cache(&clock).build().unwrap(), process(&backend));
        let (load, word, begun) = load(&cache, batch);
        begun.await.unwrap();
        let (answer, answered) = oneshot::channel::<()>();
        *between.after_remove.lock().unwrap() = Some(Box::pin(async move { answered.await.unwrap() }));
        let removal = {
            let cache = cache.clone();
            tokio::spawn(async move { cache.remove(1).await })
        };
        settle().await;
        word.send(1).unwrap();
        settle().await;
        assert_eq!(*load.await.unwrap().unwrap(), 1);
        answer.send(()).unwrap();
        removal.await.unwrap().unwrap();
        settle().await;
        assert_eq!((stored(&cache).await, stored(&other).await), (None, None), "batch: {batch}");
        goes_on(&cache, &other).await;
    }
}

/// The change comes once the load's own set is under way: before it is made, or before its answer.
#[tokio::test]
async fn what_this_process_changes_while_the_load_is_stored_is_not_left_stale() {
    for (batch, before) in [(false, false), (false, true), (true, false), (true, true)] {
        let (backend, clock) = unleased();
        let between = Between::over(&backend, None);
        let (cache, other) = (between.cache(&clock).build().unwrap(), process(&backend));
        let (load, word, begun) = load(&cache, batch);
        begun.await.unwrap();
        let remover = cache.clone();
        let hook = if before { &between.before_set } else { &between.after_set };
        *hook.lock().unwrap() = Some(Box::pin(async move { remover.remove(1).await.map(drop).unwrap() }));
        word.send(1).unwrap();
        assert_eq!(*load.await.unwrap().unwrap(), 1);
        assert_eq!((stored(&cache).await, stored(&other).await), (None, None), "{batch} {before}");
        assert_eq!(cache.stats().fenced, 1);
        goes_on(&cache, &other).await;
    }
}

#[tokio::test]
async fn a_caller_who_leaves_while_the_load_is_stored_leaves_nothing_stale() {
    for batch in [false, true] {
        let (backend, clock) = unleased();
        let between = Between::over(&backend, None);
        let (cache, other) = (between.cache(&clock).build().unwrap(), process(&backend));
        let (load, word, begun) = load(&cache, batch);
        begun.await.unwrap();
        let remover = cache.clone();
        let remove = async move { remover.remove(1).await.map(drop).unwrap() };
        *between.before_set.lock().unwrap() = Some(Box::pin(remove));
        let (answer, answered) = oneshot::channel::<()>();
        *between.after_set.lock().unwrap() = Some(Box::pin(async move { answered.await.unwrap() }));
        word.send(1).unwrap();
        settle().await;
        assert_eq!(stored(&other).await, Some(1), "it is set, and was removed before");
        load.abort();
        assert!(load.await.unwrap_err().is_cancelled());
        answer.send(()).unwrap();
        settle().await;
        assert_eq!((stored(&cache).await, stored(&other).await), (None, None), "batch: {batch}");
        goes_on(&cache, &other).await;
    }
}

#[tokio::test]
async fn a_set_whose_answer_is_lost_leaves_nothing_stale() {
    for batch in [false, true] {
        let (backend, clock) = unleased();
        let between = Between::over(&backend, None);
        let (cache, other) = (between.cache(&clock).build().unwrap(), process(&backend));
        let (load, word, begun) = load(&cache, batch);
        begun.await.unwrap();
        let remover = cache.clone();
        let remove = async move { remover.remove(1).await.map(drop).unwrap() };
        *between.before_set.lock().unwrap() = Some(Box::pin(remove));
        between.lose_set.store(true, Ordering::SeqCst);
        word.send(1).unwrap();
        assert_eq!(*load.await.unwrap().unwrap(), 1);
        assert_eq!((stored(&cache).await, stored(&other).await), (None, None), "batch: {batch}");
        assert_eq!(cache.stats().store_failures, 1);
        goes_on(&cache, &other).await;
    }
}

#[tokio::test]
async fn what_another_process_stores_during_a_load_is_kept() {
    for (batch, is_there) in [(false, false), (false, true), (true, false), (true, true)] {
        let (backend, _) = unleased();
        let (cache, other) = (process(&backend), process(&backend));
        if is_there {
            // Bytes that are no value, and are to be overwritten.
            other.set(1, &0).await.unwrap();
            other.clear().await.unwrap();
        }
        let (load, word, begun) = load(&cache, batch);
        begun.await.unwrap();
        assert_eq!(*instant(&other, 1, 2).await.unwrap().unwrap(), 2, "each process loads for itself");
        word.send(1).unwrap();
        assert_eq!(*load.await.unwrap().unwrap(), 1);
        assert_eq!((stored(&cache).await, stored(&other).await), (Some(2), Some(2)), "{batch} {is_there}");
        assert_eq!((cache.stats().fenced, other.stats().fenced), (1, 0));
    }
}

#[tokio::test]
async fn a_refresh_overwrites_what_it_found_and_nothing_else() {
    let (backend, _) = unleased();
    let (cache, other) = (process(&backend), process(&backend));
    cache.set(1, &1).await.unwrap();
    assert_eq!(*cache.refresh(1, || async { Ok::<_, Infallible>(2) }).await.unwrap(), 2);
    assert_eq!(stored(&other).await, Some(2));
    let writer = other.clone();
    let load = move || async move {
        writer.set(1, &3).await.unwrap();
        Ok::<_, Infallible>(4)
    };
    assert_eq!(*cache.refresh(1, load).await.unwrap(), 4);
    assert_eq!((stored(&cache).await, stored(&other).await), (Some(3), Some(3)));
}

#[tokio::test]
async fn a_stale_value_is_served_while_it_is_loaded_anew() {
    let (backend, clock) = unleased();
    let build = || {
        let cache = backend.handle().stores().cache::<u32>("n").ttl(seconds(60));
        cache.stale_while_revalidate(seconds(60)).build().unwrap()
    };
    let (cache, other) = (build(), build());
    cache.set(1, &1).await.unwrap();
    clock.advance(seconds(61));
    for reader in [&cache, &other] {
        let served = reader.serve(1, || async { Ok::<_, Infallible>(2) }).await.unwrap();
        let Freshness::Stale { why, .. } = served.freshness else { panic!("{served:?}") };
        assert_eq!((*served.value, why), (1, StaleReason::Revalidating));
    }
    settle().await;
    assert_eq!((stored(&cache).await, stored(&other).await), (Some(2), Some(2)));
    // What is removed while it is loaded anew stays so.
    clock.advance(seconds(61));
    let (word, value) = oneshot::channel::<u32>();
    let load = || async move { Ok::<_, Infallible>(value.await.unwrap()) };
    assert_eq!(*cache.get_or_load(1, load).await.unwrap(), 2);
    settle().await;
    assert!(cache.remove(1).await.unwrap());
    word.send(3).unwrap();
    settle().await;
    assert_eq!((stored(&cache).await, stored(&other).await), (None, None));
}

#[tokio::test]
async fn absence_is_remembered() {
    let (backend, clock) = unleased();
    let build = || backend.handle().stores().cache::<u32>("n").negative_ttl(seconds(10)).build().unwrap();
    let (cache, other) = (build(), build());
    let finds = |value: Option<u32>| move || async move { Ok::<_, Infallible>(value) };
    assert!(cache.get_or_find(1, finds(None)).await.unwrap().is_none());
    for reader in [&cache, &other] {
        assert!(reader.get_or_find(1, finds(Some(1))).await.unwrap().is_none(), "it is remembered");
    }
    clock.advance(seconds(10));
    assert_eq!(cache.get_or_find(1, finds(Some(2))).await.unwrap().as_deref(), Some(&2));
    assert_eq!((stored(&cache).await, stored(&other).await), (Some(2), Some(2)));
}

#[tokio::test]
async fn a_near_cache_works_as_with_leases() {
    for batch in [false, true] {
        let (backend, _) = unleased();
        let build =
            || backend.handle().stores().cache::<u32>("n").near(MokaNear::entries(100)).build().unwrap();
        let (cache, other) = (build(), build());
        let (load, word, begun) = load(&cache, batch);
        begun.await.unwrap();
        word.send(1).unwrap();
        assert_eq!(*load.await.unwrap().unwrap(), 1);
        // The feed tells of the set as of any other change, and it is stored all the same.
        assert_eq!((stored(&cache).await, stored(&other).await), (Some(1), Some(1)), "batch: {batch}");
        assert_eq!(cache.stats().fenced, 0);
        assert_eq!((cache.peek(1).as_deref(), other.peek(1).as_deref()), (Some(&1), Some(&1)));
        other.set(1, &2).await.unwrap();
        assert_eq!((cache.peek(1), stored(&cache).await), (None, Some(2)));
        // A change by this process during a load, with the copies gone too.
        cache.remove(1).await.unwrap();
        let (load, word, begun) = self::load(&cache, batch);
        begun.await.unwrap();
        cache.remove(1).await.unwrap();
        word.send(3).unwrap();
        assert_eq!(*load.await.unwrap().unwrap(), 3);
        assert_eq!((stored(&cache).await, stored(&other).await, cache.peek(1)), (None, None, None));
    }
}
