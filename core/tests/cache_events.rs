//! What a cache publishes when values are dropped.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use stanchion::cache::CacheBuilder;
use stanchion::contract::Contract;
use stanchion::environment::Environment;
use stanchion::event::standard::{CacheInvalidated, UserUpdated};
use stanchion::event::{
    Envelope, EventBus, EventCapabilities, Events, FeedSender, Received, SubscribeOptions, Subscription, feed,
};
use stanchion::prelude::*;

use support::{down, manual, settle};

/// The cache, the keys and the tags of an event.
type Told = (String, Vec<String>, Vec<String>);

fn event(keys: &[&str], tags: &[&str]) -> Told {
    let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
    ("user".into(), owned(keys), owned(tags))
}

/// What is published up to an event that is made here: what was published before comes before.
async fn published(events: &mut Events<CacheInvalidated>, topic: &Topic<CacheInvalidated>) -> Vec<Told> {
    let sign = CacheInvalidated { cache: "sign".into(), keys: vec![], tags: vec![] };
    topic.publish(&sign).await.unwrap();
    let mut told = Vec::new();
    loop {
        match events.next().await {
            Some(Delivery::Event { data, envelope }) => {
                assert_eq!(envelope.subject.as_deref(), Some(data.cache.as_str()));
                if data == sign {
                    return told;
                }
                told.push((data.cache, data.keys, data.tags));
            }
            other => panic!("{other:?}"),
        }
    }
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
    let (stores, topic) = (backend.stores(), backend.handle().stores().topic().unwrap());
    let mut events = topic.subscribe().await.unwrap();
    let cache = stores.cache("user").publishing().build().unwrap();
    drop_all(&cache).await;
    let told = [
        event(&["cache:user:a"], &[]),
        event(&[cache.key("b:{}").unwrap().as_str()], &[]),
        event(&["cache:user:b", "cache:user:c"], &[]),
        event(&[], &["tags:tag:team%3Ared"]),
        event(&[], &["tags:namespace:cache%3Auser"]),
    ];
    assert_eq!(published(&mut events, &topic).await, told);
    // Nothing to be removed is no event, and neither is what is no removal.
    cache.remove_many::<&str>(&[]).await.unwrap();
    cache.set("a", &1).await.unwrap();
    cache.touch("a").await.unwrap();
    assert_eq!(cache.get("a").await.unwrap().as_deref(), Some(&1));
    assert_eq!(published(&mut events, &topic).await, []);
}

#[tokio::test]
async fn nothing_is_published_unless_that_is_asked_for() {
    let (backend, _) = manual();
    let (stores, topic) = (backend.stores(), backend.stores().topic().unwrap());
    let mut events = topic.subscribe().await.unwrap();
    drop_all(&stores.cache("user").build().unwrap()).await;
    assert_eq!(published(&mut events, &topic).await, []);
}

/// A bus that takes nothing.
#[derive(Debug)]
struct Down;

#[async_trait]
impl EventBus for Down {
    fn capabilities(&self) -> EventCapabilities {
        EventCapabilities::new(Contract::V1)
    }

    async fn publish(&self, _: &Envelope) -> stanchion::Result<()> {
        Err(down(Effect::Unknown))
    }

    async fn subscribe(&self, _: SubscribeOptions) -> stanchion::Result<Box<dyn Subscription>> {
        Err(down(Effect::NotApplied))
    }
}

#[tokio::test]
async fn an_event_that_can_not_be_published_fails_nothing() {
    let (backend, _) = manual();
    let cache: Cache<u32> =
        backend.stores().cache("user").event_bus(Arc::new(Down)).publishing().build().unwrap();
    drop_all(&cache).await;
    assert_eq!(cache.get("a").await.unwrap(), None);
}

#[tokio::test]
async fn publishing_without_events_is_refused_when_the_facade_is_built() {
    let (backend, _) = manual();
    let builder: CacheBuilder<u32> =
        CacheBuilder::new(backend.stores().cache_store().unwrap(), Environment::system(), "user");
    assert_eq!(builder.publishing().build().unwrap_err().kind(), ErrorKind::Unsupported);
    let stores = Stores::builder(Environment::system())
        .cache(backend.stores().cache_store().unwrap())
        .sessions(backend.stores().session_store().unwrap())
        .build();
    let refused = [
        stores.cache::<u32>("user").publishing().build().map(drop),
        stores.sessions().publishing().build().map(drop),
        stores.tokens().build().map(drop),
        stores.topic::<CacheInvalidated>().map(drop),
        stores.locks().map(drop),
    ];
    for answer in refused {
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Unsupported);
    }
}

/// A bus that a test takes the right to subscribe away from.
#[derive(Debug, Default)]
struct Restricted {
    denied: AtomicBool,
    subscribers: Mutex<Vec<FeedSender>>,
}

impl Restricted {
    fn denied() -> Error {
        Error::new(ErrorKind::Denied, "no right to the channel")
    }

    /// Nobody may subscribe any more, and those who have are ended.
    fn deny(&self) {
        self.denied.store(true, Ordering::SeqCst);
        for subscriber in self.subscribers.lock().unwrap().drain(..) {
            assert!(subscriber.send(Received::Ended(Self::denied())));
        }
    }

    fn allow(&self) {
        self.denied.store(false, Ordering::SeqCst);
    }
}

#[async_trait]
impl EventBus for Restricted {
    fn capabilities(&self) -> EventCapabilities {
        EventCapabilities::new(Contract::V1)
    }

    async fn publish(&self, event: &Envelope) -> stanchion::Result<()> {
        for subscriber in &*self.subscribers.lock().unwrap() {
            subscriber.send(Received::Event(Box::new(event.clone())));
        }
        Ok(())
    }

    async fn subscribe(&self, options: SubscribeOptions) -> stanchion::Result<Box<dyn Subscription>> {
        if self.denied.load(Ordering::SeqCst) {
            return Err(Self::denied());
        }
        let (sender, subscription) = feed(options.buffer, || {});
        self.subscribers.lock().unwrap().push(sender);
        Ok(Box::new(subscription))
    }
}

#[tokio::test]
async fn a_cache_whose_subscription_ends_is_cleared_and_follows_again_once_it_may() {
    let (backend, clock) = manual();
    let (stores, bus) = (backend.stores(), Arc::new(Restricted::default()));
    let topic: Topic<UserUpdated> =
        Topic::new(Arc::clone(&bus) as _, stores.environment().clone(), "service").unwrap();
    let cache = stores.cache("user").build().unwrap();
    cache.invalidate_on(&topic, |event| Some(event.user_id.clone())).await.unwrap();
    let mut events = topic.subscribe().await.unwrap();
    cache.set("before", &1).await.unwrap();
    bus.deny();
    assert!(matches!(events.next().await, Some(Delivery::Ended(why)) if why.kind() == ErrorKind::Denied));
    assert!(events.next().await.is_none());
    settle().await;
    assert_eq!(cache.get("before").await.unwrap(), None, "nobody says what changes from now on");
    cache.set("meanwhile", &2).await.unwrap();
    for _ in 0..20 {
        clock.advance(seconds(10));
        settle().await;
    }
    assert_eq!(cache.get("meanwhile").await.unwrap().as_deref(), Some(&2));
    bus.allow();
    clock.advance(seconds(20));
    settle().await;
    assert_eq!(cache.get("meanwhile").await.unwrap(), None, "nobody said what changed until now");
    cache.set("after", &3).await.unwrap();
    cache.set("other", &4).await.unwrap();
    topic.publish(&UserUpdated { user_id: "after".into(), changed: vec![] }).await.unwrap();
    settle().await;
    assert_eq!(cache.get("after").await.unwrap(), None);
    assert_eq!(cache.get("other").await.unwrap().as_deref(), Some(&4));
}
