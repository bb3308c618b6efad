//! What the cases share.

use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stanchion::cache::AllParts as _;
use stanchion::cache::{Shard, Watcher};
use stanchion::environment::Health;
use stanchion::event::Events;
use stanchion::event::standard::UserUpdated;
use stanchion::key::Namespace;
use stanchion::prelude::*;
use stanchion::{Effect, Error};
use stanchion_conformance::servers::until;
use stanchion_redis::{RedisBackend, RedisConfig};

/// How long a case waits for what must come: for machines with much else to do.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// With deadlines that no healthy call comes near.
pub(crate) fn with_long_deadlines(config: RedisConfig) -> RedisConfig {
    config.deadline(Duration::from_secs(10)).cache_deadline(Duration::from_secs(10))
}

pub(crate) fn standalone(url: &str) -> RedisConfig {
    with_long_deadlines(RedisConfig::standalone(url).unwrap())
}

/// The URL with a password in it.
pub(crate) fn with_password(url: &str, password: &str) -> String {
    url.replace("://", &format!("://:{password}@"))
}

/// Keeps what it is notified of.
#[derive(Debug, Default)]
struct Recorder {
    keys: Mutex<Vec<String>>,
    restored: AtomicUsize,
}

impl Watcher for Recorder {
    fn changed(&self, key: &str) {
        self.keys.lock().unwrap().push(key.to_owned());
    }
    fn lost(&self, _: Shard) {}
    fn restored(&self, _: Shard) {
        self.restored.fetch_add(1, Ordering::SeqCst);
    }
}

async fn soon(what: &str, holds: impl Fn() -> bool) {
    until(what, TIMEOUT, || std::future::ready(if holds() { Ok(()) } else { Err("not yet") })).await.unwrap();
}

/// Uses a connection of each kind: for commands, events and changes. `break_them` breaks them all, and they come back.
pub(crate) async fn all_serve<F: Future<Output = ()>>(config: RedisConfig, break_them: impl FnOnce() -> F) {
    let stores = RedisBackend::connect(config).await.unwrap().stores();
    let recorder = Arc::new(Recorder::default());
    let namespace = Namespace::new("cache", "n").unwrap();
    let _watch = stores.cache_store().unwrap().watch(&namespace, recorder.clone()).unwrap();
    let cache: Cache<u32> = stores.cache("n").build().unwrap();
    let topic = stores.topic::<UserUpdated>().unwrap();
    let mut events = topic.subscribe().await.unwrap();
    serve(&cache, &topic, &mut events, &recorder, 1).await;

    let restored = recorder.restored.load(Ordering::SeqCst);
    break_them().await;
    let mut health = stores.health();
    let up = async {
        until("commands are answered", TIMEOUT, || cache.get(0)).await.unwrap();
        health.wait_for(|health| *health == Health::Up).await;
    };
    tokio::time::timeout(TIMEOUT, up).await.unwrap();
    soon("the feed is back", || recorder.restored.load(Ordering::SeqCst) > restored).await;
    match tokio::time::timeout(TIMEOUT, events.next()).await.unwrap() {
        Some(Delivery::Reconnected) => {}
        other => panic!("{other:?}"),
    }
    serve(&cache, &topic, &mut events, &recorder, 2).await;
    stores.close(TIMEOUT).await.unwrap();
}

async fn serve(
    cache: &Cache<u32>,
    topic: &Topic<UserUpdated>,
    events: &mut Events<UserUpdated>,
    recorder: &Recorder,
    value: u32,
) {
    soon("the feed is up", || recorder.restored.load(Ordering::SeqCst) > 0).await;
    recorder.keys.lock().unwrap().clear();
    // On a Cluster they are on every node.
    let ids: Vec<u32> = (0..50).collect();
    cache.set_many(&ids.iter().map(|id| (*id, value)).collect::<Vec<_>>()).await.unwrap();
    let found = cache.get_many(&ids).await.unwrap();
    assert!(found.iter().all(|found| found.as_deref() == Some(&value)), "{found:?}");
    soon("a notification of every change", || {
        let keys = recorder.keys.lock().unwrap();
        ids.iter().all(|id| keys.contains(&format!("cache:n:{id}")))
    })
    .await;
    topic.publish(&UserUpdated { user_id: value.to_string(), changed: vec![] }).await.unwrap();
    match tokio::time::timeout(TIMEOUT, events.next()).await.unwrap() {
        Some(Delivery::Event { data, .. }) => assert_eq!(data.user_id, value.to_string()),
        other => panic!("{other:?}"),
    }
}

/// The error of connecting with these settings: at once, since it gets no better by trying, and without a secret.
pub(crate) async fn refused(config: RedisConfig, says: &str) -> Error {
    let Err(error) = RedisBackend::connect(config).await else { panic!("it connected") };
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Config, Effect::NotApplied), "{error}");
    assert!(error.to_string().contains(says), "{error}");
    assert!(error.to_string().contains("after 1 attempt;"), "{error}");
    assert!(error.to_string().contains("127.0.0.1:") || error.to_string().contains("localhost:"), "{error}");
    let mut all = format!("{error} {error:?} {error:#?}");
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        write!(all, "{inner} {inner:?}").unwrap();
        source = inner.source();
    }
    assert!(!all.contains("sesame") && !all.contains("PRIVATE"), "{all}");
    error
}
