//! What a cache publishes when values are dropped.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use stanchion::cache::CacheBuilder;
use stanchion::event::Events;
use stanchion::event::standard::CacheInvalidated;
use stanchion::prelude::*;
use stanchion::stores::Environment;

use support::manual;

/// The cache, the keys and the tags of the next event.
async fn next(events: &mut Events<CacheInvalidated>) -> (String, Vec<String>, Vec<String>) {
    match events.next().await {
        Some(Delivery::Event { data, envelope }) => {
            assert_eq!(envelope.subject.as_deref(), Some(data.cache.as_str()));
            (data.cache, data.keys, data.tags)
        }
        other => panic!("{other:?}"),
    }
}

fn event(keys: &[&str], tags: &[&str]) -> (String, Vec<String>, Vec<String>) {
    let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
    ("user".into(), owned(keys), owned(tags))
}

/// Drops something in each way.
async fn drop_all(cache: &Cache<u32>) {
    cache.set("a", &1).await.unwrap();
    cache.set("b:{}", &2).await.unwrap();
    cache.remove("a").await.unwrap();
    cache.invalidate("b:{}").await.unwrap();
    cache.remove_many(&["b", "c"]).await.unwrap();
    cache.invalidate_tag(&Tag::new("team:red").unwrap()).await.unwrap();
    cache.clear().await.unwrap();
}

#[tokio::test]
async fn each_removal_and_each_drop_of_a_tag_is_one_event() {
    let (backend, _) = manual();
    let stores = backend.stores();
    let mut events = backend.handle().stores().topic().subscribe().await.unwrap();
    let cache = stores.cache("user").publishing().build().unwrap();
    drop_all(&cache).await;
    assert_eq!(next(&mut events).await, event(&["cache:user:a"], &[]));
    assert_eq!(next(&mut events).await, event(&[cache.key("b:{}").unwrap().as_str()], &[]));
    assert_eq!(next(&mut events).await, event(&["cache:user:b", "cache:user:c"], &[]));
    assert_eq!(next(&mut events).await, event(&[], &["tags:tag:team%3Ared"]));
    assert_eq!(next(&mut events).await, event(&[], &["tags:namespace:cache%3Auser"]));
    // Nothing to be removed is no event, and neither is what is no removal.
    cache.remove_many::<&str>(&[]).await.unwrap();
    cache.set("a", &1).await.unwrap();
    cache.touch("a").await.unwrap();
    assert_eq!(cache.get("a").await.unwrap().as_deref(), Some(&1));
    cache.remove("last").await.unwrap();
    assert_eq!(next(&mut events).await, event(&["cache:user:last"], &[]));
}

#[tokio::test]
async fn nothing_is_published_unless_that_is_asked_for() {
    let (backend, _) = manual();
    let stores = backend.stores();
    let topic = stores.topic();
    let mut events = topic.subscribe().await.unwrap();
    drop_all(&stores.cache("user").build().unwrap()).await;
    // What would have been published before comes before.
    let sign = CacheInvalidated { cache: "user".into(), keys: vec!["sign".into()], tags: vec![] };
    topic.publish(&sign).await.unwrap();
    assert_eq!(next(&mut events).await, event(&["sign"], &[]));
}

#[tokio::test]
async fn an_event_that_can_not_be_published_fails_nothing() {
    let (backend, _) = manual();
    let store = backend.stores().cache_store().unwrap();
    // Without a bundle there is no bus.
    let cache: Cache<u32> =
        CacheBuilder::new(store, Environment::system(), "user").publishing().build().unwrap();
    drop_all(&cache).await;
    assert_eq!(cache.get("a").await.unwrap(), None);
}
