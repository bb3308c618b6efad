//! How loads end: when nobody waits for them any more, and when the stores close under them.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::time::Duration;

use stanchion::prelude::*;

use support::{Loading, instant, manual, settle, slow};

/// Lets so many seconds pass, and in each of them everybody do what is due.
async fn pass(clock: &stanchion::clock::ManualClock, seconds: u64) {
    for _ in 0..seconds {
        settle().await;
        clock.advance(Duration::from_secs(1));
    }
    settle().await;
}

async fn is_closed(load: Loading<u32>) -> bool {
    settle().await;
    assert!(load.is_finished(), "it waits on");
    matches!(load.await.unwrap(), Err(LoadError::Store(error)) if error.kind() == ErrorKind::Closed)
}

#[tokio::test]
async fn a_load_that_nobody_waits_for_is_finished_where_that_is_asked_for_and_else_ended() {
    for asked in [false, true] {
        let (backend, _) = manual();
        let mut builder = backend.stores().cache("n");
        if asked {
            builder = builder.finish_in_background();
        }
        let cache: Cache<u32> = builder.build().unwrap();
        let there: Cache<u32> = backend.handle().stores().cache("n").build().unwrap();
        let (load, row, begun) = slow(&cache, 1);
        begun.await.unwrap();
        load.abort();
        assert!(load.await.unwrap_err().is_cancelled());
        settle().await;
        assert_eq!(row.is_closed(), !asked, "the loader goes on, or was dropped with its caller");
        if asked {
            // Who comes meanwhile takes part in it.
            let late = instant(&cache, 1, 99);
            settle().await;
            assert!(!late.is_finished());
            row.send(1).unwrap();
            assert_eq!(*late.await.unwrap().unwrap(), 1);
            assert_eq!(there.get(1).await.unwrap().as_deref(), Some(&1), "it was stored");
        } else {
            assert_eq!(there.get(1).await.unwrap(), None);
            assert_eq!(*instant(&there, 1, 99).await.unwrap().unwrap(), 99, "its lease was given back");
        }
        let stats = cache.stats();
        assert_eq!((stats.loads, stats.load_failures, stats.fenced), (1, 0, 0));
    }
}

#[tokio::test]
async fn a_load_that_is_finished_in_the_background_is_fenced_as_any_other() {
    let (backend, _) = manual();
    let cache: Cache<u32> = backend.stores().cache("n").finish_in_background().build().unwrap();
    let (load, row, begun) = slow(&cache, 1);
    begun.await.unwrap();
    load.abort();
    assert!(load.await.is_err());
    backend.handle().stores().cache("n").build().unwrap().set(1, &2).await.unwrap();
    row.send(1).unwrap();
    settle().await;
    assert_eq!(cache.get(1).await.unwrap().as_deref(), Some(&2));
    assert_eq!(cache.stats().fenced, 1);
}

#[tokio::test]
async fn a_load_that_ends_before_the_deadline_of_a_close_is_served_and_stored() {
    let (backend, clock) = manual();
    let stores = backend.handle().stores();
    let cache: Cache<u32> = stores.cache("n").build().unwrap();
    let (load, row, begun) = slow(&cache, 1);
    begun.await.unwrap();
    let closing = tokio::spawn(async move { stores.close(seconds(5)).await });
    pass(&clock, 4).await;
    assert!(!closing.is_finished() && !load.is_finished());
    row.send(1).unwrap();
    assert_eq!(*load.await.unwrap().unwrap(), 1);
    closing.await.unwrap().unwrap();
    let there: Cache<u32> = backend.handle().stores().cache("n").build().unwrap();
    assert_eq!(there.get(1).await.unwrap().as_deref(), Some(&1));
}

#[tokio::test]
async fn a_load_that_takes_longer_than_a_close_waits_is_cut_off_and_its_lease_runs_out() {
    let (backend, clock) = manual();
    let stores = backend.handle().stores();
    let cache: Cache<u32> = stores.cache("n").finish_in_background().build().unwrap();
    let (load, row, begun) = slow(&cache, 1);
    begun.await.unwrap();
    let joined = instant(&cache, 1, 2);
    settle().await;
    let closing = tokio::spawn(async move { stores.close(seconds(5)).await });
    settle().await;
    assert!(is_closed(instant(&cache, 2, 2)).await, "nothing is begun any more");
    pass(&clock, 4).await;
    assert!(!closing.is_finished() && !load.is_finished() && !joined.is_finished() && !row.is_closed());
    pass(&clock, 1).await;
    assert_eq!(closing.await.unwrap().unwrap_err().kind(), ErrorKind::Timeout);
    assert!(is_closed(load).await && is_closed(joined).await, "nobody is left waiting");
    assert!(row.is_closed(), "the loader was dropped");

    // It was kept to the last; with nobody to give it back it is over when it was asked for last and 3 seconds more.
    let there: Cache<u32> = backend.handle().stores().cache("n").build().unwrap();
    let heir = instant(&there, 1, 3);
    settle().await;
    assert!(!heir.is_finished());
    pass(&clock, 3).await;
    assert_eq!(*heir.await.unwrap().unwrap(), 3);
    assert_eq!(there.get(1).await.unwrap().as_deref(), Some(&3));
}

#[tokio::test]
async fn who_waits_for_another_process_is_told_of_a_close_at_once() {
    let (backend, clock) = manual();
    let there: Cache<u32> = backend.handle().stores().cache("n").build().unwrap();
    let (load, row, begun) = slow(&there, 1);
    begun.await.unwrap();
    let stores = backend.handle().stores();
    let here: Cache<u32> = stores.cache("n").build().unwrap();
    let waiters = [instant(&here, 1, 2), instant(&here, 1, 3)];
    pass(&clock, 1).await;
    assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
    let closing = tokio::spawn(async move { stores.close(seconds(5)).await });
    for waiter in waiters {
        assert!(is_closed(waiter).await);
    }
    closing.await.unwrap().unwrap();
    row.send(1).unwrap();
    assert_eq!(*load.await.unwrap().unwrap(), 1, "theirs goes on");
    assert_eq!(there.get(1).await.unwrap().as_deref(), Some(&1));
}
