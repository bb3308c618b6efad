//! A Cluster with replicas.

use std::time::Duration;

use libtest_mimic::Trial;
use stanchion_conformance::servers::{Cluster, ClusterSetup, RedisProcess, until};

use crate::{get, runs, set};

/// Its slot, which the first node has when the Cluster is new.
const SLOT: u16 = 866;

async fn replicas_take_the_place_of_their_masters() {
    let cluster = Cluster::start_with_replicas().await.unwrap();
    let pids: Vec<u32> = cluster.nodes().iter().map(RedisProcess::pid).collect();
    assert_eq!(pids.len(), 6);
    let node = |index: usize| &cluster.nodes()[index];
    assert_eq!(cluster.slot_of("hello").await.unwrap(), SLOT);
    assert_eq!(cluster.master_of(SLOT).await.unwrap(), 0);
    assert_eq!(cluster.replicas_of(SLOT).await.unwrap(), [3]);
    set(node(0), "hello", "1").await;
    assert!(get(node(3), "hello").await.text().starts_with("MOVED"), "a replica sends on");

    assert_eq!(cluster.failover(SLOT).await.unwrap(), 3);
    assert_eq!(get(node(3), "hello").await.text(), "1");
    assert_eq!(cluster.replicas_of(SLOT).await.unwrap(), [0]);
    assert_eq!(get(node(0), "hello").await.text(), format!("MOVED {SLOT} {}", node(3).addr()));

    assert_eq!(cluster.kill_master_of(SLOT).await.unwrap(), 3);
    assert_eq!(cluster.replaced(SLOT, 3).await.unwrap(), 0);
    cluster.served_by(SLOT, 0).await.unwrap();
    assert_eq!(get(node(0), "hello").await.text(), "1");
    cluster.restart(3).await.unwrap();
    assert_eq!(cluster.replicas_of(SLOT).await.unwrap(), [3], "the old master is a replica");
    cluster.failover(SLOT).await.unwrap();
    assert_eq!(get(node(3), "hello").await.text(), "1", "and has everything");
    drop(cluster);
    assert!(pids.into_iter().all(|pid| !runs(pid)));
}

async fn a_paused_master_is_replaced() {
    let cluster = Cluster::start_with_replicas().await.unwrap();
    cluster.pause(0).unwrap();
    assert_eq!(cluster.replaced(SLOT, 0).await.unwrap(), 3);
    cluster.resume(0).unwrap();
    cluster.settled().await.unwrap();
    assert_eq!(cluster.master_of(SLOT).await.unwrap(), 3);
    assert_eq!(cluster.replicas_of(SLOT).await.unwrap(), [0]);
}

async fn a_master_whose_bus_is_cut_is_replaced_and_still_answers() {
    let cluster = Cluster::start_with_replicas().await.unwrap();
    let old = &cluster.nodes()[0];
    set(old, "hello", "1").await;
    cluster.cut_bus(0).unwrap();
    assert_eq!(cluster.replaced(SLOT, 0).await.unwrap(), 3);
    let down = || async {
        let reply = get(old, "hello").await.text();
        if reply.starts_with("CLUSTERDOWN") { Ok(()) } else { Err(reply) }
    };
    until("it knows that it is alone", Duration::from_secs(30), down).await.unwrap();
    let map = old.command(&["CLUSTER", "SLOTS"]).await.unwrap();
    let first = &map.items()[0].items()[2];
    assert_eq!(
        first.items()[1].int(),
        Some(i64::from(old.addr().port())),
        "and thinks that it is the master"
    );
    assert_eq!(get(&cluster.nodes()[3], "hello").await.text(), "1");

    cluster.mend_bus(0).unwrap();
    cluster.settled().await.unwrap();
    assert_eq!(cluster.replicas_of(SLOT).await.unwrap(), [0]);
    assert_eq!(get(old, "hello").await.text(), format!("MOVED {SLOT} {}", cluster.nodes()[3].addr()));
}

async fn replicas_behind_proxies_take_the_place_of_their_masters() {
    let (cluster, proxies) = Cluster::with_replicas().start_behind_proxies().await.unwrap();
    set(&cluster.nodes()[0], "hello", "1").await;
    assert_eq!(cluster.failover(SLOT).await.unwrap(), 3);
    let moved = get(&cluster.nodes()[1], "hello").await.text();
    assert_eq!(moved, format!("MOVED {SLOT} {}", proxies[3].addr()));
    assert_eq!(get(&cluster.nodes()[3], "hello").await.text(), "1");
}

async fn a_bus_without_relays_can_not_be_cut() {
    let setup = ClusterSetup::new().args(&["--maxmemory", "50mb"]);
    let cluster = setup.start().await.unwrap();
    let error = cluster.cut_bus(0).unwrap_err().to_string();
    assert!(error.contains("breakable"), "{error}");
    let error = cluster.begin_failover(SLOT).await.unwrap_err().to_string();
    assert!(error.contains("no replica"), "{error}");
    let set = cluster.nodes()[2].command(&["CONFIG", "GET", "maxmemory"]).await.unwrap();
    assert_eq!(set.items()[1].text(), "52428800");
}

pub(crate) fn cases() -> Vec<Trial> {
    cases! {
        Process:
            replicas_take_the_place_of_their_masters
            a_paused_master_is_replaced
            a_master_whose_bus_is_cut_is_replaced_and_still_answers
            replicas_behind_proxies_take_the_place_of_their_masters
            a_bus_without_relays_can_not_be_cut;
    }
}
