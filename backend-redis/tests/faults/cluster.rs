//! Slots that move, masters that die, and what a batch costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use stanchion::cache::AllParts as _;
use stanchion::cache::SetOptions;
use stanchion::environment::Health;
use stanchion::key::Key;
use stanchion::{Effect, ErrorKind};
use stanchion_conformance::servers::{Cluster, Proxy, Reply, Scripted, until};
use tokio::task::JoinSet;

use crate::operations::value;
use crate::support::{
    TIMEOUT, becomes, cluster_config, connect, entry, eventually, facts, failed, hour, key, send, soon,
};

/// A key whose slot is on this node.
async fn key_on(cluster: &Cluster, node: usize) -> (Key, u16) {
    for n in 0.. {
        let key = key(&format!("k{n}"));
        let slot = cluster.slot_of(key.as_str()).await.unwrap();
        if Cluster::first_owner_of(slot) == node {
            return (key, slot);
        }
    }
    unreachable!("there are many keys")
}

pub(crate) async fn a_moving_slot_is_followed_with_nothing_done_twice() {
    let cluster = Cluster::start().await.unwrap();
    let stores = connect(cluster_config(&cluster.urls())).await;
    let (counter, slot) = key_on(&cluster, 0).await;
    let (done, stop) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut workers = JoinSet::new();
    for _ in 0..8 {
        let (stores, counter) = (stores.clone(), counter.clone());
        let (done, stop) = (Arc::clone(&done), Arc::clone(&stop));
        workers.spawn(async move {
            let cache = stores.cache_store().unwrap();
            while !stop.load(Ordering::SeqCst) {
                cache.add(&counter, 1, hour()).await.unwrap();
                done.fetch_add(1, Ordering::SeqCst);
                assert!(cache.get(&counter).await.unwrap().is_some());
            }
        });
    }
    for (from, to) in [(0, 1), (1, 2), (2, 0)] {
        let before = done.load(Ordering::SeqCst);
        soon("additions go on", || done.load(Ordering::SeqCst) > before + 100).await;
        cluster.begin_migration(slot, from, to).await.unwrap();
        let before = done.load(Ordering::SeqCst);
        soon("additions go on", || done.load(Ordering::SeqCst) > before + 100).await;
        cluster.move_keys(slot, from, to).await.unwrap();
        let before = done.load(Ordering::SeqCst);
        soon("additions go on", || done.load(Ordering::SeqCst) > before + 100).await;
        cluster.finish_migration(slot, from, to).await.unwrap();
    }
    stop.store(true, Ordering::SeqCst);
    while let Some(worker) = workers.join_next().await {
        worker.unwrap();
    }
    let sum = stores.cache_store().unwrap().add(&counter, 0, hour()).await.unwrap();
    assert_eq!(sum, done.load(Ordering::SeqCst));
}

pub(crate) async fn a_migrating_slot_is_served_where_the_key_is() {
    let cluster = Cluster::start().await.unwrap();
    let stores = connect(cluster_config(&cluster.urls())).await;
    let cache = stores.cache_store().unwrap();
    let (a, slot) = key_on(&cluster, 0).await;
    let second = &cluster.nodes()[1];
    cluster.begin_migration(slot, 0, 1).await.unwrap();
    // ASK, for a command, a script and a batch; the map stays as it is.
    let _ = cache.set(&a, value(), &SetOptions::new(hour())).await.unwrap();
    assert!(send(second, &["KEYS", "*"]).await.items().contains(&Reply::Text(a.as_str().into())));
    assert_eq!(cache.get(&a).await.unwrap(), Some(value()));
    assert!(cache.touch(&a, hour()).await.unwrap());
    assert_eq!(cache.get_many(&[a.clone(), a.clone()]).await.unwrap(), [Some(value()), Some(value())]);
    assert_eq!(cache.remove_many(std::slice::from_ref(&a)).await.unwrap(), 1);
    assert_eq!(cache.add(&a, 1, hour()).await.unwrap(), 1);
    assert_eq!(cache.add(&a, 1, hour()).await.unwrap(), 2);
    cluster.finish_migration(slot, 0, 1).await.unwrap();
    assert_eq!(cache.add(&a, 1, hour()).await.unwrap(), 3);
}

/// (What a batch costs where all is in its place is shown in `tests/traffic/batches.rs`.)
pub(crate) async fn a_moved_slot_costs_a_batch_a_round_for_its_keys() {
    let (cluster, proxies) = Cluster::start_behind_proxies().await.unwrap();
    let stores = connect(cluster_config(&cluster.urls())).await;
    let cache = stores.cache_store().unwrap();
    let keys: Vec<_> = (0..100).map(|n| key(&format!("batch{n}"))).collect();
    let entries: Vec<_> = keys.iter().map(|key| entry(key, value())).collect();
    let writes = || proxies.iter().map(|proxy| proxy.reads("batch")).collect::<Vec<_>>();
    let sent = || proxies.iter().map(|proxy| proxy.requests("batch")).sum::<usize>();
    let anew = || proxies.iter().for_each(Proxy::forget_requests);
    cache.set_many(&entries).await.unwrap();
    let slot = cluster.slot_of(keys[0].as_str()).await.unwrap();
    let from = Cluster::first_owner_of(slot);
    cluster.migrate_slot(slot, from, (from + 1) % 3).await.unwrap();
    let mut moved = 0;
    for key in &keys {
        moved += usize::from(cluster.slot_of(key.as_str()).await.unwrap() == slot);
    }
    anew();
    assert!(
        cache.get_many(&keys).await.unwrap().iter().all(Option::is_some),
        "in their order, none left out"
    );
    // A second write to a master may come in one read with the first.
    let seen = writes().iter().sum::<usize>();
    assert!((3..=3 + moved).contains(&seen), "{seen} reads, {moved} had moved");
    assert_eq!(sent(), 100 + moved, "{moved} had moved");
    until("the map is drawn anew", TIMEOUT, || async {
        anew();
        cache.set_many(&entries).await.map_err(|error| error.to_string())?;
        if (writes(), sent()) == (vec![1, 1, 1], 100) { Ok(()) } else { Err(format!("{:?}", writes())) }
    })
    .await
    .unwrap();
}

/// With `cluster-require-full-coverage no` the others go on.
pub(crate) async fn a_killed_master_keeps_nobody_from_the_others() {
    let cluster = Cluster::start().await.unwrap();
    for node in cluster.nodes() {
        send(node, &["CONFIG", "SET", "cluster-require-full-coverage", "no"]).await;
    }
    let stores = connect(cluster_config(&cluster.urls())).await;
    let cache = stores.cache_store().unwrap();
    let mut keys = Vec::new();
    for node in 0..3 {
        keys.push(key_on(&cluster, node).await.0);
    }
    cluster.kill(1).unwrap();
    becomes(&stores, Health::Degraded).await;
    let down = async || {
        let call = tokio::time::timeout(Duration::from_secs(5), cache.add(&keys[1], 1, hour()));
        let error = failed(call.await.expect("it fails fast"));
        assert_eq!(facts(&error), (ErrorKind::Unavailable, Effect::NotApplied), "{error}");
        for alive in [&keys[0], &keys[2]] {
            cache.add(alive, 1, hour()).await.unwrap();
        }
        // A batch that touches it fails, and says that the rest may have been done.
        let entries: Vec<_> = keys.iter().map(|key| entry(key, "0")).collect();
        let error = failed(cache.set_many(&entries).await);
        assert_eq!(facts(&error), (ErrorKind::Unavailable, Effect::Unknown), "{error}");
        assert_eq!(facts(&failed(cache.get_many(&keys).await)), (ErrorKind::Unavailable, Effect::NotApplied));
    };
    down().await;
    // Also once the others know that it is gone, and a service that starts then gets what there is.
    until("the others know", TIMEOUT, || async {
        let info = send(&cluster.nodes()[0], &["CLUSTER", "INFO"]).await.text();
        if info.contains("cluster_slots_fail:5462") { Ok(()) } else { Err(info) }
    })
    .await
    .unwrap();
    down().await;
    let late = connect(cluster_config(&cluster.urls())).await;
    late.cache_store().unwrap().get(&keys[0]).await.unwrap();
    cluster.restart(1).await.unwrap();
    for stores in [&stores, &late] {
        becomes(stores, Health::Up).await;
        let cache = stores.cache_store().unwrap();
        eventually("its slots are served again", || cache.get_many(&keys)).await;
    }
}

/// As by default, the loss of one master stops all.
pub(crate) async fn a_cluster_without_a_master_is_down_and_comes_back() {
    let cluster = Cluster::start().await.unwrap();
    let stores = connect(cluster_config(&cluster.urls())).await;
    let cache = stores.cache_store().unwrap();
    let (a, _) = key_on(&cluster, 0).await;
    cluster.kill(2).unwrap();
    let down = until("the Cluster says that it is down", TIMEOUT, || async {
        match cache.add(&a, 1, hour()).await {
            Err(error) if error.to_string().contains("CLUSTERDOWN") => Ok(error),
            other => Err(format!("{other:?}")),
        }
    });
    let error = down.await.unwrap();
    assert_eq!(facts(&error), (ErrorKind::Unavailable, Effect::NotApplied));
    assert!(error.retry_after().is_some());
    send(&cluster.nodes()[0], &["CONFIG", "SET", "cluster-allow-reads-when-down", "yes"]).await;
    let sum: i64 =
        cache.get(&a).await.unwrap().map_or(0, |sum| String::from_utf8_lossy(&sum).parse().unwrap());
    cluster.restart(2).await.unwrap();
    becomes(&stores, Health::Up).await;
    assert_eq!(
        eventually("additions", || cache.add(&a, 1, hour())).await,
        sum + 1,
        "none was done while it was down"
    );
}

/// Servers that send a client in circles.
pub(crate) async fn redirects_are_bounded() {
    let server = Scripted::answering(b"+OK\r\n").await.unwrap();
    let stores = connect(cluster_config(&[server.url()])).await;
    let cache = stores.cache_store().unwrap();
    for code in ["MOVED 866", "ASK 866"] {
        // An address, and a port of the node that answers.
        for address in [server.addr().to_string(), format!(":{}", server.addr().port())] {
            server.set_reply(format!("-{code} {address}\r\n").as_bytes());
            let before = server.requests("GET");
            let error = failed(cache.get(&key("a")).await);
            assert_eq!(facts(&error), (ErrorKind::Unavailable, Effect::NotApplied), "{error}");
            assert_eq!(server.requests("GET") - before, 9, "{code} {address}");
            let error = failed(cache.add(&key("a"), 1, hour()).await);
            assert_eq!(facts(&error), (ErrorKind::Unavailable, Effect::NotApplied), "{error}");
            let error = failed(cache.set_many(&[entry(&key("a"), value())]).await);
            assert_eq!(facts(&error), (ErrorKind::Unavailable, Effect::NotApplied), "{error}");
        }
    }
    // A slot may be on its way for as long as a call has time, and that is no circle.
    let second = Duration::from_secs(1);
    let patient = cluster_config(&[server.url()]).deadline(second).cache_deadline(second);
    server.set_reply(b"+OK\r\n");
    let patient = connect(patient).await.cache_store().unwrap();
    server.set_reply(b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n");
    let before = server.requests("GET");
    let error = failed(patient.get(&key("a")).await);
    assert_eq!(facts(&error), (ErrorKind::Unavailable, Effect::NotApplied), "{error}");
    assert!(error.retry_after().is_some() && error.to_string().contains("TRYAGAIN"), "{error}");
    let sent = server.requests("GET") - before;
    assert!((4..=40).contains(&sent), "{sent} in a second, with pauses that grow");
    // To a node that is not there: nothing was done.
    server.set_reply(b"-MOVED 866 127.0.0.1:1\r\n");
    let error = failed(cache.add(&key("a"), 1, hour()).await);
    assert_eq!(facts(&error), (ErrorKind::Unavailable, Effect::NotApplied), "{error}");
}
