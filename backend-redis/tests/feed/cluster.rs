//! The feed of a Cluster: each master's by itself.

use std::sync::Arc;

use bytes::Bytes;
use stanchion::cache::{CacheStore, SetOptions, SetOutcome};
use stanchion::stores::Stores;
use stanchion_conformance::servers::{Cluster, Link, until};
use stanchion_redis::{Invalidation, RedisConfig};

use crate::watched::{Notification, PREFIX, TIMEOUT, Watched, feeds, key, open, run, stored, ttl};

fn config(cluster: &Cluster) -> RedisConfig {
    let urls = cluster.urls();
    let config = RedisConfig::cluster(urls.iter().map(String::as_str)).unwrap().prefix(PREFIX).unwrap();
    config.deadline(TIMEOUT).cache_deadline(TIMEOUT)
}

async fn stores(cluster: &Cluster) -> (Stores, Arc<dyn CacheStore>) {
    open(config(cluster)).await
}

async fn slot_of(cluster: &Cluster, id: &str) -> u16 {
    cluster.slot_of(&stored(&format!("cache:user:{id}"))).await.unwrap()
}

/// An id whose key is in the slots that this master has at first.
async fn id_at(cluster: &Cluster, node: usize) -> String {
    for n in 0..10_000 {
        let id = format!("u{n}");
        if Cluster::first_owner_of(slot_of(cluster, &id).await) == node {
            return id;
        }
    }
    panic!("no id for node {node}");
}

async fn set(store: &dyn CacheStore, id: &str) {
    let (key, options) = (key(id), SetOptions::new(ttl()));
    let outcome = until("a set", TIMEOUT, || store.set(&key, Bytes::from_static(b"v"), &options));
    assert_eq!(outcome.await.unwrap(), SetOutcome::Stored);
}

/// Each change is said so many times.
async fn all_heard(cluster: &Cluster, config: RedisConfig, times: usize) {
    let (_stores, store) = open(config).await;
    let watched = Watched::up_on_all(&*store, "cache", "user", 3).await;
    // Generations go by groups of their own.
    let tags = Watched::up_on_all(&*store, "tags", "tag", 16).await;
    for node in 0..3 {
        let id = id_at(cluster, node).await;
        set(&*store, &id).await;
        watched.sees(&vec![Notification::Changed(format!("cache:user:{id}")); times]).await;
        watched.forget();
        assert_eq!(feeds(&cluster.nodes()[node]).await.len(), 1);
    }
    assert_eq!((watched.notifications(), tags.notifications()), (Vec::new(), Vec::new()));
}

pub(crate) async fn every_master_is_listened_to() {
    let cluster = Cluster::start().await.unwrap();
    all_heard(&cluster, config(&cluster), 1).await;
}

pub(crate) async fn on_the_bus_every_master_is_heard() {
    let cluster = Cluster::start().await.unwrap();
    // The nodes pass a message on to each other, and each of them is subscribed to.
    all_heard(&cluster, config(&cluster).invalidation(Invalidation::Bus), 3).await;
}

pub(crate) async fn a_moved_slot_is_listened_to_where_it_is() {
    let cluster = Cluster::start().await.unwrap();
    let (_stores, store) = stores(&cluster).await;
    let watched = Watched::up_on_all(&*store, "cache", "user", 3).await;
    let id = id_at(&cluster, 0).await;
    let before = store.shard_of(&key(&id));
    let (slot, name) = (slot_of(&cluster, &id).await, format!("cache:user:{id}"));
    set(&*store, &id).await;
    watched.sees_change(&name).await;
    // The keys leave the one master and come to the other: copies of them go.
    cluster.migrate_slot(slot, 0, 1).await.unwrap();
    watched.sees_change(&name).await;
    run(&cluster.nodes()[1], &["SET", &stored(&name), "w"]).await;
    watched.sees_change(&name).await;
    assert_eq!(store.get(&key(&id)).await.unwrap(), Some(Bytes::from_static(b"w")));
    // The redirect has had the map drawn anew: what was read where the slot was is out of date.
    watched.sees(&[Notification::LostOf(before), Notification::RestoredOf(before)]).await;
    let there = store.shard_of(&key(&id));
    let at_the_other = store.shard_of(&key(&id_at(&cluster, 1).await));
    assert!(there != before && there == at_the_other, "{there:?}");
    set(&*store, &id).await;
    watched.sees_change(&name).await;
}

/// Gives all slots of the last master to the first, so that clients see two masters.
async fn empty_last_master(cluster: &Cluster) {
    // Or a master that has no slot left becomes the replica of the one that took them (7.0 and later can be set not to).
    for node in cluster.nodes() {
        run(node, &["CONFIG", "SET", "cluster-allow-replica-migration", "no"]).await;
    }
    // Or the word of the last one, whose epoch is the greatest, would count.
    run(&cluster.nodes()[0], &["CLUSTER", "BUMPEPOCH"]).await;
    for node in [0, 2, 1] {
        let mut link = Link::connect(cluster.nodes()[node].addr()).await.unwrap();
        for slot in 10_923..=16_383_u16 {
            let words = ["CLUSTER", "SETSLOT", &slot.to_string(), "NODE", cluster.id(0)];
            let reply = link.ask(&words).await.unwrap();
            assert!(!reply.is_error(), "{reply:?}");
        }
    }
    cluster.settled().await.unwrap();
    cluster.served_by(16_383, 0).await.unwrap();
}

pub(crate) async fn an_unknown_master_is_a_loss_before_it_answers() {
    let cluster = Cluster::start().await.unwrap();
    empty_last_master(&cluster).await;
    let (_stores, store) = stores(&cluster).await;
    let watched = Watched::up_on_all(&*store, "cache", "user", 2).await;
    assert_eq!(feeds(&cluster.nodes()[2]).await.len(), 0, "it is not known yet");
    let id = id_at(&cluster, 2).await;
    let (slot, name) = (slot_of(&cluster, &id).await, format!("cache:user:{id}"));
    set(&*store, &id).await;
    watched.sees_change(&name).await;
    // On its way: the answer comes from the last master, by redirection.
    cluster.begin_migration(slot, 0, 2).await.unwrap();
    cluster.move_key(&stored(&name), 0, 2).await.unwrap();
    watched.sees_change(&name).await;
    assert_eq!(store.get(&key(&id)).await.unwrap(), Some(Bytes::from_static(b"v")));
    let before = store.shard_of(&key(&id));
    // What was read from it is a loss, unless its invalidations came before it was read: the map is drawn now and then, and
    // may have named it already.
    let seen = watched.notifications();
    let is_covered = match seen.first() {
        Some(Notification::LostOf(shard)) => *shard == before,
        Some(Notification::RestoredOf(shard)) => *shard != before,
        _ => false,
    };
    assert!(is_covered, "what was read from it may change without an invalidation: {seen:?}");
    let up = until("the third is up", TIMEOUT, || async {
        let seen = watched.notifications();
        let is_new =
            |seen: &Notification| matches!(seen, Notification::RestoredOf(shard) if *shard != before);
        if seen.iter().any(is_new) { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    up.await.unwrap();
    watched.forget();
    cluster.finish_migration(slot, 0, 2).await.unwrap();
    // A node that no redirect names for some seconds is let go, until the map has it: then the first of these is not heard of.
    let mut heard = false;
    for _ in 0..6 {
        watched.forget();
        run(&cluster.nodes()[2], &["SET", &stored(&name), "w"]).await;
        let change = Notification::Changed(name.clone());
        let seen = until("a change there", TIMEOUT / 6, || async {
            if watched.notifications().contains(&change) { Ok(()) } else { Err("not yet") }
        });
        heard = seen.await.is_ok();
        if heard {
            break;
        }
    }
    assert!(heard, "{:?}", watched.notifications());
    watched.forget();
    assert_eq!(store.get(&key(&id)).await.unwrap(), Some(Bytes::from_static(b"w")));
    let touched = store.touch(&key(&id), ttl()).await.unwrap();
    assert!(touched);
    watched.sees_change(&name).await;
}

pub(crate) async fn a_dead_master_is_a_loss_of_its_shard_until_it_is_back() {
    let cluster = Cluster::start().await.unwrap();
    for node in cluster.nodes() {
        run(node, &["CONFIG", "SET", "cluster-require-full-coverage", "no"]).await;
    }
    let (_stores, store) = stores(&cluster).await;
    let watched = Watched::up_on_all(&*store, "cache", "user", 3).await;
    let (dead, alive) = (id_at(&cluster, 1).await, id_at(&cluster, 2).await);
    let shard = store.shard_of(&key(&dead));
    cluster.kill(1).unwrap();
    watched.sees(&[Notification::LostOf(shard)]).await;
    // The others go on.
    set(&*store, &alive).await;
    watched.sees(&[Notification::Changed(format!("cache:user:{alive}"))]).await;
    let concerns_others = |seen: &Notification| match seen {
        Notification::LostOf(of) | Notification::RestoredOf(of) => *of != shard,
        _ => false,
    };
    assert!(!watched.notifications().iter().any(concerns_others), "{:?}", watched.notifications());
    cluster.restart(1).await.unwrap();
    watched.sees(&[Notification::LostOf(shard), Notification::RestoredOf(shard)]).await;
    watched.forget();
    set(&*store, &dead).await;
    watched.sees_change(&format!("cache:user:{dead}")).await;
}
