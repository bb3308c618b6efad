//! Generations on a Cluster: three copies, of which two decide.

use std::sync::Arc;

use stanchion::cache::{AllParts as _, CacheStore, Generation, Tag};
use stanchion::{Effect, ErrorKind};
use stanchion_conformance::servers::{Cluster, until};

use crate::support::{TIMEOUT, cluster_config, connect, facts, failed, send};

/// The copies of `tag`, by the wire format: its slot is 2,970, and so its group 10.
const COPIES: [&str; 3] =
    ["tags:tag:{2679}:user%3Au1", "tags:tag:{26979}:user%3Au1", "tags:tag:{3433}:user%3Au1"];

fn tag() -> Tag {
    Tag::new("user:u1").unwrap()
}

async fn cluster() -> (Cluster, Arc<dyn CacheStore>) {
    let cluster = Cluster::start().await.unwrap();
    for node in cluster.nodes() {
        send(node, &["CONFIG", "SET", "cluster-require-full-coverage", "no"]).await;
    }
    let stores = connect(cluster_config(&cluster.urls())).await;
    let store = stores.cache_store().unwrap();
    (cluster, store)
}

async fn generation(store: &dyn CacheStore) -> Generation {
    store.generations(&[tag()]).await.unwrap()[0].0
}

async fn bump(store: &dyn CacheStore) -> Generation {
    store.bump(&[tag()]).await.unwrap()[0]
}

/// What the copy at this node holds.
async fn copy(cluster: &Cluster, node: usize) -> String {
    send(&cluster.nodes()[node], &["GET", COPIES[node]]).await.text()
}

/// Until a master that was started again is there for this client too.
async fn repaired(cluster: &Cluster, store: &dyn CacheStore, node: usize, expected: Generation) {
    let repaired = until("the copy is written again", TIMEOUT, || async {
        let _bumped = store.bump(&[tag()]).await.map_err(|error| error.to_string())?;
        let held = copy(cluster, node).await;
        if held.parse().is_ok_and(|held: u64| held > expected.get()) { Ok(()) } else { Err(held) }
    });
    repaired.await.unwrap();
}

pub(crate) async fn each_master_holds_one() {
    let (cluster, store) = cluster().await;
    let made = generation(&*store).await;
    let all_hold = async |generation: Generation| {
        for (node, key) in COPIES.into_iter().enumerate() {
            assert_eq!(copy(&cluster, node).await, generation.get().to_string(), "node {node}");
            let kept = send(&cluster.nodes()[node], &["TTL", key]).await;
            assert!(
                matches!(kept, stanchion_conformance::servers::Reply::Int(2_591_000..=2_592_000)),
                "{kept:?}"
            );
        }
    };
    all_hold(made).await;
    assert_eq!(generation(&*store).await, made);
    let bumped = bump(&*store).await;
    assert!(bumped > made);
    all_hold(bumped).await;
}

pub(crate) async fn what_one_has_lost_the_others_hold() {
    let (cluster, store) = cluster().await;
    let bumped = bump(&*store).await;
    let forget = async |node: usize| send(&cluster.nodes()[node], &["DEL", COPIES[node]]).await;
    for (node, key) in COPIES.into_iter().enumerate() {
        forget(node).await;
        assert_eq!(generation(&*store).await, bumped, "node {node}");
        // Written again with the next.
        let next = bump(&*store).await;
        assert_eq!(copy(&cluster, node).await, next.get().to_string());
        send(&cluster.nodes()[node], &["SET", key, &bumped.get().to_string()]).await;
        assert_eq!(generation(&*store).await, next, "one that is behind");
        // Reads bring it up, so that the others are not the only ones that hold it.
        let brought_up = until("it is brought up", TIMEOUT, || async {
            assert_eq!(generation(&*store).await, next);
            let held = copy(&cluster, node).await;
            if held == next.get().to_string() { Ok(()) } else { Err(held) }
        });
        brought_up.await.unwrap();
        let bumped_again = bump(&*store).await;
        assert!(bumped_again > next);
        for (other, key) in cluster.nodes().iter().zip(COPIES) {
            send(other, &["SET", key, &bumped.get().to_string()]).await;
        }
    }
    // Of two that have lost it nobody knows what it was.
    forget(0).await;
    forget(1).await;
    assert!(generation(&*store).await > bumped);
}

pub(crate) async fn what_one_holds_alone_is_answered_for_good() {
    let (cluster, store) = cluster().await;
    let made = generation(&*store).await;
    // A bump of which one copy was written when its caller ended.
    let greater = made.get() + 1_000_000_000;
    send(&cluster.nodes()[2], &["SET", COPIES[2], &greater.to_string()]).await;
    // Either it is seen or not; once it is, it stays, whoever is asked.
    let seen = until("it is seen", TIMEOUT, || async {
        let seen = generation(&*store).await;
        if seen.get() == greater { Ok(()) } else { Err(seen.get()) }
    });
    seen.await.unwrap();
    cluster.kill(2).unwrap();
    assert_eq!(generation(&*store).await.get(), greater);
    assert_eq!(bump(&*store).await.get(), greater + 1, "the clocks are behind");
}

pub(crate) async fn one_master_away_is_not_missed_and_two_are() {
    let (cluster, store) = cluster().await;
    for dead in 0..3 {
        let before = bump(&*store).await;
        cluster.kill(dead).unwrap();
        assert_eq!(generation(&*store).await, before, "without {dead}");
        let bumped = bump(&*store).await;
        assert!(bumped > before);
        assert_eq!(generation(&*store).await, bumped);
        cluster.restart(dead).await.unwrap();
        assert_eq!(
            generation(&*store).await,
            bumped,
            "{dead} has come back with nothing, or with what is older"
        );
        repaired(&cluster, &*store, dead, bumped).await;
    }
    let before = bump(&*store).await;
    cluster.kill(0).unwrap();
    cluster.kill(1).unwrap();
    let error = failed(store.generations(&[tag()]).await);
    assert_eq!(facts(&error), (ErrorKind::Unavailable, Effect::NotApplied), "{error}");
    let error = failed(store.bump(&[tag()]).await);
    assert_eq!(facts(&error), (ErrorKind::Unavailable, Effect::NotApplied), "{error}");
    assert_eq!(copy(&cluster, 2).await, before.get().to_string(), "nothing was written");
}
