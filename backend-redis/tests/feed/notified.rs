//! Notifications while all is well.

use bytes::Bytes;
use stanchion::cache::AllParts as _;
use stanchion::cache::{
    Fill, FillOutcome, LeaseRequest, LeaseToken, SetEntry, SetOptions, SetOutcome, Tag, Want, When,
};
use stanchion_conformance::servers::RedisProcess;

use crate::watched::{Notification, Watched, config, feeds, key, open, run, stored, ttl};

/// Also used on the bus.
pub(crate) async fn writes_of_the_store(config: stanchion_redis::RedisConfig, server: &RedisProcess) {
    let ((_here, here), (_there, there)) = (open(config.clone()).await, open(config).await);
    let watched = Watched::up(&*here, "cache", "user").await;
    let tags = Watched::up(&*here, "tags", "tag").await;
    let options = SetOptions::new(ttl());
    let value = Bytes::from_static(b"v");

    // Through another handle and through this one.
    for store in [&there, &here] {
        for when in [When::Always, When::Present, When::Equals(value.clone())] {
            let set = store.set(&key("u1"), value.clone(), &options.clone().when(when)).await.unwrap();
            assert_eq!(set, SetOutcome::Stored);
            watched.sees_change("cache:user:u1").await;
        }
    }
    let entry = SetEntry::new(key("u2"), value.clone(), options.clone());
    let _ = there.set_many(&[entry]).await.unwrap();
    watched.sees_change("cache:user:u2").await;
    there.touch(&key("u2"), ttl()).await.unwrap();
    watched.sees_change("cache:user:u2").await;
    there.remove_many(&[key("u2")]).await.unwrap();
    watched.sees_change("cache:user:u2").await;
    there.add(&key("n"), 1, ttl()).await.unwrap();
    watched.sees_change("cache:user:n").await;

    let token = LeaseToken::new([1; 16]);
    let request = LeaseRequest::new(key("u3"), token, ttl(), Want::IfAbsent);
    there.fetch(&[request]).await.unwrap();
    let refused = there.set(&key("u1"), value.clone(), &options.when(When::Absent)).await.unwrap();
    assert_eq!(refused, SetOutcome::NotStored);
    there.touch(&key("none"), ttl()).await.unwrap();
    let filled = there.fill(&[Fill::new(key("u3"), token, value, ttl())]).await.unwrap();
    assert_eq!(filled, [FillOutcome::Filled]);
    watched.sees(&[Notification::Changed("cache:user:u3".to_owned())]).await;
    // A lease is no entry, what was not done is no change, and other namespaces are no concern.
    assert_eq!(watched.notifications(), [Notification::Changed("cache:user:u3".to_owned())]);

    let tag = Tag::new("t1").unwrap();
    assert_eq!(tags.notifications(), []);
    let made = there.generations(std::slice::from_ref(&tag)).await.unwrap();
    tags.sees_change("tags:tag:t1").await;
    let again = there.generations(std::slice::from_ref(&tag)).await.unwrap();
    assert_eq!(again[0].0, made[0].0);
    assert!(made[0].1.is_zero() && !again[0].1.is_zero(), "its age grows: {again:?}");
    there.bump(&[tag]).await.unwrap();
    tags.sees_change("tags:tag:t1").await;
    assert!(!feeds(server).await.is_empty());
}

pub(crate) async fn every_write_of_the_store_is_notified() {
    let server = RedisProcess::start().await.unwrap();
    writes_of_the_store(config(&server.url()), &server).await;
}

pub(crate) async fn writes_by_others_are_notified() {
    let server = RedisProcess::start().await.unwrap();
    let (_stores, store) = open(config(&server.url())).await;
    let watched = Watched::up(&*store, "cache", "user").await;
    let (ours, other) = (stored("cache:user:u1"), stored("cache:users:u1"));
    // What begins alike, or is another deployment's, is another's concern.
    for foreign in [other.as_str(), "cache:user:u1", "feeds:cache:user:u1", "feed:cache:use:u1"] {
        run(&server, &["SET", foreign, "x"]).await;
    }
    for words in [
        &["SET", &ours, "v"][..],
        &["APPEND", &ours, "w"],
        &["PEXPIRE", &ours, "100000"],
        &["PERSIST", &ours],
        &["RENAME", &other, &ours],
        &["COPY", &other, &ours, "REPLACE"],
        &["DEL", &ours],
        &["RPUSH", &ours, "1"],
        &["UNLINK", &ours],
    ] {
        if words[0] == "COPY" {
            run(&server, &["SET", &other, "x"]).await;
        }
        run(&server, words).await;
        watched.only(&["cache:user:u1"], &server).await;
    }
    // A command that changes nothing may be notified or not.
    run(&server, &["MSET", &stored("cache:user:a"), "1", &stored("cache:user:b"), "2", &other, "3"]).await;
    watched.sees(&[Notification::Changed("cache:user:a".to_owned())]).await;
    watched.sees(&[Notification::Changed("cache:user:b".to_owned())]).await;
}

pub(crate) async fn expiry_is_notified() {
    let server = RedisProcess::start_with(&["--hz", "100"]).await.unwrap();
    let (_stores, store) = open(config(&server.url())).await;
    let watched = Watched::up(&*store, "cache", "user").await;
    run(&server, &["SET", &stored("cache:user:u1"), "v", "PX", "20"]).await;
    // Once for the set, once for the end, which nobody needs to look for.
    let change = Notification::Changed("cache:user:u1".to_owned());
    watched.sees(&[change.clone(), change]).await;
}

pub(crate) async fn a_flush_is_a_loss() {
    let server = RedisProcess::start().await.unwrap();
    let (_stores, store) = open(config(&server.url())).await;
    let (users, others) =
        (Watched::up(&*store, "cache", "user").await, Watched::up(&*store, "cache", "other").await);
    for flush in ["FLUSHALL", "FLUSHDB"] {
        run(&server, &["SET", &stored("cache:user:u1"), "v"]).await;
        users.sees_change("cache:user:u1").await;
        run(&server, &[flush]).await;
        for watched in [&users, &others] {
            watched.sees(&[Notification::Lost, Notification::Restored]).await;
            watched.forget();
        }
    }
}

pub(crate) async fn a_namespace_is_added_on_the_same_connection() {
    let server = RedisProcess::start().await.unwrap();
    let (_stores, store) = open(config(&server.url())).await;
    let first = Watched::up(&*store, "cache", "user").await;
    // Several at once, one of them twice.
    let kinds = ["a", "b", "a", "c", "user"];
    let added: Vec<_> = kinds.iter().map(|kind| Watched::begin(&*store, "cache", kind)).collect();
    for (watched, kind) in added.iter().zip(kinds) {
        watched.sees(&[Notification::Restored]).await;
        watched.forget();
        run(&server, &["SET", &stored(&format!("cache:{kind}:u1")), "v"]).await;
        watched.sees_change(&format!("cache:{kind}:u1")).await;
    }
    assert_eq!(feeds(&server).await.len(), 1);
    // No watcher was notified of a loss.
    assert!(!first.notifications().contains(&Notification::Lost));
    assert!(added.iter().all(|watched| !watched.notifications().contains(&Notification::Lost)));
}

pub(crate) async fn a_dropped_watch_is_not_notified() {
    let server = RedisProcess::start().await.unwrap();
    let (_stores, store) = open(config(&server.url())).await;
    let mut dropped = Watched::up(&*store, "cache", "user").await;
    let other = Watched::up(&*store, "cache", "other").await;
    drop(dropped.watch.take());
    run(&server, &["SET", &stored("cache:user:u1"), "v"]).await;
    run(&server, &["SET", &stored("cache:other:u1"), "v"]).await;
    other.sees_change("cache:other:u1").await;
    assert_eq!(dropped.notifications(), []);
    // The server still sends its invalidations; a second request for them would be refused.
    let again = Watched::up(&*store, "cache", "user").await;
    run(&server, &["SET", &stored("cache:user:u1"), "v"]).await;
    again.sees_change("cache:user:u1").await;
    assert_eq!(dropped.notifications(), []);
}
