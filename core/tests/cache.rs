//! The cache façade on the memory backend.

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use std::time::Duration;

use stanchion::cache::{CacheBuilder, SetOptions};
use stanchion::codec::Postcard;
use stanchion::environment::Environment;
use stanchion::prelude::*;
use stanchion::time::Ttl;
use tokio::sync::{Notify, oneshot};

use support::{Flaky, manual, settle};

#[tokio::test]
async fn values_are_typed_and_expire() {
    let (backend, clock) = manual();
    let cache = backend.stores().cache::<Vec<u32>>("list").ttl(minutes(10)).build().unwrap();
    cache.set("a", &vec![1, 2]).await.unwrap();
    assert_eq!(cache.get("a").await.unwrap().as_deref(), Some(&vec![1, 2]));
    assert_eq!(cache.get("b").await.unwrap(), None);
    clock.advance(minutes(9));
    assert!(cache.touch("a").await.unwrap());
    clock.advance(minutes(9));
    assert!(cache.get("a").await.unwrap().is_some());
    clock.advance(minutes(1));
    assert!(cache.get("a").await.unwrap().is_none());
    assert!(!cache.touch("a").await.unwrap());
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses), (2, 2));
    assert_eq!(serde_json::to_value(stats).unwrap()["hits"], 2);
}

#[tokio::test]
async fn batches_keep_the_order_of_the_identifiers() {
    let (backend, _) = manual();
    let cache = backend.stores().cache::<u32>("n").build().unwrap();
    cache.set_many(&[("a", 1), ("c", 3)]).await.unwrap();
    let found = cache.get_many(&["c", "b", "a", "c"]).await.unwrap();
    assert_eq!(
        found.iter().map(|n| n.as_deref().copied()).collect::<Vec<_>>(),
        [Some(3), None, Some(1), Some(3)]
    );
    assert_eq!(cache.remove_many(&["a", "a", "b"]).await.unwrap(), 1);
    assert!(cache.remove("c").await.unwrap());
    assert!(!cache.remove("c").await.unwrap());
}

#[tokio::test]
async fn conditions_hold() {
    let (backend, _) = manual();
    let cache = backend.stores().cache::<u32>("n").build().unwrap();
    assert_eq!(cache.set_if_present("a", &1).await.unwrap(), SetOutcome::NotStored);
    assert_eq!(cache.set_if_absent("a", &1).await.unwrap(), SetOutcome::Stored);
    assert_eq!(cache.set_if_absent("a", &2).await.unwrap(), SetOutcome::NotStored);
    assert_eq!(cache.replace("a", &2, &3).await.unwrap(), SetOutcome::NotStored);
    assert_eq!(cache.replace("a", &1, &3).await.unwrap(), SetOutcome::Stored);
    assert_eq!(cache.set_if_present("a", &4).await.unwrap(), SetOutcome::Stored);
    assert_eq!(cache.get("a").await.unwrap().as_deref(), Some(&4));
}

#[tokio::test]
async fn what_cannot_be_decoded_is_a_counted_miss() {
    let (backend, _) = manual();
    let stores = backend.stores();
    let cache = stores.cache::<u32>("n").build().unwrap();
    let other = stores.cache::<u32>("n").codec::<Postcard>().build().unwrap();
    other.set("a", &1).await.unwrap();
    assert!(cache.get("a").await.unwrap().is_none());
    let foreign = stores.cache_store().unwrap();
    let stored =
        foreign.set(&cache.key("b").unwrap(), "hello".into(), &SetOptions::new(Ttl::MAX)).await.unwrap();
    assert_eq!(stored, SetOutcome::Stored);
    assert!(cache.get("b").await.unwrap().is_none());
    assert_eq!(cache.stats().undecodable, 2);
    // A load puts it right.
    let value = cache.get_or_load("b", || async { Ok::<_, Infallible>(7) }).await.unwrap();
    assert_eq!((*value, cache.get("b").await.unwrap().as_deref()), (7, Some(&7)));
}

#[tokio::test]
async fn any_number_of_waiters_share_one_load() {
    let (backend, _) = manual();
    let cache = backend.stores().cache::<u32>("n").build().unwrap();
    let loads = Arc::new(AtomicUsize::new(0));
    let (started, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let waiters: Vec<_> = (0..100)
        .map(|_| {
            let (cache, loads, started, go) = (cache.clone(), loads.clone(), started.clone(), go.clone());
            tokio::spawn(async move {
                cache
                    .get_or_load("a", move || async move {
                        loads.fetch_add(1, Ordering::SeqCst);
                        started.notify_one();
                        go.notified().await;
                        Ok::<_, Infallible>(5)
                    })
                    .await
            })
        })
        .collect();
    started.notified().await;
    settle().await;
    go.notify_one();
    for waiter in waiters {
        assert_eq!(*waiter.await.unwrap().unwrap(), 5);
    }
    assert_eq!(loads.load(Ordering::SeqCst), 1);
    assert_eq!(cache.stats().loads, 1);
}

#[tokio::test]
async fn who_waits_for_a_load_that_fails_gets_its_error_and_a_panic_stays_inside() {
    let (backend, _) = manual();
    let cache = backend.stores().cache::<u32>("n").failure_ttl(Duration::ZERO).build().unwrap();
    let go = Arc::new(Notify::new());
    let first = {
        let (cache, go) = (cache.clone(), go.clone());
        tokio::spawn(async move {
            cache
                .get_or_load("a", move || async move {
                    go.notified().await;
                    Err::<u32, _>("first")
                })
                .await
        })
    };
    settle().await;
    let second = {
        let cache = cache.clone();
        tokio::spawn(async move { cache.get_or_load("a", || async { Err::<u32, _>("second") }).await })
    };
    settle().await;
    let other = {
        let cache = cache.clone();
        tokio::spawn(async move { cache.get_or_load("a", || async { Err::<u32, _>(7_u8) }).await })
    };
    settle().await;
    go.notify_one();
    assert!(matches!(first.await.unwrap(), Err(LoadError::Loader(error)) if *error == "first"));
    assert!(matches!(second.await.unwrap(), Err(LoadError::Loader(error)) if *error == "first"));
    match other.await.unwrap() {
        Err(LoadError::Shared(shared)) => assert_eq!(shared.downcast_ref::<&str>(), Some(&"first")),
        other => panic!("{other:?}"),
    }
    let panicked = cache.get_or_load("a", || async { panic!("boom") as Result<u32, Infallible> }).await;
    assert!(matches!(panicked, Err(LoadError::Panicked)));
    assert_eq!(*cache.get_or_load("a", || async { Ok::<_, Infallible>(1) }).await.unwrap(), 1);
    assert_eq!(cache.stats().load_failures, 2);
}

#[tokio::test]
async fn a_load_outlives_its_first_caller_and_ends_with_its_last() {
    let (backend, _) = manual();
    let cache = backend.stores().cache::<u32>("n").build().unwrap();
    let go = Arc::new(Notify::new());
    let (ended_tx, ended) = oneshot::channel::<()>();
    let load = |cache: Cache<u32>, go: Arc<Notify>, ended: Option<oneshot::Sender<()>>| {
        tokio::spawn(async move {
            cache
                .get_or_load("a", move || async move {
                    // Dropped with the loader, whichever way it ends.
                    let _ended = ended;
                    go.notified().await;
                    Ok::<_, Infallible>(3)
                })
                .await
        })
    };
    let first = load(cache.clone(), go.clone(), None);
    settle().await;
    let second = load(cache.clone(), go.clone(), None);
    settle().await;
    first.abort();
    settle().await;
    go.notify_one();
    assert_eq!(*second.await.unwrap().unwrap(), 3);
    assert_eq!(cache.stats().loads, 1);

    cache.remove("a").await.unwrap();
    let only = load(cache.clone(), go, Some(ended_tx));
    settle().await;
    only.abort();
    assert!(ended.await.is_err(), "the loader was dropped");
    assert!(cache.get("a").await.unwrap().is_none());
}

#[tokio::test]
async fn a_store_that_is_down_leaves_the_loader_to_serve() {
    let (backend, _) = manual();
    let flaky = Flaky::over(&backend.stores());
    let cache: Cache<u32> = CacheBuilder::new(flaky.clone(), Environment::system(), "n").build().unwrap();
    flaky.down.store(true, Ordering::SeqCst);
    assert_eq!(*cache.get_or_load("a", || async { Ok::<_, Infallible>(1) }).await.unwrap(), 1);
    assert_eq!(cache.get("a").await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(cache.stats().store_failures, 2);
    flaky.down.store(false, Ordering::SeqCst);
    let calls = flaky.calls.load(Ordering::SeqCst);
    assert_eq!(*cache.get_or_load("a", || async { Ok::<_, Infallible>(2) }).await.unwrap(), 2);
    let cost = |since: usize| flaky.calls.load(Ordering::SeqCst) - since;
    assert_eq!(cost(calls), 4, "a read, a lease, once the generation of the namespace, and a fill");
    let calls = flaky.calls.load(Ordering::SeqCst);
    assert_eq!(*cache.get_or_load("a", || async { Ok::<_, Infallible>(3) }).await.unwrap(), 2);
    assert_eq!(cost(calls), 1, "a hit costs a read");
    let calls = flaky.calls.load(Ordering::SeqCst);
    assert_eq!(*cache.get_or_load("b", || async { Ok::<_, Infallible>(4) }).await.unwrap(), 4);
    assert_eq!(cost(calls), 3, "a miss costs a read, a lease and a fill");
}

#[tokio::test]
async fn bad_names_and_lives_are_refused_when_built() {
    let stores = manual().0.stores();
    for builder in
        [stores.cache::<u32>(""), stores.cache::<u32>("a:b"), stores.cache::<u32>("a").service("{x}")]
    {
        assert_eq!(builder.build().unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(stores.cache::<u32>("a").ttl(seconds(0)).build().unwrap_err().kind(), ErrorKind::InvalidInput);
    let cache = stores.cache::<u32>("a").build().unwrap();
    assert_eq!(cache.get("").await.unwrap_err().kind(), ErrorKind::InvalidInput);
    let refused = cache.get_or_load("", || async { Ok::<_, Infallible>(1) }).await;
    assert!(matches!(refused, Err(LoadError::Store(error)) if error.kind() == ErrorKind::InvalidInput));
}

#[tokio::test]
async fn counters_count_within_their_window() {
    let (backend, clock) = manual();
    let counters = backend.stores().counters("views").ttl(hours(1)).build().unwrap();
    assert_eq!(counters.get("page").await.unwrap(), 0);
    assert_eq!(counters.add("page", 2).await.unwrap(), 2);
    clock.advance(minutes(59));
    assert_eq!(counters.add("page", -5).await.unwrap(), -3);
    clock.advance(minutes(1));
    assert_eq!(counters.get("page").await.unwrap(), 0);
    assert_eq!(counters.add("page", i64::MAX).await.unwrap(), i64::MAX);
    assert_eq!(counters.add("page", 1).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert!(counters.reset("page").await.unwrap());
}
