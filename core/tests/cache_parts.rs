//! Stores that lack optional parts: what a service then can't have is refused when it is asked for, and the rest works.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::convert::Infallible;

use stanchion::ErrorKind;
use stanchion::cache::CacheParts;
use stanchion::event::standard::CacheInvalidated;
use stanchion::prelude::*;
use stanchion::stores::Stores;
use stanchion_memory::{MemoryBackend, MemoryConfig, MokaNear};

use support::settle;

fn with(parts: CacheParts) -> Stores {
    MemoryBackend::with(MemoryConfig::new().cache_parts(parts)).stores()
}

#[track_caller]
fn unsupported<T: std::fmt::Debug>(outcome: stanchion::Result<T>, part: &str) {
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains(part), "{error} names no {part}");
}

/// What every store has.
async fn values_work(stores: &Stores) {
    let cache = stores.cache::<u32>("n").build().unwrap();
    cache.set(1, &1).await.unwrap();
    cache.set_many(&[(2, 2), (3, 3)]).await.unwrap();
    let loaded = cache.get_or_load(4, || async { Ok::<_, Infallible>(4) }).await.unwrap();
    assert_eq!(*loaded, 4);
    let load =
        |ids: Vec<u32>| async move { Ok::<_, Infallible>(ids.into_iter().map(|id| (id, id)).collect()) };
    let loaded = cache.get_or_load_many(&[3, 4, 5], load).await.unwrap();
    assert_eq!(loaded.into_iter().map(|value| *value.unwrap()).collect::<Vec<_>>(), [3, 4, 5]);
    let found = cache.get_many(&[1, 2, 3, 4, 5]).await.unwrap();
    assert_eq!(found.into_iter().map(|value| *value.unwrap()).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(cache.set_if_absent(1, &7).await.unwrap(), SetOutcome::NotStored);
    assert_eq!(cache.set_if_present(1, &7).await.unwrap(), SetOutcome::Stored);
    assert_eq!(cache.replace(1, &7, &8).await.unwrap(), SetOutcome::Stored);
    assert!(cache.touch(1).await.unwrap());
    assert_eq!(*cache.refresh(1, || async { Ok::<_, Infallible>(9) }).await.unwrap(), 9);
    assert_eq!(cache.get(1).await.unwrap().as_deref(), Some(&9));
    assert_eq!(cache.remove_many(&[1, 2]).await.unwrap(), 2);
    let stats = cache.stats();
    assert_eq!((stats.fenced, stats.unstorable, stats.store_failures), (0, 0, 0));
}

#[tokio::test]
async fn values_work_whatever_is_lacking() {
    for mask in 0..16_u8 {
        let has = |bit: u8| mask & (1 << bit) != 0;
        let parts = CacheParts::none().leases(has(0)).tags(has(1)).feed(has(2)).counters(has(3));
        let stores = with(parts);
        assert_eq!(CacheParts::of(&*stores.cache_store().unwrap()), parts);
        values_work(&stores).await;
    }
}

#[tokio::test]
async fn without_tags_there_are_no_tags_and_nothing_is_cleared() {
    let stores = with(CacheParts::all().tags(false));
    let tag = Tag::new("t").unwrap();
    unsupported(stores.cache::<u32>("n").tags(|_| Vec::new()).build().map(drop), "tags");
    let cache = stores.cache::<u32>("n").build().unwrap();
    unsupported(cache.clear().await, "tags");
    unsupported(cache.invalidate_tag(&tag).await, "tags");
    let topic = stores.topic::<CacheInvalidated>().unwrap();
    unsupported(cache.invalidate_tag_on(&topic, |_| None).await, "tags");
    unsupported(cache.put(1, Loaded::new(1).tag(tag.clone())).await, "tags");
    assert!(cache.get(1).await.unwrap().is_none());
    // A loader that gives a tag is served, and what it loads is not stored.
    let load = {
        let tag = tag.clone();
        || async move { Ok::<_, Infallible>(Loaded::new(2).tag(tag)) }
    };
    assert_eq!(*cache.get_or_load(2, load).await.unwrap(), 2);
    let load = |ids: Vec<u32>| async move {
        Ok::<_, Infallible>(ids.into_iter().map(|id| (id, Loaded::new(id).tag(tag.clone()))).collect())
    };
    assert_eq!(cache.get_or_load_many(&[3], load).await.unwrap()[0].as_deref(), Some(&3));
    assert_eq!(cache.get_many(&[2, 3]).await.unwrap(), [None, None]);
    assert_eq!(cache.stats().unstorable, 2);
}

#[tokio::test]
async fn without_a_feed_there_is_no_near_cache() {
    let stores = with(CacheParts::all().feed(false));
    unsupported(stores.cache::<u32>("n").near(MokaNear::entries(10)).build().map(drop), "feed");
    // Tags are read each time, from the store.
    let cache = stores.cache::<u32>("n").tags(|_| vec![Tag::new("t").unwrap()]).build().unwrap();
    cache.set(1, &1).await.unwrap();
    assert_eq!(cache.get(1).await.unwrap().as_deref(), Some(&1));
    cache.invalidate_tag(&Tag::new("t").unwrap()).await.unwrap();
    assert!(cache.get(1).await.unwrap().is_none());
}

#[tokio::test]
async fn without_counters_there_are_none() {
    let stores = with(CacheParts::all().counters(false));
    unsupported(stores.counters("hits").build().map(drop), "counters");
}

#[tokio::test]
async fn an_event_that_names_a_value_drops_it_without_tags() {
    let stores = with(CacheParts::none());
    let cache = stores.cache::<u32>("n").build().unwrap();
    cache.set(1, &1).await.unwrap();
    let topic = stores.topic::<CacheInvalidated>().unwrap();
    cache.invalidate_on(&topic, |event: &CacheInvalidated| event.keys.first().cloned()).await.unwrap();
    let event = CacheInvalidated { cache: "n".into(), keys: vec!["1".into()], tags: Vec::new() };
    topic.publish(&event).await.unwrap();
    settle().await;
    assert!(cache.get(1).await.unwrap().is_none());
}
