//! What a store that stalls costs, and for how long it is not asked.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::convert::Infallible;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use stanchion::clock::ManualClock;
use stanchion::prelude::*;
use tokio::task::JoinSet;

use support::{Flaky, instant, manual, settle};

/// This many ask at once, and get no answer in time.
async fn stall(cache: &Cache<u32>, flaky: &Flaky, clock: &ManualClock, callers: u32) {
    flaky.hang.store(true, SeqCst);
    let mut asking = JoinSet::new();
    for id in 0..callers {
        let cache = cache.clone();
        asking.spawn(async move { cache.get(id).await });
    }
    settle().await;
    clock.advance(Duration::from_millis(101));
    while let Some(answer) = asking.join_next().await {
        assert!(answer.unwrap().is_err());
    }
    flaky.hang.store(false, SeqCst);
}

#[tokio::test]
async fn one_stall_under_load_opens_no_breaker() {
    let (backend, clock) = manual();
    let flaky = Flaky::over(&backend.stores());
    let cache = flaky.cache(&clock).build().unwrap();
    cache.set(1, &1).await.unwrap();
    stall(&cache, &flaky, &clock, 100).await;
    assert_eq!(cache.get(1).await.unwrap().as_deref(), Some(&1), "it answers again, and is asked");
    // Also where one comes each second.
    for _ in 0..10 {
        clock.advance(seconds(1));
        stall(&cache, &flaky, &clock, 100).await;
        assert_eq!(cache.get(1).await.unwrap().as_deref(), Some(&1));
    }
}

#[tokio::test]
async fn a_store_that_stays_silent_is_not_asked_by_everybody() {
    let (backend, clock) = manual();
    let flaky = Flaky::over(&backend.stores());
    let cache = flaky.cache(&clock).build().unwrap();
    for _ in 0..5 {
        stall(&cache, &flaky, &clock, 10).await;
    }
    let calls = flaky.calls.load(SeqCst);
    flaky.hang.store(true, SeqCst);
    for id in 0..50 {
        assert!(cache.get(id).await.is_err(), "at once");
    }
    assert_eq!(flaky.calls.load(SeqCst), calls);
    flaky.hang.store(false, SeqCst);
    clock.advance(seconds(1));
    assert_eq!(cache.get(1).await.unwrap(), None, "one tries, and it is answered");
    assert_eq!(cache.get(2).await.unwrap(), None);
}

#[tokio::test]
async fn a_failure_elsewhere_is_remembered_for_what_is_left_of_it() {
    let (backend, clock) = manual();
    let [here, there]: [Cache<u32>; 2] =
        [(); 2].map(|()| backend.handle().stores().cache("n").build().unwrap());
    let down = || async { Err::<u32, _>("down") };
    let failed = here.get_or_load(1, down).await;
    assert!(matches!(failed, Err(LoadError::Loader(_))));
    clock.advance(Duration::from_millis(400));
    let load = || async { Ok::<_, Infallible>(1) };
    assert!(matches!(there.get_or_load(1, load).await, Err(LoadError::Elsewhere)));
    clock.advance(Duration::from_millis(101));
    assert_eq!(*there.get_or_load(1, load).await.unwrap(), 1, "half a second after the failure");
}

#[tokio::test]
async fn a_batch_has_more_time_by_its_size() {
    let (backend, clock) = manual();
    let flaky = Flaky::over(&backend.stores());
    let cache = flaky.cache(&clock).build().unwrap();
    let ids: Vec<u32> = (0..4_000).collect();
    cache.set(1, &1).await.unwrap();
    flaky.late_batches.store(true, SeqCst);
    let reading = tokio::spawn(async move { cache.get_many(&ids).await });
    settle().await;
    // A tenth of a second, and a millisecond for eight keys.
    clock.advance(Duration::from_millis(599));
    settle().await;
    flaky.arrive.notify_one();
    assert_eq!(reading.await.unwrap().unwrap()[1].as_deref(), Some(&1));
}

#[tokio::test]
async fn a_fill_has_more_time_than_a_read_and_nobody_waits_for_it() {
    let (backend, clock) = manual();
    let flaky = Flaky::over(&backend.stores());
    let cache = flaky.cache(&clock).build().unwrap();
    flaky.late_fills.store(true, SeqCst);
    let loading = instant(&cache, 1, 1);
    settle().await;
    assert!(!loading.is_finished());
    clock.advance(Duration::from_millis(100));
    settle().await;
    assert!(loading.is_finished(), "answered within the deadline of a read");
    assert_eq!(*loading.await.unwrap().unwrap(), 1);
    clock.advance(Duration::from_millis(800));
    settle().await;
    flaky.arrive.notify_one();
    settle().await;
    flaky.late_fills.store(false, SeqCst);
    assert_eq!(cache.get(1).await.unwrap().as_deref(), Some(&1), "stored after nine tenths of a second");
    assert_eq!(cache.stats().store_failures, 0);
}

#[tokio::test]
async fn a_load_that_succeeds_alone_ends_the_memory_of_a_failure() {
    let (backend, clock) = manual();
    let build = || -> Cache<u32> {
        backend.handle().stores().cache("n").failure_ttl(hours(1)).wait_timeout(seconds(1)).build().unwrap()
    };
    let cache = build();
    let hung = {
        let cache = cache.clone();
        tokio::spawn(
            async move { cache.get_or_load(1, std::future::pending::<Result<u32, Infallible>>).await },
        )
    };
    settle().await;
    let call = |fails: bool| {
        let cache = cache.clone();
        let load = move |ids: Vec<u32>| async move {
            if fails { Err("down") } else { Ok(ids.into_iter().map(|id| (id, id)).collect::<Vec<_>>()) }
        };
        tokio::spawn(async move { cache.get_or_load_many(&[1], load).await })
    };
    // Both wait for the load that hangs; the second to be asked ends last.
    let (bad, good) = (call(true), call(false));
    settle().await;
    clock.advance(seconds(1));
    assert!(bad.await.unwrap().is_err());
    assert_eq!(good.await.unwrap().unwrap()[0].as_deref(), Some(&1));
    let next = instant(&cache, 1, 3);
    settle().await;
    clock.advance(seconds(1));
    settle().await;
    assert_eq!(*next.await.unwrap().unwrap(), 3, "its loader has succeeded meanwhile");
    hung.abort();
}
