//! What a call costs while the store is slow to store or to read: its bounds, and no more.

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use stanchion::cache::{CacheBuilder, WarmOptions};
use stanchion::clock::{Clock, ManualClock};
use stanchion::environment::Environment;
use stanchion::prelude::*;
use tokio::task::JoinHandle;

use support::{Flaky, Loading, instant, manual, settle};

type Many = JoinHandle<Result<Vec<Option<Arc<u32>>>, LoadError<Infallible>>>;

fn flaky() -> (Arc<Flaky>, ManualClock) {
    let (backend, clock) = manual();
    (Flaky::over(&backend.stores()), clock)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Lets so many hundredths of a second pass, and in each of them everybody do what is due.
async fn pass(clock: &ManualClock, hundredths: u32) {
    for _ in 0..hundredths {
        settle().await;
        clock.advance(millis(10));
    }
    settle().await;
}

/// Loads 1 and 2 by a loader that takes so long; and, joined before it has begun, 1 alone.
fn load(cache: &Cache<u32>, clock: &ManualClock, takes: Duration) -> (Many, Loading<u32>) {
    let (of, clock) = (cache.clone(), clock.clone());
    let many = tokio::spawn(async move {
        let load = move |ids: Vec<u32>| async move {
            clock.sleep_until(clock.now().saturating_add(takes)).await;
            Ok::<_, Infallible>(ids.into_iter().map(|id| (id, id)).collect())
        };
        of.get_or_load_many(&[1, 2], load).await
    });
    (many, instant(cache, 1, 99))
}

#[tokio::test]
async fn what_a_batch_has_loaded_in_time_is_not_lost_as_it_is_stored_late() {
    for takes in [millis(0), millis(290)] {
        let (flaky, clock) = flaky();
        let cache = flaky.cache(&clock).hard_timeout(millis(300)).build().unwrap();
        flaky.late_fills.store(true, SeqCst);
        let (many, joiner) = load(&cache, &clock, takes);
        pass(&clock, 31).await;
        assert!(many.is_finished(), "by the hard timeout at the latest");
        assert_eq!(many.await.unwrap().unwrap().len(), 2);
        if takes.is_zero() {
            assert_eq!(*joiner.await.unwrap().unwrap(), 1);
        }
        pass(&clock, 50).await;
        flaky.arrive.notify_one();
        settle().await;
        assert_eq!(cache.get_many(&[1, 2]).await.unwrap()[1].as_deref(), Some(&2), "and it is stored");
    }
}

#[tokio::test]
async fn who_joins_a_batch_does_not_wait_until_it_is_stored() {
    let (flaky, clock) = flaky();
    let cache = flaky.cache(&clock).build().unwrap();
    flaky.late_fills.store(true, SeqCst);
    let (many, joiner) = load(&cache, &clock, Duration::ZERO);
    pass(&clock, 10).await;
    assert!(joiner.is_finished() && many.is_finished(), "within the deadline of a read");
    assert_eq!(*joiner.await.unwrap().unwrap(), 1);
    flaky.arrive.notify_one();
    settle().await;
    assert_eq!(cache.get(2).await.unwrap().as_deref(), Some(&2));
}

#[tokio::test]
async fn a_warming_waits_until_it_is_stored_and_counts_it() {
    let (flaky, clock) = flaky();
    let cache = flaky.cache(&clock).hard_timeout(millis(300)).build().unwrap();
    flaky.late_fills.store(true, SeqCst);
    let load = |ids: Vec<u32>| async move {
        Ok::<_, Infallible>(ids.into_iter().map(|id| (id, id)).collect::<Vec<_>>())
    };
    let warming = tokio::spawn(async move { cache.warm([1, 2, 3], WarmOptions::new(), load, |_| ()).await });
    pass(&clock, 80).await;
    assert!(!warming.is_finished());
    flaky.arrive.notify_one();
    let warmed = warming.await.unwrap().unwrap();
    assert_eq!((warmed.stored, warmed.failed, warmed.passed_over), (3, 0, 0));
}

#[tokio::test]
async fn a_batch_that_nobody_waits_for_ends_though_a_part_of_it_was_answered() {
    let (backend, clock) = manual();
    let flaky = Flaky::over(&backend.stores());
    let cache = flaky.cache(&clock).build().unwrap();
    let there: Cache<u32> = backend.handle().stores().cache("n").build().unwrap();
    // The other process holds the lease of 2, so that it is loaded after the rest; and never is.
    let (elsewhere, _word, begun) = support::slow(&there, 2);
    begun.await.unwrap();
    flaky.late_fills.store(true, SeqCst);
    let (dropped, mut alive) = tokio::sync::mpsc::channel::<()>(1);
    let many = tokio::spawn(async move {
        let load = move |ids: Vec<u32>| async move {
            if ids.contains(&2) {
                let _dropped = dropped;
                std::future::pending::<()>().await;
            }
            Ok::<_, Infallible>(ids.into_iter().map(|id| (id, id)).collect())
        };
        cache.get_or_load_many(&[1, 2], load).await
    });
    pass(&clock, 20).await;
    elsewhere.abort();
    pass(&clock, 60).await;
    many.abort();
    settle().await;
    flaky.arrive.notify_one();
    settle().await;
    assert_eq!(alive.try_recv(), Err(tokio::sync::mpsc::error::TryRecvError::Disconnected));
}

#[tokio::test]
async fn a_batch_of_reads_ends_by_its_deadline() {
    // Where the store declares one that is longer than that of the cache, too.
    for declared in [None, Some(millis(200))] {
        let (flaky, clock) = flaky();
        *flaky.read_deadline.lock().unwrap() = declared;
        let cache = flaky.cache(&clock).build().unwrap();
        flaky.late_batches.store(true, SeqCst);
        let reading = tokio::spawn(async move { cache.get_many(&(0..4_000).collect::<Vec<u32>>()).await });
        settle().await;
        clock.advance(millis(599));
        settle().await;
        assert!(!reading.is_finished());
        clock.advance(millis(2));
        settle().await;
        assert!(reading.is_finished(), "{declared:?}");
        assert_eq!(reading.await.unwrap().unwrap_err().kind(), ErrorKind::Timeout);
    }
}

#[tokio::test]
async fn a_shorter_deadline_of_the_store_is_left_to_it() {
    let (flaky, clock) = flaky();
    *flaky.read_deadline.lock().unwrap() = Some(millis(100));
    let cache = flaky.cache(&clock).build().unwrap();
    flaky.late_batches.store(true, SeqCst);
    let reading = tokio::spawn(async move { cache.get_many(&[1, 2]).await });
    settle().await;
    clock.advance(seconds(10));
    settle().await;
    flaky.arrive.notify_one();
    assert_eq!(reading.await.unwrap().unwrap().len(), 2, "it knows what still comes");
}

#[tokio::test]
async fn a_fill_ends_by_its_deadline() {
    let (flaky, clock) = flaky();
    *flaky.call_deadline.lock().unwrap() = Some(seconds(5));
    let cache = flaky.cache(&clock).build().unwrap();
    flaky.late_fills.store(true, SeqCst);
    let loading = instant(&cache, 1, 1);
    pass(&clock, 99).await;
    assert_eq!(*loading.await.unwrap().unwrap(), 1);
    assert_eq!(cache.stats().store_failures, 0);
    pass(&clock, 2).await;
    assert_eq!(cache.stats().store_failures, 1, "a second is over");
    flaky.arrive.notify_one();
    settle().await;
    assert_eq!(cache.get(1).await.unwrap(), None);
}

#[tokio::test]
async fn leases_have_no_time_for_values_that_are_not_read() {
    let (flaky, clock) = flaky();
    let cache = flaky.cache(&clock).build().unwrap();
    let there: Vec<(u32, u32)> = (0..4_000).map(|id| (id, id)).collect();
    cache.set_many(&there).await.unwrap();
    assert_eq!(cache.get_many(&(0..4_000).collect::<Vec<u32>>()).await.unwrap().len(), 4_000);
    flaky.mute.store(true, SeqCst);
    let loading = tokio::spawn(async move {
        let load =
            |ids: Vec<u32>| async move { Ok::<_, Infallible>(ids.into_iter().map(|id| (id, id)).collect()) };
        cache.get_or_load_many(&(4_000..8_000).collect::<Vec<u32>>(), load).await
    });
    settle().await;
    clock.advance(millis(601));
    settle().await;
    assert!(loading.is_finished(), "a tenth of a second, and a millisecond for eight keys");
    assert_eq!(loading.await.unwrap().unwrap().len(), 4_000);
}

#[tokio::test]
async fn the_size_of_values_adds_half_a_minute_at_most() {
    let (flaky, clock) = flaky();
    let environment = Environment::system().clock(Arc::new(clock.clone()));
    let cache: Cache<String> = CacheBuilder::new(flaky.clone(), environment, "n").build().unwrap();
    cache.set(1, &"x".repeat(1_000_000)).await.unwrap();
    assert!(cache.get_many(&[1]).await.unwrap()[0].is_some());
    flaky.late_batches.store(true, SeqCst);
    let reading = tokio::spawn(async move { cache.get_many(&(1..=1_000).collect::<Vec<u32>>()).await });
    settle().await;
    clock.advance(millis(30_224));
    settle().await;
    assert!(!reading.is_finished());
    clock.advance(millis(2));
    settle().await;
    assert!(reading.is_finished());
}
