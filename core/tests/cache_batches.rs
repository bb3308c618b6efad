//! Batches are loads: what a loader of many values may answer, and what others are loading.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use stanchion::clock::Clock;
use stanchion::prelude::*;
use stanchion_memory::MemoryBackend;
use tokio::sync::oneshot;

use support::{instant, manual, settle, slow};

fn plain(backend: &MemoryBackend) -> Cache<u32> {
    backend.handle().stores().cache("n").build().unwrap()
}

fn found(values: &[Option<Arc<u32>>]) -> Vec<Option<u32>> {
    values.iter().map(|value| value.as_deref().copied()).collect()
}

#[tokio::test]
async fn a_loader_answers_for_each_by_itself() {
    let (backend, _) = manual();
    let cache: Cache<u32> = backend.stores().cache("n").negative_ttl(minutes(1)).build().unwrap();
    let loads = Arc::new(AtomicUsize::new(0));
    let load = move |ids: Vec<u32>| async move {
        loads.fetch_add(1, Ordering::SeqCst);
        let one = |id| match id {
            1 => Ok(Some(10)),
            2 => Ok(None),
            _ => Err("down"),
        };
        // One is left out.
        Ok::<Vec<_>, &str>(ids.into_iter().filter(|id| *id != 4).map(|id| (id, one(id))).collect())
    };
    let served = cache.serve_many(&[1, 2, 3, 4], load.clone()).await.unwrap();
    assert_eq!(*served[0].as_ref().unwrap().as_ref().unwrap().value, 10);
    assert!(matches!(&served[1], Ok(None)) && matches!(&served[3], Ok(None)));
    assert!(matches!(&served[2], Err(LoadError::Loader(error)) if **error == "down"));
    assert_eq!(cache.stats().load_failures, 1);
    let failed = cache.get_or_load_many(&[1, 3], load).await;
    assert!(matches!(failed, Err(LoadError::Loader(error)) if *error == "down"), "remembered");
    assert_eq!(cache.stats().loads, 1);
    // What is known to be absent is; what was left out is not.
    let find = |id: u32| {
        let cache = cache.clone();
        async move { cache.get_or_find(id, || async { Ok::<_, Infallible>(Some(7)) }).await.unwrap() }
    };
    assert_eq!(find(2).await, None);
    assert_eq!(find(4).await.as_deref(), Some(&7));
}

#[tokio::test]
async fn what_a_finder_leaves_out_does_not_exist() {
    let (backend, _) = manual();
    let cache: Cache<u32> = backend.stores().cache("n").negative_ttl(minutes(1)).build().unwrap();
    let find = |ids: Vec<u32>| async move {
        Ok::<_, Infallible>(ids.into_iter().filter(|id| *id < 5).map(|id| (id, id)).collect())
    };
    assert_eq!(found(&cache.get_or_find_many(&[1, 9], find).await.unwrap()), [Some(1), None]);
    assert_eq!(found(&cache.get_or_find_many(&[1, 9], find).await.unwrap()), [Some(1), None]);
    assert_eq!(cache.stats().loads, 1, "that there is none is remembered");
}

#[tokio::test]
async fn a_batch_and_a_single_load_are_one() {
    for elsewhere in [false, true] {
        let (backend, _) = manual();
        let here = plain(&backend);
        let there = if elsewhere { plain(&backend) } else { here.clone() };
        // The single load first, and then the batch first.
        let (single, word, begun) = slow(&here, 1);
        begun.await.unwrap();
        let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
        let of = Arc::clone(&asked);
        let batch = tokio::spawn(async move {
            let load = move |ids: Vec<u32>| async move {
                of.lock().unwrap().push(ids.clone());
                Ok::<_, Infallible>(ids.into_iter().map(|id| (id, id * 10)).collect())
            };
            there.get_or_load_many(&[1, 2], load).await.unwrap()
        });
        settle().await;
        assert_eq!(*asked.lock().unwrap(), [[2]], "what is being loaded is not loaded twice");
        assert!(!batch.is_finished());
        word.send(7).unwrap();
        assert_eq!(found(&batch.await.unwrap()), [Some(7), Some(20)]);
        single.await.unwrap().unwrap();
        assert_eq!(asked.lock().unwrap().len(), 1);

        let there = plain(&backend);
        let (word, go) = oneshot::channel::<()>();
        let go = go.shared();
        let batch = tokio::spawn(async move {
            let load = move |ids: Vec<u32>| async move {
                go.await.unwrap();
                Ok::<_, Infallible>(ids.into_iter().map(|id| (id, id * 10)).collect())
            };
            there.get_or_load_many(&[3, 4], load).await.unwrap()
        });
        settle().await;
        let single = instant(&here, 3, 99);
        settle().await;
        assert!(!single.is_finished());
        word.send(()).unwrap();
        assert_eq!(*single.await.unwrap().unwrap(), 30);
        assert_eq!(found(&batch.await.unwrap()), [Some(30), Some(40)]);
    }
}

#[tokio::test]
async fn a_batch_waits_for_others_as_long_as_that_is_bounded_and_loads_the_rest_together() {
    let (backend, clock) = manual();
    let (here, there) = (plain(&backend), plain(&backend));
    let hung: Vec<_> = (1..4).map(|id| slow(&here, id)).collect();
    settle().await;
    for cache in [&here, &there] {
        let (cache, calls) = (cache.clone(), Arc::new(std::sync::Mutex::new(Vec::new())));
        let of = Arc::clone(&calls);
        let begun = clock.now();
        let batch = tokio::spawn(async move {
            let load = move |ids: Vec<u32>| async move {
                of.lock().unwrap().push(ids.clone());
                Ok::<_, Infallible>(ids.into_iter().map(|id| (id, id * 10)).collect())
            };
            cache.get_or_load_many(&[1, 2, 3, 9], load).await.unwrap()
        });
        while !batch.is_finished() {
            settle().await;
            clock.advance(Duration::from_millis(100));
        }
        assert!(clock.now().saturating_since(begun) <= Duration::from_millis(6_200));
        assert_eq!(found(&batch.await.unwrap()), [Some(10), Some(20), Some(30), Some(90)]);
        let calls = calls.lock().unwrap();
        assert_eq!(calls.last().unwrap(), &[1, 2, 3], "in one further call: {calls:?}");
    }
    assert_eq!(here.stats().waits_ended, 3);
    assert!(there.get(1).await.unwrap().is_none(), "what is loaded without a lease is not stored");
    drop(hung);
}

#[tokio::test]
async fn a_batch_that_takes_too_long_is_ended_and_gives_its_leases_back() {
    let (backend, clock) = manual();
    let cache: Cache<u32> = backend.stores().cache("n").hard_timeout(seconds(2)).build().unwrap();
    let there = plain(&backend);
    let batch = tokio::spawn(async move {
        let load = |_: Vec<u32>| std::future::pending::<Result<Vec<(u32, u32)>, Infallible>>();
        cache.get_or_load_many(&[1, 2], load).await
    });
    for _ in 0..20 {
        settle().await;
        clock.advance(Duration::from_millis(100));
    }
    settle().await;
    assert!(batch.is_finished());
    assert!(matches!(batch.await.unwrap(), Err(LoadError::TimedOut(after)) if after == seconds(2)));
    for id in [1, 2] {
        let load = instant(&there, id, 7);
        settle().await;
        assert!(load.is_finished(), "its lease was given back");
    }
}

#[tokio::test]
async fn a_batch_lives_for_as_long_as_somebody_waits_for_a_part_of_it() {
    let (backend, _) = manual();
    let (cache, there) = (plain(&backend), plain(&backend));
    let (word, go) = oneshot::channel::<()>();
    let go = go.shared();
    let batch = {
        let cache = cache.clone();
        tokio::spawn(async move {
            let load = move |ids: Vec<u32>| async move {
                go.await.unwrap();
                Ok::<_, Infallible>(ids.into_iter().map(|id| (id, id * 10)).collect())
            };
            cache.get_or_load_many(&[1, 2], load).await
        })
    };
    settle().await;
    let single = instant(&cache, 2, 99);
    settle().await;
    batch.abort();
    settle().await;
    word.send(()).unwrap();
    assert_eq!(*single.await.unwrap().unwrap(), 20);
    assert_eq!(found(&there.get_many(&[1, 2]).await.unwrap()), [Some(10), Some(20)]);
    // And ends with the last.
    let batch = {
        let cache = cache.clone();
        tokio::spawn(async move {
            let load = |_: Vec<u32>| std::future::pending::<Result<Vec<(u32, u32)>, Infallible>>();
            cache.get_or_load_many(&[5, 6], load).await
        })
    };
    settle().await;
    let single = {
        let cache = cache.clone();
        tokio::spawn(async move { cache.get_or_load(6, || async { Ok::<u32, Infallible>(1) }).await })
    };
    settle().await;
    batch.abort();
    single.abort();
    settle().await;
    for id in [5, 6] {
        let load = instant(&there, id, 7);
        settle().await;
        assert!(load.is_finished(), "it is loaded for nobody");
    }
}

#[tokio::test]
async fn a_batch_within_its_own_load_is_refused() {
    let (backend, _) = manual();
    let cache = plain(&backend);
    let inner = cache.clone();
    let outer = tokio::spawn(async move {
        let load = move |ids: Vec<u32>| async move {
            let again = |ids: Vec<u32>| async move {
                Ok::<Vec<(u32, u32)>, Infallible>(ids.into_iter().map(|id| (id, 0)).collect())
            };
            let served = inner.serve_many(&[2, 3], again).await.unwrap();
            assert!(matches!(&served[0], Err(LoadError::Circular(key)) if key.as_str() == "cache:n:2"));
            assert!(served[1].is_ok());
            Ok::<Vec<(u32, u32)>, Infallible>(ids.into_iter().map(|id| (id, id)).collect())
        };
        cache.get_or_load_many(&[1, 2], load).await
    });
    settle().await;
    assert!(outer.is_finished(), "it waits for itself");
    assert_eq!(found(&outer.await.unwrap().unwrap()), [Some(1), Some(2)]);
}
