//! Loaders that hang, fail, ask for their own value or say that it is not to be stored: no worse than without a cache.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use stanchion::clock::{Clock, ManualClock};
use stanchion::prelude::*;
use stanchion_memory::MemoryBackend;

use support::{instant, manual, settle, slow};

/// Lets so many tenths of a second pass, and in each of them everybody do what is due.
async fn pass(clock: &ManualClock, tenths: u32) {
    for _ in 0..tenths {
        settle().await;
        clock.advance(Duration::from_millis(100));
    }
    settle().await;
}

/// Lets time pass until the task is over; for how long.
async fn until_over<R>(clock: &ManualClock, task: &tokio::task::JoinHandle<R>, most: Duration) -> Duration {
    let begun = clock.now();
    while !task.is_finished() {
        let passed = clock.now().saturating_since(begun);
        assert!(passed < most, "it still waits after {passed:?}");
        pass(clock, 1).await;
    }
    clock.now().saturating_since(begun)
}

/// A loader that never ends.
async fn hang() -> Result<u32, Infallible> {
    std::future::pending().await
}

fn plain(backend: &MemoryBackend) -> Cache<u32> {
    backend.handle().stores().cache("n").build().unwrap()
}

#[tokio::test]
async fn who_waits_for_a_background_load_that_hangs_loads_after_a_bound() {
    let (backend, clock) = manual();
    let build = |hard: Option<Duration>| -> Cache<u32> {
        let builder =
            backend.handle().stores().cache("n").ttl(seconds(10)).stale_while_revalidate(seconds(10));
        match hard {
            Some(hard) => builder.hard_timeout(hard).build().unwrap(),
            None => builder.build().unwrap(),
        }
    };
    let (here, there, hasty) = (build(None), build(None), build(Some(seconds(1))));
    here.set(1, &1).await.unwrap();
    clock.advance(seconds(11));
    assert_eq!(*here.get_or_load(1, hang).await.unwrap(), 1, "stale, while it is loaded anew");
    // The grace is over.
    pass(&clock, 100).await;
    for (cache, most) in [(&here, seconds(7)), (&there, seconds(7)), (&hasty, seconds(1))] {
        let load = instant(cache, 1, 2);
        until_over(&clock, &load, most).await;
        assert_eq!(*load.await.unwrap().unwrap(), 2);
    }
}

#[tokio::test]
async fn a_background_load_that_hangs_is_ended_and_gives_its_lease_back() {
    let (backend, clock) = manual();
    let cache: Cache<u32> = backend
        .handle()
        .stores()
        .cache("n")
        .ttl(seconds(10))
        .stale_while_revalidate(hours(1))
        .build()
        .unwrap();
    cache.set(1, &1).await.unwrap();
    clock.advance(seconds(11));
    let (dropped, ended) = tokio::sync::oneshot::channel::<()>();
    let load = || async move {
        let _dropped = dropped;
        std::future::pending::<Result<u32, Infallible>>().await
    };
    assert_eq!(*cache.get_or_load(1, load).await.unwrap(), 1);
    let ended = tokio::spawn(ended);
    assert!(until_over(&clock, &ended, minutes(2)).await >= seconds(59));
    settle().await;
    let refreshed = tokio::spawn(async move { cache.refresh(1, || async { Ok::<_, Infallible>(2) }).await });
    settle().await;
    assert!(refreshed.is_finished(), "the lease was given back");
}

#[tokio::test]
async fn a_hard_timeout_bounds_the_waiting_too() {
    let (backend, clock) = manual();
    let here = plain(&backend);
    let there: Cache<u32> = backend.handle().stores().cache("n").hard_timeout(seconds(1)).build().unwrap();
    let hung = {
        let here = here.clone();
        tokio::spawn(async move { here.get_or_load(1, hang).await })
    };
    settle().await;
    let fast = instant(&there, 1, 2);
    assert!(until_over(&clock, &fast, seconds(1)).await < seconds(1));
    assert_eq!(*fast.await.unwrap().unwrap(), 2, "loaded without the lease");
    assert!(there.get(1).await.unwrap().is_none(), "and not stored");
    let slow = tokio::spawn(async move { there.get_or_load(1, hang).await });
    until_over(&clock, &slow, Duration::from_millis(1_500)).await;
    assert!(matches!(slow.await.unwrap(), Err(LoadError::TimedOut(after)) if after == seconds(1)));
    assert!(!hung.is_finished(), "who set no bound waits for its own loader as without a cache");
    hung.abort();
}

/// A loader that fails after so long, and counts its calls.
fn failing(
    clock: &ManualClock,
    after: Duration,
    calls: &Arc<AtomicUsize>,
) -> impl Future<Output = Result<u32, &'static str>> + Send + use<> {
    let (clock, calls) = (clock.clone(), Arc::clone(calls));
    async move {
        calls.fetch_add(1, Ordering::SeqCst);
        clock.sleep_until(clock.now().saturating_add(after)).await;
        Err("down")
    }
}

#[tokio::test]
async fn the_failure_of_a_load_is_that_of_all_who_waited_for_it() {
    let (backend, clock) = manual();
    let cache = plain(&backend);
    let calls = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..200)
        .map(|_| {
            let (cache, load) = (cache.clone(), failing(&clock, seconds(2), &calls));
            tokio::spawn(async move { cache.get_or_load(1, || load).await })
        })
        .collect();
    pass(&clock, 21).await;
    for caller in callers {
        assert!(caller.is_finished(), "it waits for one load after the other");
        assert!(caller.await.unwrap().is_err());
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn one_batch_of_many_loads_each_value_once() {
    let (backend, _) = manual();
    let (here, there) = (plain(&backend), plain(&backend));
    let loads = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..100)
        .map(|n| {
            let (cache, loads) = (if n % 2 == 0 { here.clone() } else { there.clone() }, loads.clone());
            tokio::spawn(async move {
                let load = move |ids: Vec<u32>| async move {
                    loads.fetch_add(ids.len(), Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    Ok::<_, Infallible>(ids.into_iter().map(|id| (id, id)).collect())
                };
                cache.get_or_load_many(&[1, 2], load).await
            })
        })
        .collect();
    settle().await;
    for caller in callers {
        let values = caller.await.unwrap().unwrap();
        assert_eq!(values.iter().flatten().map(|value| **value).collect::<Vec<_>>(), [1, 2]);
    }
    assert_eq!(loads.load(Ordering::SeqCst), 2, "each of the two, in both processes");
}

#[tokio::test]
async fn a_batch_is_served_what_is_stale_while_it_is_loaded_anew() {
    let (backend, clock) = manual();
    let cache: Cache<u32> =
        backend.stores().cache("n").ttl(seconds(10)).stale_while_revalidate(minutes(1)).build().unwrap();
    cache.set_many(&[(1, 1), (2, 2)]).await.unwrap();
    clock.advance(seconds(11));
    let asked = {
        let cache = cache.clone();
        tokio::spawn(async move {
            let load = |ids: Vec<u32>| async move {
                tokio::task::yield_now().await;
                Ok::<_, Infallible>(ids.into_iter().map(|id| (id, id + 10)).collect())
            };
            cache.get_or_load_many(&[1, 2], load).await.unwrap()
        })
    };
    let found = asked.await.unwrap();
    assert_eq!(found.iter().flatten().map(|value| **value).collect::<Vec<_>>(), [1, 2]);
    settle().await;
    let found = cache.get_many(&[1, 2]).await.unwrap();
    assert_eq!(found.iter().flatten().map(|value| **value).collect::<Vec<_>>(), [11, 12]);
    assert_eq!(cache.stats().loads, 1);
}

#[tokio::test]
async fn a_panic_of_a_batch_loader_goes_no_further() {
    let (backend, _) = manual();
    let cache = plain(&backend);
    let asked = tokio::spawn(async move {
        let load = |ids: Vec<u32>| async move {
            assert!(ids.is_empty(), "boom");
            Ok::<Vec<(u32, u32)>, Infallible>(Vec::new())
        };
        cache.get_or_load_many(&[1], load).await
    });
    assert!(matches!(asked.await.unwrap(), Err(LoadError::Panicked)));
}

#[tokio::test]
async fn background_loads_are_bounded_and_the_stale_value_is_served_on() {
    let (backend, clock) = manual();
    let cache: Cache<u32> =
        backend.stores().cache("n").ttl(seconds(10)).stale_while_revalidate(hours(1)).build().unwrap();
    let values: Vec<_> = (0..2_000).map(|id| (id, id)).collect();
    cache.set_many(&values).await.unwrap();
    clock.advance(seconds(11));
    for id in 0..2_000 {
        assert_eq!(*cache.get_or_load(id, hang).await.unwrap(), id);
    }
    settle().await;
    let stats = cache.stats();
    assert_eq!((stats.loads, stats.reloads_skipped), (64, 2_000 - 64));
}

#[tokio::test]
async fn a_life_of_zero_is_served_quietly_and_keeps_nobody_waiting() {
    let (backend, _) = manual();
    let (here, there) = (plain(&backend), plain(&backend));
    for n in 0..3 {
        let load = move || async move { Ok::<_, Infallible>(Loaded::new(n).ttl(Duration::ZERO)) };
        assert_eq!(*here.get_or_load(1, load).await.unwrap(), n);
        assert!(there.get(1).await.unwrap().is_none());
    }
    assert_eq!((here.stats().loads, here.stats().unstorable), (3, 0));
}

#[tokio::test]
async fn who_waits_elsewhere_for_what_is_not_stored_is_woken_by_its_end() {
    for failed in [false, true] {
        let (backend, _) = manual();
        let (here, there) = (plain(&backend), plain(&backend));
        let (word, go) = tokio::sync::oneshot::channel::<()>();
        let first = tokio::spawn(async move {
            let load = move || async move {
                go.await.unwrap();
                if failed { Err("down") } else { Ok(Loaded::new(1).not_stored()) }
            };
            here.get_or_load(1, load).await
        });
        settle().await;
        let second = instant(&there, 1, 2);
        settle().await;
        assert!(!second.is_finished());
        word.send(()).unwrap();
        assert_eq!(first.await.unwrap().is_err(), failed);
        settle().await;
        assert!(second.is_finished(), "it waits for its pause to end, though nobody loads any more");
    }
}

#[tokio::test]
async fn a_loader_that_asks_for_its_own_value_gets_an_error_at_once() {
    for built_twice in [false, true] {
        let (backend, _) = manual();
        let stores = backend.stores();
        let cache: Cache<u32> = stores.cache("n").build().unwrap();
        // Another cache of the same values has loads of its own, and the same leases.
        let inner = if built_twice { stores.cache("n").build().unwrap() } else { cache.clone() };
        let outer = tokio::spawn(async move {
            let load = move || async move {
                match inner.get_or_load(1, || async { Ok::<_, Infallible>(1) }).await {
                    Err(error) => Err(error.to_string()),
                    Ok(value) => Ok(*value),
                }
            };
            cache.get_or_load(1, load).await
        });
        settle().await;
        assert!(outer.is_finished(), "it waits for itself");
        let error = outer.await.unwrap().unwrap_err().to_string();
        assert!(error.contains("its own load"), "{error}");
    }
}

#[tokio::test]
async fn two_loaders_that_ask_for_each_other_get_an_error_at_once() {
    for (same_kind, at_once) in [(true, false), (false, false), (true, true), (false, true)] {
        let (backend, _) = manual();
        let stores = backend.stores();
        let first: Cache<u32> = stores.cache("n").build().unwrap();
        let second: Cache<u32> = if same_kind { first.clone() } else { stores.cache("m").build().unwrap() };
        // Each loads its own value by the other's; where both are asked for at once, each leads one and waits for the other.
        let meet = Arc::new(tokio::sync::Barrier::new(if at_once { 2 } else { 1 }));
        let circle = |near: &Cache<u32>, own: u32, far: &Cache<u32>, other: u32| {
            let (near, far, meet) = (near.clone(), far.clone(), Arc::clone(&meet));
            tokio::spawn(async move {
                let (back, again) = (near.clone(), far.clone());
                let load = move || async move {
                    meet.wait().await;
                    let inner = move || async move {
                        match back.get_or_load(own, || async { Ok::<_, Infallible>(0) }).await {
                            Err(error) => Err(error.to_string()),
                            Ok(value) => Ok(*value),
                        }
                    };
                    again
                        .get_or_load(other, inner)
                        .await
                        .map(|value| *value)
                        .map_err(|error| error.to_string())
                };
                near.get_or_load(own, load).await
            })
        };
        let mut outer = vec![circle(&first, 1, &second, 2)];
        if at_once {
            outer.push(circle(&second, 2, &first, 1));
        }
        settle().await;
        assert!(outer.iter().all(tokio::task::JoinHandle::is_finished), "they wait for each other");
        for outer in outer {
            let error = outer.await.unwrap().unwrap_err().to_string();
            assert!(error.contains("its own load"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_load_dies_with_its_last_outer_caller_also_where_its_loader_waits_for_another() {
    let (backend, _) = manual();
    let (cache, there) = (plain(&backend), plain(&backend));
    let inner = cache.clone();
    let outer = {
        let cache = cache.clone();
        tokio::spawn(async move {
            cache
                .get_or_load(1, move || async move {
                    inner.get_or_load(2, hang).await.map(|value| *value).map_err(|_| ())
                })
                .await
        })
    };
    settle().await;
    outer.abort();
    settle().await;
    for id in [1, 2] {
        for cache in [&cache, &there] {
            let load = instant(cache, id, 7);
            settle().await;
            assert!(load.is_finished(), "{id} is still being loaded for nobody");
            assert_eq!(*load.await.unwrap().unwrap(), 7);
        }
    }
}

#[tokio::test]
async fn a_waiter_is_served_by_a_load_that_ends_within_the_bound() {
    let (backend, clock) = manual();
    let (here, there) = (plain(&backend), plain(&backend));
    let (first, word, begun) = slow(&here, 1);
    begun.await.unwrap();
    let waiters = [instant(&here, 1, 2), instant(&there, 1, 3)];
    pass(&clock, 20).await;
    word.send(1).unwrap();
    assert_eq!(*first.await.unwrap().unwrap(), 1);
    settle().await;
    for waiter in waiters {
        assert_eq!(*waiter.await.unwrap().unwrap(), 1);
    }
}

#[tokio::test]
async fn a_failure_is_remembered_here_and_elsewhere_for_a_short_while() {
    for remembered in [true, false] {
        let (backend, clock) = manual();
        let build = || {
            let builder = backend.handle().stores().cache::<u32>("n");
            let builder = if remembered { builder } else { builder.failure_ttl(Duration::ZERO) };
            builder.build().unwrap()
        };
        let (here, there) = (build(), build());
        let (word, go) = tokio::sync::oneshot::channel::<()>();
        let failing = {
            let here = here.clone();
            tokio::spawn(async move {
                let load = || async move {
                    go.await.unwrap();
                    Err::<u32, _>("down")
                };
                here.get_or_load(1, load).await
            })
        };
        settle().await;
        // Who waits elsewhere gets the failure, whatever is remembered.
        let waiting = instant(&there, 1, 2);
        settle().await;
        word.send(()).unwrap();
        assert!(matches!(failing.await.unwrap(), Err(LoadError::Loader(error)) if *error == "down"));
        settle().await;
        assert!(matches!(waiting.await.unwrap(), Err(LoadError::Elsewhere)));
        if remembered {
            let newcomer = plain(&backend);
            for cache in [&here, &there, &newcomer] {
                assert!(instant(cache, 1, 3).await.unwrap().is_err());
            }
            clock.advance(Duration::from_millis(500));
        }
        assert_eq!(*instant(&there, 1, 4).await.unwrap().unwrap(), 4);
        assert_eq!(here.get(1).await.unwrap().as_deref(), Some(&4), "and it is stored");
    }
}

#[tokio::test]
async fn a_write_and_a_refresh_end_what_is_remembered_of_a_failure() {
    for refresh in [false, true] {
        let (backend, _) = manual();
        let (here, there) = (plain(&backend), plain(&backend));
        assert!(here.get_or_load(1, || async { Err::<u32, _>("down") }).await.is_err());
        assert!(instant(&there, 1, 2).await.unwrap().is_err());
        if refresh {
            assert_eq!(*there.refresh(1, || async { Ok::<_, Infallible>(3) }).await.unwrap(), 3);
        } else {
            there.remove(1).await.unwrap();
        }
        let expected = if refresh { 3 } else { 2 };
        assert_eq!(*instant(&there, 1, 2).await.unwrap().unwrap(), expected);
    }
}

#[tokio::test]
async fn a_background_load_that_finds_the_lease_taken_ends_at_once() {
    let (backend, clock) = manual();
    let build = || {
        let builder = backend.handle().stores().cache::<u32>("n").ttl(seconds(10));
        builder.stale_while_revalidate(hours(1)).build().unwrap()
    };
    let (here, there) = (build(), build());
    here.set(1, &1).await.unwrap();
    clock.advance(seconds(11));
    assert_eq!(*here.get_or_load(1, hang).await.unwrap(), 1);
    settle().await;
    for _ in 0..10 {
        assert_eq!(*there.get_or_load(1, || async { Ok::<_, Infallible>(2) }).await.unwrap(), 1);
        settle().await;
    }
    let stats = there.stats();
    assert_eq!((stats.loads, stats.lease_waits, stats.stale_served), (0, 0, 10));
}

#[tokio::test]
async fn a_lease_is_kept_no_longer_than_a_background_load_may_run() {
    let (backend, clock) = manual();
    let here: Cache<u32> =
        backend.handle().stores().cache("n").background_timeout(seconds(10)).build().unwrap();
    let there = plain(&backend);
    let (load, word, begun) = slow(&here, 1);
    begun.await.unwrap();
    pass(&clock, 130).await;
    assert!(!load.is_finished(), "its caller waits for it");
    let heir = instant(&there, 1, 2);
    settle().await;
    assert!(heir.is_finished(), "the lease is over");
    word.send(1).unwrap();
    assert_eq!(*load.await.unwrap().unwrap(), 1);
    assert_eq!(there.get(1).await.unwrap().as_deref(), Some(&2), "it was not stored over what came after");
}

#[tokio::test]
async fn a_load_without_a_bound_dies_with_its_own_caller_also_where_others_were_served_stale_by_then() {
    let (backend, clock) = manual();
    let builder = backend.handle().stores().cache("n").ttl(seconds(10)).fail_safe(hours(1), seconds(30));
    let cache: Cache<u32> = builder.soft_timeout(seconds(1)).build().unwrap();
    cache.set(1, &1).await.unwrap();
    clock.advance(seconds(11));
    // Nothing is served in place of a refresh, so that it runs for as long as its caller waits.
    let refresh = {
        let cache = cache.clone();
        tokio::spawn(async move { cache.refresh(1, hang).await })
    };
    settle().await;
    let passed_by = instant(&cache, 1, 2);
    assert!(until_over(&clock, &passed_by, seconds(2)).await >= seconds(1));
    assert_eq!(*passed_by.await.unwrap().unwrap(), 1, "stale, since the load is slow");
    assert!(!refresh.is_finished());
    refresh.abort();
    settle().await;
    let next = instant(&cache, 1, 7);
    settle().await;
    assert!(next.is_finished(), "nobody waits for the hung load");
    assert_eq!(*next.await.unwrap().unwrap(), 7);
}

#[tokio::test]
async fn who_loads_alone_waits_for_the_other_load_no_longer() {
    for is_batch in [false, true] {
        let (backend, clock) = manual();
        let cache = plain(&backend);
        let (ask, answer) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
        let second = {
            let (cache, ask) = (cache.clone(), Arc::clone(&ask));
            tokio::spawn(async move {
                let inner = cache.clone();
                let load = move || async move {
                    ask.notified().await;
                    inner.get_or_load(1, || async { Ok::<_, Infallible>(99) }).await.map(|value| *value + 1)
                };
                cache.get_or_load(2, load).await
            })
        };
        settle().await;
        let first = {
            let (cache, answer) = (cache.clone(), Arc::clone(&answer));
            tokio::spawn(async move {
                let inner = cache.clone();
                let load = move || async move {
                    if is_batch {
                        let load = |ids: Vec<u32>| async move {
                            answer.notified().await;
                            Ok::<_, Infallible>(ids.into_iter().map(|id| (id, 5)).collect())
                        };
                        let found = inner.get_or_load_many(&[2], load).await?;
                        return Ok(found[0].as_deref().copied().unwrap());
                    }
                    let load = || async move {
                        answer.notified().await;
                        Ok::<_, Infallible>(5)
                    };
                    inner.get_or_load(2, load).await.map(|value| *value)
                };
                cache.get_or_load(1, load).await
            })
        };
        // Longer than the wait for somebody else's load: the inner caller loads alone by now.
        pass(&clock, 70).await;
        ask.notify_one();
        settle().await;
        assert!(!second.is_finished(), "it waits for the first");
        answer.notify_one();
        settle().await;
        assert_eq!(*first.await.unwrap().unwrap(), 5);
        assert_eq!(*second.await.unwrap().unwrap(), 6, "the load that it asked for waited for it no more");
    }
}
