//! Leases: never left behind, kept as long as a load takes, and none to a process that would overwrite a newer schema.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use stanchion::prelude::*;
use stanchion_memory::MemoryBackend;
use tokio::sync::oneshot;

use support::{Flaky, manual, settle};

fn plain(backend: &MemoryBackend) -> Cache<u32> {
    backend.stores().cache("n").build().unwrap()
}

async fn loaded(cache: &Cache<u32>, value: u32) -> u32 {
    *cache.get_or_load(1, move || async move { Ok::<_, Infallible>(value) }).await.unwrap()
}

/// Time stands still: whoever finds the lease taken would wait for ever.
async fn at_once(cache: &Cache<u32>) {
    let cache = cache.clone();
    let load = tokio::spawn(async move { loaded(&cache, 7).await });
    settle().await;
    assert!(load.is_finished(), "the lease was left behind");
    assert_eq!(load.await.unwrap(), 7);
}

#[tokio::test]
async fn a_lease_that_was_granted_unheard_is_given_back() {
    for batch in [false, true] {
        let (backend, clock) = manual();
        let flaky = Flaky::over(&backend.stores());
        let (here, there) = (flaky.cache(&clock).build().unwrap(), plain(&backend.handle()));
        flaky.mute.store(true, Ordering::SeqCst);
        let asking = tokio::spawn(async move {
            if batch {
                let load = |_: Vec<u32>| async { Ok::<Vec<(u32, u32)>, Infallible>(vec![(1, 1)]) };
                here.get_or_load_many(&[1], load).await.unwrap();
            } else {
                loaded(&here, 1).await;
            }
        });
        settle().await;
        assert!(!asking.is_finished());
        asking.abort();
        settle().await;
        at_once(&there).await;
    }
}

#[tokio::test]
async fn a_lease_whose_grant_came_too_late_is_given_back() {
    let (backend, clock) = manual();
    let flaky = Flaky::over(&backend.stores());
    let (here, there) = (flaky.cache(&clock).build().unwrap(), plain(&backend.handle()));
    flaky.mute.store(true, Ordering::SeqCst);
    let asking = tokio::spawn(async move { loaded(&here, 1).await });
    settle().await;
    clock.advance(Duration::from_millis(100));
    assert_eq!(asking.await.unwrap(), 1, "the loader serves");
    settle().await;
    at_once(&there).await;
}

#[tokio::test]
async fn a_fill_that_is_not_answered_keeps_nobody_waiting() {
    let (backend, clock) = manual();
    let flaky = Flaky::over(&backend.stores());
    let here = flaky.cache(&clock).build().unwrap();
    let (word, value) = oneshot::channel();
    let load = {
        let here = here.clone();
        tokio::spawn(async move {
            here.get_or_load(1, || async move { Ok::<u32, Infallible>(value.await.unwrap()) }).await
        })
    };
    settle().await;
    flaky.mute.store(true, Ordering::SeqCst);
    word.send(1).unwrap();
    settle().await;
    clock.advance(Duration::from_millis(100));
    settle().await;
    assert!(load.is_finished(), "the store's deadline is over");
    assert_eq!(*load.await.unwrap().unwrap(), 1);
}

#[tokio::test]
async fn a_long_batch_keeps_its_leases() {
    let (backend, clock) = manual();
    let (here, there) = (plain(&backend), plain(&backend.handle()));
    let (word, value) = oneshot::channel();
    let value = value.shared();
    let load = tokio::spawn(async move {
        let load = |ids: Vec<u32>| async move {
            let value = value.await.unwrap();
            Ok::<_, Infallible>(ids.into_iter().map(|id| (id, value)).collect())
        };
        here.get_or_load_many(&[1, 2, 3], load).await.unwrap();
    });
    settle().await;
    for _ in 0..20 {
        clock.advance(seconds(1));
        settle().await;
    }
    // One of them is written meanwhile.
    there.set(2, &100).await.unwrap();
    for _ in 0..20 {
        clock.advance(seconds(1));
        settle().await;
    }
    word.send(5).unwrap();
    load.await.unwrap();
    let found = there.get_many(&[1, 2, 3]).await.unwrap();
    assert_eq!(
        found.iter().map(|value| value.as_deref().copied()).collect::<Vec<_>>(),
        [Some(5), Some(100), Some(5)]
    );
}

/// Two versions of a service on one store.
fn versions(backend: &MemoryBackend) -> (Cache<u32>, Cache<u32>) {
    let of = |schema| backend.handle().stores().cache("n").schema(schema, &[]).build().unwrap();
    (of(2), of(3))
}

#[tokio::test]
async fn an_older_process_that_waited_for_a_newer_one_overwrites_nothing() {
    let (backend, _) = manual();
    let (old, new) = versions(&backend);
    let (word, value) = oneshot::channel();
    let newer = {
        let new = new.clone();
        tokio::spawn(async move {
            new.get_or_load(1, || async move { Ok::<u32, Infallible>(value.await.unwrap()) }).await
        })
    };
    settle().await;
    let older = {
        let old = old.clone();
        tokio::spawn(async move { loaded(&old, 2).await })
    };
    settle().await;
    assert!(!older.is_finished(), "it waits");
    word.send(3).unwrap();
    assert_eq!(*newer.await.unwrap().unwrap(), 3);
    assert_eq!(older.await.unwrap(), 2, "for itself");
    assert_eq!(new.get(1).await.unwrap().as_deref(), Some(&3));
}

#[tokio::test]
async fn an_older_process_neither_refreshes_nor_adds_over_a_newer_value() {
    let (backend, _) = manual();
    let (old, new) = versions(&backend);
    new.set(1, &3).await.unwrap();
    assert_eq!(*old.refresh(1, || async { Ok::<_, Infallible>(2) }).await.unwrap(), 2);
    assert_eq!(new.get(1).await.unwrap().as_deref(), Some(&3));
    assert_eq!(old.set_if_absent(1, &2).await.unwrap(), SetOutcome::NotStored);
    assert_eq!(old.set_if_present(1, &2).await.unwrap(), SetOutcome::NotStored);
    let load =
        |ids: Vec<u32>| async move { Ok::<_, Infallible>(ids.into_iter().map(|id| (id, 2)).collect()) };
    assert_eq!(old.get_or_load_many(&[1], load).await.unwrap()[0].as_deref(), Some(&2));
    assert_eq!(new.get(1).await.unwrap().as_deref(), Some(&3));
    // The lease that it had for the refresh is given back.
    settle().await;
    assert_eq!(*new.refresh(1, || async { Ok::<_, Infallible>(4) }).await.unwrap(), 4);
    assert_eq!(new.get(1).await.unwrap().as_deref(), Some(&4));
}

#[tokio::test]
async fn who_asks_after_a_tag_was_dropped_is_not_served_what_was_loaded_before() {
    let (backend, clock) = manual();
    let cache = plain(&backend);
    let tag = Tag::new("t").unwrap();
    cache.put(2, Loaded::new(0).tag(tag.clone())).await.unwrap();
    clock.advance(seconds(1));
    let (word, value) = oneshot::channel();
    let before = {
        let (cache, tag) = (cache.clone(), tag.clone());
        tokio::spawn(async move {
            let load = || async move { Ok::<_, Infallible>(Loaded::new(value.await.unwrap()).tag(tag)) };
            cache.get_or_load(1, load).await
        })
    };
    settle().await;
    cache.invalidate_tag(&tag).await.unwrap();
    let after = {
        let cache = cache.clone();
        tokio::spawn(async move { loaded(&cache, 2).await })
    };
    settle().await;
    word.send(1).unwrap();
    assert_eq!(*before.await.unwrap().unwrap(), 1, "who asked before");
    settle().await;
    clock.advance(seconds(1));
    assert_eq!(after.await.unwrap(), 2);
}
