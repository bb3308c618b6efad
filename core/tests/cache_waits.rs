//! Waits for somebody else's load: each has an end, and what it ends with is right for whoever waits.

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stanchion::cache::LoadError;
use stanchion::clock::ManualClock;
use stanchion::prelude::*;

use support::{instant, manual, settle};

/// Lets so many tenths of a second pass, and in each of them everybody do what is due.
async fn pass(clock: &ManualClock, tenths: u32) {
    for _ in 0..tenths {
        settle().await;
        clock.advance(Duration::from_millis(100));
    }
    settle().await;
}

async fn hang() -> Result<u32, Infallible> {
    std::future::pending().await
}

/// Each caller overlaps the next, so the load that hangs always has somebody who waits.
#[tokio::test]
async fn a_load_that_hangs_is_waited_for_once_and_not_by_all_who_come_later() {
    let (backend, clock) = manual();
    let cache: Cache<u32> = backend.stores().cache("n").build().unwrap();
    let first = cache.clone();
    let hung = tokio::spawn(async move { first.get_or_load(1, hang).await });
    settle().await;
    let second = instant(&cache, 1, 2);
    pass(&clock, 10).await;
    hung.abort();
    pass(&clock, 30).await;
    let third = instant(&cache, 1, 2);
    pass(&clock, 25).await;
    assert_eq!(*second.await.unwrap().unwrap(), 2, "alone, after the bound");
    assert!(!third.is_finished());
    // The third has joined the load that hangs, and keeps it. Whoever comes now does not.
    let fourth = instant(&cache, 1, 4);
    pass(&clock, 48).await;
    assert!(fourth.is_finished());
    assert!(third.await.unwrap().is_ok());
}

/// The same for values of a batch.
#[tokio::test]
async fn a_batch_too_keeps_nobody_at_a_load_that_hangs() {
    let (backend, clock) = manual();
    let cache: Cache<u32> = backend.stores().cache("n").build().unwrap();
    let first = cache.clone();
    let hung = tokio::spawn(async move { first.get_or_load(1, hang).await });
    settle().await;
    let batch = cache.clone();
    let joined = tokio::spawn(async move {
        let load = |ids: Vec<u32>| async move {
            Ok::<_, Infallible>(ids.into_iter().map(|id| (id, id)).collect::<Vec<_>>())
        };
        batch.get_or_load_many(&[1, 2], load).await
    });
    pass(&clock, 40).await;
    let late = instant(&cache, 1, 2);
    pass(&clock, 25).await;
    assert_eq!(joined.await.unwrap().unwrap().len(), 2);
    let fresh = instant(&cache, 1, 4);
    // Three quarters of six seconds for the lease of the load that hangs; joined, it would be six.
    pass(&clock, 48).await;
    assert!(fresh.is_finished());
    hung.abort();
    assert!(late.await.unwrap().is_ok());
}

#[tokio::test]
async fn what_is_left_out_makes_nobody_wait_in_a_row() {
    let (backend, clock) = manual();
    let cache: Cache<u32> = backend.stores().cache("n").build().unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..20)
        .map(|_| {
            let (cache, environment, calls) =
                (cache.clone(), backend.stores().environment().clone(), Arc::clone(&calls));
            tokio::spawn(async move {
                let load = move |_: Vec<u32>| async move {
                    calls.fetch_add(1, SeqCst);
                    environment.sleep(Duration::from_millis(100)).await;
                    Ok::<_, Infallible>(Vec::<(u32, u32)>::new())
                };
                cache.get_or_load_many(&[1, 2, 3], load).await
            })
        })
        .collect();
    // The load, and that of all others at the same time.
    pass(&clock, 3).await;
    for caller in callers {
        assert!(caller.is_finished(), "it waits for a third load");
        assert!(caller.await.unwrap().unwrap().iter().all(Option::is_none));
    }
    assert_eq!(calls.load(SeqCst), 20, "each loads all that was left out at once");
}

#[tokio::test]
async fn the_timeout_of_another_is_not_that_of_who_came_later() {
    let (backend, clock) = manual();
    let cache: Cache<u32> = backend.stores().cache("n").hard_timeout(seconds(10)).build().unwrap();
    let first = cache.clone();
    let hung = tokio::spawn(async move { first.get_or_load(1, hang).await });
    pass(&clock, 90).await;
    let late = instant(&cache, 1, 2);
    pass(&clock, 15).await;
    assert!(matches!(hung.await.unwrap(), Err(LoadError::TimedOut(_))));
    assert_eq!(*late.await.unwrap().unwrap(), 2);
}

/// A waiter that is left no time for its own loader would be worse off than without a cache.
#[tokio::test]
async fn half_of_the_hard_timeout_is_left_for_the_own_loader() {
    let (backend, clock) = manual();
    let here: Cache<u32> = backend.handle().stores().cache("n").build().unwrap();
    let hung = tokio::spawn(async move { here.get_or_load(1, hang).await });
    settle().await;
    let there = backend.handle().stores().cache("n").hard_timeout(seconds(4)).wait_timeout(seconds(30));
    let load = instant(&there.build().unwrap(), 1, 2);
    pass(&clock, 22).await;
    assert_eq!(*load.await.unwrap().unwrap(), 2);
    hung.abort();
}

#[derive(Deserialize)]
struct Unwritable(u32);

impl Serialize for Unwritable {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert_ne!(self.0, 2, "this panic is part of the case");
        serializer.serialize_u32(self.0)
    }
}

#[tokio::test]
async fn a_panic_while_a_value_of_a_batch_is_written_is_said_as_one() {
    let (backend, _) = manual();
    let cache: Cache<Unwritable> = backend.stores().cache("n").build().unwrap();
    let load = |ids: Vec<u32>| async move {
        Ok::<_, Infallible>(ids.into_iter().map(|id| (id, Unwritable(id))).collect::<Vec<_>>())
    };
    let refused = cache.get_or_load_many(&[1, 2], load).await;
    assert!(matches!(refused, Err(LoadError::Panicked)), "{:?}", refused.err());
}
