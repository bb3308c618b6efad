//! Notifications when connections and servers break.

use std::sync::Arc;
use std::time::Duration;

use stanchion::ErrorKind;
use stanchion::cache::AllParts as _;
use stanchion::key::Namespace;
use stanchion_conformance::servers::{Proxy, RedisProcess, until};

use crate::watched::{
    Notification, Recorder, TIMEOUT, Watched, config, feeds, key, kill_feed, open, run, stored, ttl,
};

/// Also used on the bus.
pub(crate) async fn killed_connection(config: stanchion_redis::RedisConfig, server: &RedisProcess) {
    let (_stores, store) = open(config).await;
    let watched = Watched::up(&*store, "cache", "user").await;
    for _ in 0..3 {
        let before = feeds(server).await;
        kill_feed(server).await;
        watched.sees(&[Notification::Lost, Notification::Restored]).await;
        assert_eq!(watched.notifications(), [Notification::Lost, Notification::Restored]);
        watched.forget();
        let after = feeds(server).await;
        assert_eq!(after.len(), 1, "one connection in place of the other");
        assert_ne!(after, before);
        store.add(&key("n"), 1, ttl()).await.unwrap();
        watched.sees_change("cache:user:n").await;
    }
}

pub(crate) async fn a_killed_connection_is_a_loss_until_it_is_back() {
    let server = RedisProcess::start().await.unwrap();
    killed_connection(config(&server.url()), &server).await;
}

pub(crate) async fn a_server_that_dies_is_a_loss_until_it_is_back() {
    let server = RedisProcess::start().await.unwrap();
    let (_stores, store) = open(config(&server.url())).await;
    let watched = Watched::up(&*store, "cache", "user").await;
    server.kill().unwrap();
    watched.sees(&[Notification::Lost]).await;
    // What is watched while the server is down is up later, too.
    let later = Watched::begin(&*store, "cache", "later");
    assert_eq!((watched.notifications(), later.notifications()), (vec![Notification::Lost], vec![]));
    server.restart().await.unwrap();
    watched.sees(&[Notification::Lost, Notification::Restored]).await;
    later.sees(&[Notification::Restored]).await;
    for (watched, key) in [(&watched, "cache:user:u1"), (&later, "cache:later:u1")] {
        run(&server, &["SET", &stored(key), "v"]).await;
        watched.sees_change(key).await;
    }
}

pub(crate) async fn a_silent_connection_is_found_by_its_heartbeat() {
    let server = RedisProcess::start().await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let config = config(&proxy.url()).deadline(Duration::from_secs(1));
    let (_stores, store) = open(config.ping_every(Duration::from_millis(50))).await;
    let watched = Watched::up(&*store, "cache", "user").await;
    // A busy machine may have missed a ping before: that is not the loss which is looked for.
    watched.forget();
    proxy.freeze();
    watched.sees(&[Notification::Lost]).await;
    proxy.thaw();
    watched.sees(&[Notification::Lost, Notification::Restored]).await;
    run(&server, &["SET", &stored("cache:user:u1"), "v"]).await;
    watched.sees_change("cache:user:u1").await;
}

pub(crate) async fn a_missed_deadline_causes_a_heartbeat_at_once() {
    let server = RedisProcess::start().await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    // No ping by itself comes in time for this case.
    let config = config(&proxy.url()).deadline(Duration::from_secs(2)).ping_every(Duration::from_hours(1));
    let (_stores, store) = open(config.cache_deadline(Duration::from_millis(200))).await;
    let watched = Watched::up(&*store, "cache", "user").await;
    proxy.freeze();
    assert!(store.get(&key("u1")).await.is_err());
    watched.sees(&[Notification::Lost]).await;
    proxy.thaw();
    watched.sees(&[Notification::Lost, Notification::Restored]).await;
}

pub(crate) async fn closing_is_a_loss() {
    let server = RedisProcess::start().await.unwrap();
    let (stores, store) = open(config(&server.url())).await;
    let watched = Watched::up(&*store, "cache", "user").await;
    stores.close(TIMEOUT).await.unwrap();
    watched.sees(&[Notification::Lost]).await;
    assert_eq!(watched.notifications(), [Notification::Lost]);
    let gone = until("the connection's end", TIMEOUT, || async {
        let feeds = feeds(&server).await;
        if feeds.is_empty() { Ok(()) } else { Err(format!("{feeds:?}")) }
    });
    gone.await.unwrap();
    let namespace = Namespace::new("cache", "user").unwrap();
    let refused = store.watch(&namespace, Arc::new(Recorder::default())).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Closed);
    drop(watched);
}
