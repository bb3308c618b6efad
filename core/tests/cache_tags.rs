//! Tags, schema numbers, plain values, and events that drop values.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::convert::Infallible;

use serde::{Deserialize, Serialize};
use stanchion::cache::SetOptions;
use stanchion::event::standard::{CacheInvalidated, CacheWarmed, UserUpdated};
use stanchion::prelude::*;
use stanchion::time::Ttl;
use stanchion_memory::MokaNear;

use support::{manual, settle};

fn user(id: &str) -> Tag {
    Tag::new(format!("user:{id}")).unwrap()
}

#[tokio::test]
async fn a_member_drops_every_list_that_shows_it() {
    let (backend, _) = manual();
    let stores = backend.stores();
    let users: Cache<String> =
        stores.cache("user").near(MokaNear::entries(10)).tags(|id| vec![user(id)]).build().unwrap();
    let lists: Cache<Vec<String>> = stores.cache("list").near(MokaNear::entries(10)).build().unwrap();
    let there =
        backend.handle().stores().cache::<Vec<String>>("list").near(MokaNear::entries(10)).build().unwrap();
    users.set("u1", &"Ada".into()).await.unwrap();
    users.set("u2", &"Bob".into()).await.unwrap();
    let both = Loaded::new(vec!["Ada".to_owned(), "Bob".into()]).tag(user("u1")).tag(user("u2"));
    lists.put("all", both).await.unwrap();
    lists.put("second", Loaded::new(vec!["Bob".to_owned()]).tag(user("u2"))).await.unwrap();
    for id in ["all", "second"] {
        for cache in [&lists, &there] {
            assert!(cache.get(id).await.unwrap().is_some());
            assert!(cache.peek(id).is_some(), "{id} is near");
        }
    }
    assert!(users.get("u1").await.unwrap().is_some() && users.get("u2").await.unwrap().is_some());

    users.invalidate_tag(&user("u1")).await.unwrap();
    assert_eq!((lists.peek("all"), there.peek("all")), (None, None));
    assert_eq!((lists.get("all").await.unwrap(), there.get("all").await.unwrap()), (None, None));
    assert_eq!(users.get("u1").await.unwrap(), None);
    for cache in [&lists, &there] {
        assert!(cache.peek("second").is_some(), "another member's list is still near");
        assert!(cache.get("second").await.unwrap().is_some());
    }
    assert!(users.peek("u2").is_some());
}

#[tokio::test]
async fn a_dropped_value_is_as_good_as_none() {
    let (backend, _) = manual();
    let cache: Cache<u32> = backend.stores().cache("n").build().unwrap();
    cache.set(1, &1).await.unwrap();
    cache.clear().await.unwrap();
    assert_eq!(cache.set_if_present(1, &2).await.unwrap(), SetOutcome::NotStored);
    assert_eq!(cache.replace(1, &1, &2).await.unwrap(), SetOutcome::NotStored);
    assert!(!cache.touch(1).await.unwrap());
    assert_eq!(cache.set_if_absent(1, &3).await.unwrap(), SetOutcome::Stored);
    assert_eq!(cache.get_many(&[1, 2]).await.unwrap()[0].as_deref(), Some(&3));
}

#[tokio::test]
async fn a_tag_of_one_generation_never_counts_again() {
    let (backend, clock) = manual();
    let cache: Cache<u32> = backend.stores().cache("n").build().unwrap();
    // In the third round a clock that is followed back would give the generation of the second once more.
    for _ in 0..3 {
        cache.set(1, &1).await.unwrap();
        assert!(cache.get(1).await.unwrap().is_some());
        cache.clear().await.unwrap();
        // The clock goes back, as after a failover.
        clock.set_wall(stanchion::time::Timestamp::from_secs(1_000));
        assert_eq!(cache.get(1).await.unwrap(), None);
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Old {
    name: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct New {
    name: String,
    #[serde(default)]
    mail: Option<String>,
}

#[tokio::test]
async fn two_schemas_live_side_by_side() {
    let (backend, _) = manual();
    let old: Cache<Old> = backend.stores().cache("user").schema(2, &[]).build().unwrap();
    let new: Cache<New> = backend.handle().stores().cache("user").schema(3, &[2]).build().unwrap();
    old.set(1, &Old { name: "Ada".into() }).await.unwrap();
    assert_eq!(new.get(1).await.unwrap().unwrap().name, "Ada", "the newer reads what it is told to");
    let with_mail = New { name: "Ada".into(), mail: Some("ada@example.org".into()) };
    new.set(1, &with_mail).await.unwrap();
    // The older one does not know it, loads for itself, and leaves it alone.
    assert_eq!(old.get(1).await.unwrap(), None);
    let load = || async { Ok::<_, Infallible>(Old { name: "loaded".into() }) };
    assert_eq!(old.get_or_load(1, load).await.unwrap().name, "loaded");
    assert_eq!(new.get(1).await.unwrap().as_deref(), Some(&with_mail));
    assert_eq!(old.stats().newer, 2);
    // What the older one sets makes the newer value out of date: it is gone, and not overwritten.
    old.set(1, &Old { name: "Eve".into() }).await.unwrap();
    assert_eq!(new.get(1).await.unwrap(), None);
    assert_eq!(old.get(1).await.unwrap(), None);
    let stranger: Cache<Old> = backend.stores().cache("user").schema(4, &[]).build().unwrap();
    new.set(1, &with_mail).await.unwrap();
    assert_eq!(stranger.get(1).await.unwrap(), None, "a lesser schema that is not readable is a miss");
    assert_eq!(stranger.get_or_load(1, load).await.unwrap().name, "loaded");
    assert_eq!(stranger.get(1).await.unwrap().unwrap().name, "loaded");
}

#[tokio::test]
async fn plain_values_are_exactly_the_json() {
    let (backend, clock) = manual();
    let stores = backend.stores();
    let cache: Cache<Old> = stores
        .cache("user")
        .ttl(minutes(10))
        .stale_while_revalidate(minutes(5))
        .plain()
        .near(MokaNear::entries(10))
        .build()
        .unwrap();
    let ada = Old { name: "Ada".into() };
    cache.set(1, &ada).await.unwrap();
    let store = stores.cache_store().unwrap();
    let key = cache.key(1).unwrap();
    // What other programs read is the JSON; behind it stands for how long it is kept.
    let stored = store.get(&key).await.unwrap().unwrap();
    assert_eq!(serde_json::from_slice::<Old>(&stored).unwrap(), ada);
    assert_eq!(stored.trim_ascii_end(), br#"{"name":"Ada"}"#);
    let exact = stores.cache::<Old>("exact").plain().build().unwrap();
    exact.set(1, &ada).await.unwrap();
    let exact = store.get(&exact.key(1).unwrap()).await.unwrap().unwrap();
    assert_eq!(&exact[..], br#"{"name":"Ada"}"#, "nothing else, where it is served stale for no time");
    assert_eq!(cache.get(1).await.unwrap().as_deref(), Some(&ada));
    assert_eq!(cache.peek(1).as_deref(), Some(&ada));
    // Another program's value, with a life of its own.
    let life = Ttl::new(minutes(15)).unwrap();
    let set = store.set(&key, r#"{"name":"Eve"}"#.into(), &SetOptions::new(life)).await.unwrap();
    assert_eq!(set, SetOutcome::Stored);
    assert_eq!(cache.get(1).await.unwrap().unwrap().name, "Eve");
    assert_eq!(cache.replace(1, &Old { name: "Eve".into() }, &ada).await.unwrap(), SetOutcome::Stored);
    clock.advance(minutes(11));
    assert_eq!(cache.peek(1), None);
    assert_eq!(cache.get(1).await.unwrap(), None, "its life is over, by what is left in the store");
    let load = || async { Ok::<_, Infallible>(Old { name: "new".into() }) };
    assert_eq!(cache.get_or_load(1, load).await.unwrap().name, "Ada", "stale, while it is loaded anew");
    settle().await;
    assert_eq!(cache.get(1).await.unwrap().unwrap().name, "new");
    assert!(cache.touch(1).await.unwrap());
    assert_eq!(cache.get_many(&[1, 2]).await.unwrap()[0].as_ref().unwrap().name, "new");
    for refused in [cache.clear().await, cache.invalidate_tag(&user("u1")).await] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unsupported);
    }
    let tagged = Loaded::new(ada.clone()).tag(user("u1"));
    assert_eq!(cache.put(1, tagged).await.unwrap_err().kind(), ErrorKind::Unsupported);
    let both = stores.cache::<Old>("user").plain().tags(|id| vec![user(id)]).build();
    assert_eq!(both.unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn an_event_drops_what_it_names_and_a_gap_drops_all() {
    let (backend, _) = manual();
    let (stores, there) = (backend.stores(), backend.handle().stores());
    let users: Cache<u32> = stores.cache("user").near(MokaNear::entries(10)).build().unwrap();
    let lists: Cache<u32> = stores.cache("list").build().unwrap();
    let topic = there.topic::<UserUpdated>().unwrap();
    users
        .invalidate_on(&stores.topic::<UserUpdated>().unwrap(), |event| Some(event.user_id.clone()))
        .await
        .unwrap();
    lists
        .invalidate_tag_on(&stores.topic::<UserUpdated>().unwrap(), |event| Some(user(&event.user_id)))
        .await
        .unwrap();
    for id in ["u1", "u2"] {
        users.set(id, &1).await.unwrap();
        lists.put(id, Loaded::new(1).tag(user(id))).await.unwrap();
    }
    topic.publish(&UserUpdated { user_id: "u1".into(), changed: vec![] }).await.unwrap();
    settle().await;
    assert_eq!((users.get("u1").await.unwrap(), lists.get("u1").await.unwrap()), (None, None));
    assert!(users.get("u2").await.unwrap().is_some() && lists.get("u2").await.unwrap().is_some());
    // An id that can't be one is passed over; what comes after it is not.
    topic.publish(&UserUpdated { user_id: String::new(), changed: vec![] }).await.unwrap();
    // More than the buffer holds, before the cache has had a chance to read.
    for _ in 0..2_000 {
        topic.publish(&UserUpdated { user_id: "u9".into(), changed: vec![] }).await.unwrap();
    }
    for _ in 0..100 {
        settle().await;
    }
    assert_eq!(users.get("u2").await.unwrap(), None, "nobody knows what was missed");
}

#[tokio::test]
async fn removals_and_warmings_are_published_where_that_is_asked_for() {
    let (backend, _) = manual();
    let stores = backend.stores();
    let mut invalidated = stores.topic::<CacheInvalidated>().unwrap().subscribe().await.unwrap();
    let mut warmed = stores.topic::<CacheWarmed>().unwrap().subscribe().await.unwrap();
    let cache: Cache<u32> = stores.cache("n").publishing().build().unwrap();
    cache.set(1, &1).await.unwrap();
    cache.remove_many(&[1, 2]).await.unwrap();
    let load =
        |ids: Vec<u32>| async move { Ok::<_, Infallible>(ids.into_iter().map(|id| (id, id)).collect()) };
    cache.warm([5, 6], stanchion::cache::WarmOptions::new(), load, |_| ()).await.unwrap();
    match invalidated.next().await {
        Some(Delivery::Event { data, .. }) => assert_eq!(data.keys, ["cache:n:1", "cache:n:2"]),
        other => panic!("{other:?}"),
    }
    match warmed.next().await {
        Some(Delivery::Event { data, .. }) => assert_eq!((data.cache.as_str(), data.filled), ("n", 2)),
        other => panic!("{other:?}"),
    }
}
