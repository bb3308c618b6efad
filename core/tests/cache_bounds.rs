//! What is asked of a store that is bounded, or away.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::convert::Infallible;
use std::sync::Arc;

use stanchion::ErrorKind;
use stanchion::cache::{StaleReason, WarmOptions};
use stanchion::clock::ManualClock;
use stanchion::environment::Environment;
use stanchion::prelude::*;
use stanchion_memory::{MemoryBackend, MemoryConfig, MokaNear};

use support::{Flaky, manual};

fn tag_of(id: &str) -> Vec<Tag> {
    vec![Tag::new(format!("t{id}")).unwrap()]
}

#[tokio::test]
async fn a_batch_may_have_more_tags_than_a_batch_has_keys() {
    let environment = Environment::system().clock(Arc::new(ManualClock::new()));
    let backend = MemoryBackend::with(MemoryConfig::new().environment(environment).max_batch(4));
    let cache: Cache<u32> = backend.stores().cache("n").tags(tag_of).build().unwrap();
    let values: Vec<_> = (0..4).map(|n| (n, n)).collect();
    cache.set_many(&values).await.unwrap();
    // Another process mirrors none of them.
    let other: Cache<u32> = backend.handle().stores().cache("n").tags(tag_of).build().unwrap();
    let found = other.get_many(&[0, 1, 2, 3]).await.unwrap();
    assert_eq!(found.iter().flatten().count(), 4);
    let load = |ids: Vec<u32>| async move {
        let tagged = |n: u32| {
            (0..9).fold(Loaded::new(n), |value, t| value.tag(Tag::new(format!("l{n}.{t}")).unwrap()))
        };
        Ok::<_, Infallible>(ids.into_iter().map(|n| (n, tagged(n))).collect())
    };
    let loaded = other.get_or_load_many(&[10, 11, 12, 13], load).await.unwrap();
    assert_eq!(loaded.iter().flatten().count(), 4);
    assert_eq!(other.stats().store_failures, 0);
}

#[tokio::test]
async fn a_value_over_the_caches_own_bound_is_served_and_counted() {
    let (backend, _) = manual();
    let cache: Cache<String> = backend.stores().cache("n").max_bytes(200).build().unwrap();
    cache.set(1, &"x".repeat(50)).await.unwrap();
    assert_eq!(cache.set(2, &"x".repeat(500)).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    for _ in 0..2 {
        let load = || async { Ok::<_, Infallible>("x".repeat(500)) };
        assert_eq!(cache.get_or_load(2, load).await.unwrap().len(), 500);
    }
    let stats = cache.stats();
    assert_eq!((stats.loads, stats.unstorable, stats.store_failures), (2, 2, 0));
    assert!(cache.get(1).await.unwrap().is_some() && cache.get(2).await.unwrap().is_none());
}

#[tokio::test]
async fn an_outage_is_the_callers_error_only_if_asked_for() {
    for closed in [false, true] {
        let (backend, clock) = manual();
        let flaky = Flaky::over(&backend.stores());
        let mut builder = flaky.cache(&clock);
        if closed {
            builder = builder.fail_closed();
        }
        let cache = builder.build().unwrap();
        flaky.lose();
        let one = cache.get_or_load(1, || async { Ok::<_, Infallible>(1) }).await;
        let many = cache.get_or_load_many(&[1], |_| async { Ok::<_, Infallible>(vec![(1, 1)]) }).await;
        assert_eq!(cache.stats().loads, if closed { 0 } else { 2 });
        match (one, many) {
            (Ok(one), Ok(many)) if !closed => assert_eq!((*one, many.len()), (1, 1)),
            (Err(LoadError::Store(one)), Err(LoadError::Store(many))) if closed => {
                assert_eq!((one.kind(), many.kind()), (ErrorKind::Unavailable, ErrorKind::Unavailable));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn who_fails_closed_is_served_what_is_stale_first() {
    let (backend, clock) = manual();
    let flaky = Flaky::over(&backend.stores());
    let near = MokaNear::entries(10);
    let cache =
        flaky.cache(&clock).near(near).fail_closed().fail_safe(hours(1), seconds(30)).build().unwrap();
    cache.set(1, &1).await.unwrap();
    assert!(cache.get(1).await.unwrap().is_some() && cache.peek(1).is_some());
    flaky.lose();
    let served = cache.serve(1, || async { Ok::<_, Infallible>(2) }).await.unwrap();
    assert_eq!(*served.value, 1);
    assert!(matches!(served.freshness, Freshness::Stale { why: StaleReason::StoreFailed, .. }), "{served:?}");
    let many = cache.serve_many(&[1], |_| async { Ok::<_, Infallible>(vec![(1, 2)]) }).await.unwrap();
    let one = many[0].as_ref().unwrap().as_ref().unwrap();
    assert_eq!(*one.value, 1);
    assert!(matches!(one.freshness, Freshness::Stale { why: StaleReason::StoreFailed, .. }), "{one:?}");
    assert_eq!(cache.stats().loads, 0);
}

#[tokio::test]
async fn a_store_that_is_away_is_not_warmed() {
    let (backend, clock) = manual();
    let flaky = Flaky::over(&backend.stores());
    let cache = flaky.cache(&clock).build().unwrap();
    flaky.lose();
    let load = |ids: Vec<u32>| async move { Ok::<_, Infallible>(ids.into_iter().map(|n| (n, n)).collect()) };
    let warmed = cache.warm(0..250, WarmOptions::new(), load, |_| ()).await.unwrap();
    assert_eq!((warmed.seen, warmed.failed, warmed.stored, warmed.passed_over), (250, 250, 0, 0));
    assert_eq!(cache.stats().loads, 0, "for nothing");
}

#[tokio::test]
async fn a_flush_is_counted_once() {
    let (backend, _) = manual();
    let cache: Cache<u32> = backend.stores().cache("n").near(MokaNear::entries(10)).build().unwrap();
    let flushes = || cache.stats().epoch_flushes;
    cache.clear().await.unwrap();
    assert_eq!(flushes(), 1, "by this process");
    backend.handle().stores().cache::<u32>("n").build().unwrap().clear().await.unwrap();
    assert_eq!(flushes(), 2, "by another");

    let flaky = Flaky::over(&backend.stores());
    let cache = flaky.cache(&ManualClock::new()).near(MokaNear::entries(10)).build().unwrap();
    flaky.lose();
    flaky.lose();
    assert_eq!(cache.stats().epoch_flushes, 1, "both feeds are away, and stay so");
}

#[tokio::test]
async fn a_batch_that_gets_no_leases_is_served_what_is_stale_first() {
    let (backend, clock) = manual();
    let flaky = Flaky::over(&backend.stores());
    let cache =
        flaky.cache(&clock).ttl(minutes(1)).fail_closed().fail_safe(hours(1), seconds(30)).build().unwrap();
    cache.set(1, &1).await.unwrap();
    clock.advance(minutes(2));
    // It dies between the look and the request for leases.
    flaky.down_after_reads.store(true, std::sync::atomic::Ordering::SeqCst);
    let served = cache.serve_many(&[1], |_| async { Ok::<_, Infallible>(vec![(1, 2)]) }).await.unwrap();
    let one = served[0].as_ref().unwrap().as_ref().unwrap();
    assert_eq!(*one.value, 1);
    assert!(matches!(one.freshness, Freshness::Stale { why: StaleReason::StoreFailed, .. }), "{one:?}");
    assert_eq!(cache.stats().loads, 0);
}
