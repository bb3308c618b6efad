//! Loads, writes, news and drops in awkward orders, between two processes.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use futures_util::FutureExt;
use stanchion::cache::Eager;
use stanchion::clock::Clock;
use stanchion::prelude::*;
use stanchion_memory::{MemoryBackend, MokaNear};
use tokio::sync::oneshot;

use support::between::Between;
use support::{Flaky, manual, settle};

fn plain(backend: &MemoryBackend) -> Cache<u32> {
    backend.stores().cache("n").build().unwrap()
}

async fn loaded(cache: &Cache<u32>, value: u32) -> u32 {
    *cache.get_or_load(1, move || async move { Ok::<_, Infallible>(value) }).await.unwrap()
}

type Loading = tokio::task::JoinHandle<Result<Arc<u32>, LoadError<Infallible>>>;

/// A load that ends when it is given its value, and says when it has begun.
fn slow(cache: &Cache<u32>) -> (Loading, oneshot::Sender<u32>, oneshot::Receiver<()>) {
    let (word, value) = oneshot::channel();
    let (began, begun) = oneshot::channel();
    let cache = cache.clone();
    let task = tokio::spawn(async move {
        cache
            .get_or_load(1, move || async move {
                let _ = began.send(());
                Ok::<_, Infallible>(value.await.unwrap())
            })
            .await
    });
    (task, word, begun)
}

fn instant(cache: &Cache<u32>, value: u32) -> Loading {
    let cache = cache.clone();
    tokio::spawn(async move { cache.get_or_load(1, move || async move { Ok::<_, Infallible>(value) }).await })
}

/// Another process loads without waiting.
async fn at_once(cache: &Cache<u32>) {
    let load = instant(cache, 7);
    settle().await;
    assert!(load.is_finished(), "a lease keeps another process waiting");
}

#[tokio::test]
async fn who_asks_after_a_removal_elsewhere_is_not_served_what_was_loaded_before() {
    let (backend, _) = manual();
    let (here, there) = (plain(&backend), plain(&backend.handle()));
    let (before, row, begun) = slow(&here);
    begun.await.unwrap();
    there.remove(1).await.unwrap(); // the row is 2 now, and that has been answered
    let after = instant(&here, 2);
    settle().await;
    row.send(1).unwrap();
    assert_eq!(*before.await.unwrap().unwrap(), 1);
    assert_eq!(*after.await.unwrap().unwrap(), 2, "asked after the removal");
}

#[tokio::test]
async fn what_is_not_stored_is_no_older_than_the_question_either() {
    for is_found in [false, true] {
        let (backend, _) = manual();
        let (here, there) = (plain(&backend), plain(&backend.handle()));
        let (row, before) = oneshot::channel::<()>();
        let (began, begun) = oneshot::channel();
        let cache = here.clone();
        let first = tokio::spawn(async move {
            let find = move || async move {
                let _ = began.send(());
                before.await.unwrap();
                Ok::<_, Infallible>(is_found.then(|| Loaded::new(1).not_stored()))
            };
            cache.get_or_find(1, find).await.unwrap()
        });
        begun.await.unwrap();
        // The row is written, and that has been answered.
        there.remove(1).await.unwrap();
        let cache = here.clone();
        let after = tokio::spawn(async move {
            cache.get_or_find(1, || async { Ok::<_, Infallible>(Some(2)) }).await.unwrap()
        });
        settle().await;
        row.send(()).unwrap();
        assert_eq!(first.await.unwrap().as_deref(), is_found.then_some(&1));
        assert_eq!(after.await.unwrap().as_deref(), Some(&2), "asked after the row was written");
    }
}

/// What the leader of a flight reads is older than the question of whoever joined while it was read.
#[tokio::test]
async fn who_asks_after_a_removal_is_not_served_what_was_read_before() {
    let (backend, clock) = manual();
    let between = Between::over(&backend, None);
    let here = between.cache(&clock).build().unwrap();
    let there = plain(&backend.handle());
    // Another process fills the value after the first caller's look, and its request for a lease is answered slowly.
    let (answered, read) = oneshot::channel();
    let (word, go) = oneshot::channel::<()>();
    let filler = there.clone();
    *between.before_fetch.lock().unwrap() = Some(Box::pin(async move { filler.set(1, &1).await.unwrap() }));
    *between.after_fetch.lock().unwrap() = Some(Box::pin(async move {
        let _ = answered.send(());
        go.await.unwrap();
    }));
    let first = instant(&here, 3);
    read.await.unwrap();
    there.remove(1).await.unwrap();
    let after = instant(&here, 2);
    settle().await;
    word.send(()).unwrap();
    assert_eq!(*first.await.unwrap().unwrap(), 1);
    assert_eq!(*after.await.unwrap().unwrap(), 2, "asked after the removal");
}

/// A key that is written all the time costs its waiters a second load, and not one each.
#[tokio::test]
async fn who_asked_before_a_load_began_is_served_by_it_though_it_was_overtaken() {
    let (backend, _) = manual();
    let (here, there) = (plain(&backend), plain(&backend.handle()));
    let (first, row, begun) = slow(&here);
    begun.await.unwrap();
    there.remove(1).await.unwrap();
    // These asked after the removal, while the first load was running; the second is overtaken as well.
    let writer = there.clone();
    let loads = Arc::new(AtomicUsize::new(0));
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let (cache, writer, loads) = (here.clone(), writer.clone(), Arc::clone(&loads));
            tokio::spawn(async move {
                let load = move || async move {
                    loads.fetch_add(1, SeqCst);
                    writer.remove(1).await.unwrap();
                    Ok::<_, Infallible>(2)
                };
                *cache.get_or_load(1, load).await.unwrap()
            })
        })
        .collect();
    settle().await;
    row.send(1).unwrap();
    assert_eq!(*first.await.unwrap().unwrap(), 1);
    for waiter in waiting {
        assert_eq!(waiter.await.unwrap(), 2);
    }
    assert_eq!(loads.load(SeqCst), 1);
}

#[tokio::test]
async fn who_asks_after_a_tag_was_dropped_elsewhere_is_not_served_what_was_loaded_before() {
    let (backend, _) = manual();
    let tag = Tag::new("t").unwrap();
    let build = |stores: Stores| {
        let tag = tag.clone();
        stores.cache::<u32>("n").near(MokaNear::entries(10)).tags(move |_| vec![tag.clone()]).build().unwrap()
    };
    let (here, there) = (build(backend.stores()), build(backend.handle().stores()));
    let (before, row, begun) = slow(&here);
    begun.await.unwrap();
    there.invalidate_tag(&tag).await.unwrap();
    let after = instant(&here, 2);
    settle().await;
    row.send(1).unwrap();
    assert_eq!(*before.await.unwrap().unwrap(), 1);
    assert_eq!(*after.await.unwrap().unwrap(), 2, "asked after the drop was told here");
}

#[tokio::test]
async fn a_near_copy_does_not_outlive_a_clear_whichever_watcher_is_told_first() {
    let (backend, clock) = manual();
    let between = Between::over(&backend, None);
    let here = between.cache(&clock).near(MokaNear::entries(10)).build().unwrap();
    let there = plain(&backend.handle());
    there.set(1, &1).await.unwrap();
    assert!(here.get(1).await.unwrap().is_some() && here.peek(1).is_some());
    clock.advance(seconds(1));
    let mirror = between.gate("tags:namespace", 0);
    mirror.held.store(true, SeqCst);
    there.clear().await.unwrap(); // tells the near cache, and then
    here.get(1).await.unwrap(); // a read, and then
    mirror.release(); // tells the mirror
    assert_eq!(there.get(1).await.unwrap(), None);
    clock.advance(minutes(5));
    assert_eq!(here.get(1).await.unwrap(), None, "cleared five minutes ago");
}

#[tokio::test]
async fn own_refresh_is_read_by_whoever_refreshed() {
    let (backend, clock) = manual();
    let between = Between::over(&backend, None);
    let here = between.cache(&clock).near(MokaNear::entries(10)).build().unwrap();
    here.set(1, &1).await.unwrap();
    assert!(here.get(1).await.unwrap().is_some() && here.peek(1).is_some());
    let feed = between.gate("cache:n", 0);
    feed.held.store(true, SeqCst); // the news is on its way
    assert_eq!(*here.refresh(1, || async { Ok::<_, Infallible>(2) }).await.unwrap(), 2);
    assert_eq!(here.get(1).await.unwrap().as_deref(), Some(&2), "older than what refresh just answered");
}

#[tokio::test]
async fn the_mirror_is_up_only_with_both_its_watches() {
    let (backend, clock) = manual();
    let between = Between::over(&backend, Some("tags:namespace"));
    let here = between.cache(&clock).build().unwrap();
    let there = plain(&backend.handle());
    there.set(1, &1).await.unwrap();
    assert!(here.get(1).await.unwrap().is_some());
    clock.advance(seconds(1));
    there.clear().await.unwrap();
    assert_eq!(here.get(1).await.unwrap(), None);
}

#[tokio::test]
async fn a_batch_leaves_a_newer_schema_alone_that_came_after_its_look() {
    let (backend, clock) = manual();
    let of = |schema| backend.handle().stores().cache::<u32>("n").schema(schema, &[]).build().unwrap();
    let (oldest, new) = (of(1), of(3));
    oldest.set(1, &1).await.unwrap(); // something to be overwritten
    let between = Between::over(&backend, None);
    let old = between.cache(&clock).schema(2, &[]).build().unwrap();
    let newer = new.clone();
    *between.before_fetch.lock().unwrap() = Some(Box::pin(async move {
        // The newer one fills it, between this batch's look and its lease.
        loaded(&newer, 3).await;
    }));
    let load =
        |ids: Vec<u32>| async move { Ok::<_, Infallible>(ids.into_iter().map(|id| (id, 2)).collect()) };
    assert_eq!(old.get_or_load_many(&[1], load).await.unwrap()[0].as_deref(), Some(&2));
    assert_eq!(new.get(1).await.unwrap().as_deref(), Some(&3), "overwritten by an older schema");
}

#[tokio::test]
async fn a_batch_with_two_names_of_one_key_gives_its_lease_back() {
    let (backend, _) = manual();
    let (here, there) = (plain(&backend), plain(&backend.handle()));
    let ids: [IpAddr; 2] = ["203.0.113.7".parse().unwrap(), "::ffff:203.0.113.7".parse().unwrap()];
    let load = |_: Vec<IpAddr>| async { Err::<Vec<(IpAddr, u32)>, _>("down") };
    assert!(here.get_or_load_many(&ids, load).await.is_err());
    settle().await;
    let load =
        tokio::spawn(async move { there.get_or_load(ids[0], || async { Ok::<_, Infallible>(7) }).await });
    settle().await;
    assert!(load.is_finished(), "the lease was left behind");
}

#[tokio::test]
async fn a_batch_that_will_store_nothing_holds_no_leases_while_it_loads() {
    let (backend, clock) = manual();
    let between = Between::over(&backend, None);
    let here = between.cache(&clock).build().unwrap();
    let there = plain(&backend.handle());
    between.no_generations.store(true, SeqCst);
    let (word, value) = oneshot::channel::<u32>();
    let value = value.shared();
    let batch = tokio::spawn(async move {
        let load =
            |_: Vec<u32>| async move { Ok::<Vec<(u32, u32)>, Infallible>(vec![(1, value.await.unwrap())]) };
        here.get_or_load_many(&[1], load).await.unwrap();
    });
    settle().await;
    let other = instant(&there, 7);
    settle().await;
    for _ in 0..600 {
        clock.advance(Duration::from_millis(100));
        settle().await;
    }
    assert!(other.is_finished(), "waits a minute and more for a load that will not be stored");
    word.send(1).unwrap();
    batch.await.unwrap();
}

#[tokio::test]
async fn a_background_load_that_cannot_be_stored_is_not_made_again_and_again() {
    let (backend, clock) = manual();
    let flaky = Flaky::over(&backend.stores());
    let cache = flaky.cache(&clock).near(MokaNear::entries(10)).eager(Eager::After(0.5)).build().unwrap();
    cache.set(1, &1).await.unwrap();
    assert!(cache.get(1).await.unwrap().is_some());
    clock.advance(minutes(6));
    flaky.down.store(true, SeqCst); // commands fail; the feed is up
    for _ in 0..20 {
        assert_eq!(loaded(&cache, 2).await, 1);
        settle().await;
    }
    assert!(cache.stats().loads <= 1, "{} loads for nobody", cache.stats().loads);
}

#[tokio::test]
async fn who_waited_for_a_random_reload_elsewhere_does_not_load_again() {
    let (backend, clock) = manual();
    let build = || {
        let builder = backend.handle().stores().cache::<u32>("n");
        builder.ttl(minutes(10)).eager(Eager::AtRandom(1e9)).build().unwrap()
    };
    let caches: Vec<_> = (0..8).map(|_| build()).collect();
    let loads = Arc::new(AtomicUsize::new(0));
    let ask = |cache: &Cache<u32>| {
        let (cache, clock, loads) = (cache.clone(), clock.clone(), loads.clone());
        tokio::spawn(async move {
            let load = move || async move {
                loads.fetch_add(1, SeqCst);
                clock.sleep_until(clock.now().saturating_add(seconds(1))).await;
                Ok::<_, Infallible>(1)
            };
            cache.get_or_load(1, load).await.unwrap();
        })
    };
    ask(&caches[0]);
    settle().await;
    clock.advance(seconds(1));
    settle().await;
    assert_eq!(loads.load(SeqCst), 1);
    for cache in &caches {
        ask(cache).await.unwrap();
    }
    for _ in 0..300 {
        clock.advance(Duration::from_millis(100));
        settle().await;
    }
    assert_eq!(loads.load(SeqCst), 2, "eight processes, one reload");
}

#[tokio::test]
async fn a_load_that_is_dropped_while_the_stores_close_gives_its_lease_back() {
    let (backend, _) = manual();
    let stores = backend.handle().stores();
    let here: Cache<u32> = stores.cache("n").build().unwrap();
    let there = plain(&backend);
    let (load, _row, begun) = slow(&here);
    begun.await.unwrap();
    let closing = tokio::spawn(async move { stores.close(seconds(60)).await });
    settle().await; // it drains; the store still answers
    load.abort();
    settle().await;
    at_once(&there).await;
    closing.abort();
}
