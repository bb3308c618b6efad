//! Calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use stanchion::ErrorKind;
use stanchion::key::Key;
use stanchion::stores::Stores;
use stanchion_conformance::servers::Cluster;

use crate::support::{connect, eventually, get, key_on, set};

/// The node that serves the slot of this key by the Cluster's own word, and a service that has used it.
async fn in_use(cluster: &Cluster, node: usize) -> (Stores, Key, u16) {
    let stores = connect(&cluster.urls()).await;
    let (key, slot) = key_on(cluster, node).await;
    set(&stores, &key, "before").await.unwrap();
    assert_eq!(get(&stores, &key).await.unwrap().as_deref(), Some("before"));
    (stores, key, slot)
}

async fn serves_again(stores: &Stores, key: &Key) {
    eventually("a write", || set(stores, key, "after")).await;
    assert_eq!(get(stores, key).await.unwrap().as_deref(), Some("after"));
}

/// Each of the masters: one of them has the address that sorts first.
pub(crate) async fn a_master_whose_bus_is_cut_has_not_the_last_word() {
    let cluster = Cluster::start_with_replicas().await.unwrap();
    for node in 0..3 {
        let (stores, key, slot) = in_use(&cluster, node).await;
        cluster.cut_bus(node).unwrap();
        let promoted = cluster.replaced(slot, node).await.unwrap();
        assert_ne!(promoted, node);
        serves_again(&stores, &key).await;
        // A service that begins now, also if it is told of the one that is cut off alone.
        for urls in [cluster.urls(), vec![cluster.urls()[node].clone()]] {
            let late = connect(&urls).await;
            assert_eq!(get(&late, &key).await.unwrap().as_deref(), Some("after"));
        }
        cluster.mend_bus(node).unwrap();
        cluster.settled().await.unwrap();
        assert_eq!(get(&stores, &key).await.unwrap().as_deref(), Some("after"));
    }
}

pub(crate) async fn a_killed_master_is_replaced() {
    let cluster = Cluster::start_with_replicas().await.unwrap();
    let (stores, key, slot) = in_use(&cluster, 1).await;
    let (other, _) = key_on(&cluster, 2).await;
    let killed = cluster.kill_master_of(slot).await.unwrap();
    // The others serve on, all the time.
    for n in 0..50 {
        set(&stores, &other, &n.to_string()).await.unwrap();
    }
    cluster.replaced(slot, killed).await.unwrap();
    serves_again(&stores, &key).await;
    cluster.restart(killed).await.unwrap();
    serves_again(&stores, &key).await;
}

/// When it goes on it does not know that it was replaced, and answers as if nothing had happened.
pub(crate) async fn a_master_that_hung_is_not_gone_back_to() {
    let cluster = Cluster::start_with_replicas().await.unwrap();
    let (stores, key, slot) = in_use(&cluster, 0).await;
    cluster.pause(0).unwrap();
    let promoted = cluster.replaced(slot, 0).await.unwrap();
    serves_again(&stores, &key).await;
    cluster.resume(0).unwrap();
    for _ in 0..20 {
        assert_eq!(get(&stores, &key).await.unwrap().as_deref(), Some("after"));
    }
    cluster.served_by(slot, promoted).await.unwrap();
}

pub(crate) async fn a_planned_failover_loses_nothing() {
    let cluster = Arc::new(Cluster::start_with_replicas().await.unwrap());
    let (stores, key, slot) = in_use(&cluster, 2).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writing = tokio::spawn({
        let (stop, stores, key) = (Arc::clone(&stop), stores.clone(), key.clone());
        async move {
            let (mut done, mut n) = (0, 0_u64);
            while !stop.load(Ordering::SeqCst) {
                n += 1;
                match set(&stores, &key, &n.to_string()).await {
                    Ok(()) => done = n,
                    Err(error) => {
                        let kinds = [ErrorKind::Unavailable, ErrorKind::Timeout];
                        assert!(kinds.contains(&error.kind()), "{error}");
                    }
                }
            }
            done
        }
    });
    cluster.failover(slot).await.unwrap();
    eventually("a read", || get(&stores, &key)).await;
    stop.store(true, Ordering::SeqCst);
    let done = writing.await.unwrap();
    let stored: u64 = get(&stores, &key).await.unwrap().unwrap().parse().unwrap();
    assert!(stored >= done, "{stored} is there, {done} was done");
}
