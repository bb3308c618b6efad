//! Which map of a Cluster is taken, by servers that say what a test has them say.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use stanchion::environment::Health;
use stanchion::event::Delivery;
use stanchion::event::standard::UserUpdated;
use stanchion::stores::Stores;
use stanchion::{Effect, ErrorKind};
use stanchion_conformance::servers::{Proxy, Scripted};
use tokio::task::JoinSet;

use crate::masters::{Master, RANGES, VALUE, key_in, master, says, three, urls, with_flags};
use crate::support::{TIMEOUT, becomes, cluster_config, connect, eventually, facts, failed, key, soon};

pub(crate) async fn the_newest_map_is_taken_whoever_is_asked_first() {
    let ([a, b, c], masters) = three().await;
    let promoted = Scripted::answering(VALUE).await.unwrap();
    let stores = connect(cluster_config(&urls([&a, &b, &c]))).await;
    let (cache, key) = (stores.cache_store().unwrap(), key_in(RANGES[0]));
    cache.get(&key).await.unwrap();
    // The first is cut off from the others, who have promoted its replica.
    says(&a, "a", &with_flags(&masters, "master,fail", |master| master.id != "a"));
    a.set_reply(b"-CLUSTERDOWN The cluster is down\r\n");
    let failed = Master { flags: "master,fail", slots: None, ..masters[0].clone() };
    let new = [master("r", promoted.addr(), 4, RANGES[0]), failed, masters[1].clone(), masters[2].clone()];
    for (server, me) in [(&b, "b"), (&c, "c"), (&promoted, "r")] {
        says(server, me, &new);
    }
    let served = eventually("its slots are served again", || cache.get(&key)).await;
    assert_eq!(served.as_deref(), Some(&b"v"[..]));
    assert!(promoted.requests("GET") > 0);
    // A service that begins now, whichever of the nodes it is given; the map of the one that is cut off leads to the others.
    for seeds in [urls([&a, &b, &c, &promoted]), urls([&a]), urls([&promoted])] {
        for _ in 0..5 {
            let late = connect(cluster_config(&seeds)).await;
            late.cache_store().unwrap().get(&key).await.unwrap();
        }
    }
}

pub(crate) async fn without_the_right_to_ask_for_nodes_the_majority_decides() {
    let ([a, b, c], masters) = three().await;
    let stores = connect(cluster_config(&urls([&a, &b, &c]))).await;
    let (cache, key) = (stores.cache_store().unwrap(), key_in(RANGES[0]));
    let new = [master("b", masters[1].addr, 2, (0, 10_922)), masters[2].clone()];
    for (server, me) in [(&b, "b"), (&c, "c")] {
        says(server, me, &new);
    }
    for server in [&a, &b, &c] {
        server
            .answer("NODES", b"-NOPERM this user has no permissions to run the 'cluster|nodes' command\r\n");
    }
    a.set_reply(b"-CLUSTERDOWN The cluster is down\r\n");
    let before = b.requests("GET");
    eventually("the other serves", || cache.get(&key)).await;
    assert!(b.requests("GET") > before);
}

pub(crate) async fn while_nothing_changes_several_are_asked_with_pauses() {
    let ([a, b, c], masters) = three().await;
    let (mut calls, begun) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
    for _ in 0..3 {
        let stores = connect(cluster_config(&urls([&a, &b, &c]))).await;
        let begun = Arc::clone(&begun);
        calls.spawn(async move {
            let (cache, key) = (stores.cache_store().unwrap(), key_in(RANGES[2]));
            cache.get(&key).await.unwrap();
            begun.fetch_add(1, Ordering::SeqCst);
            for _ in 0..120 {
                let _ = cache.get(&key).await;
                stores.environment().sleep(Duration::from_millis(50)).await;
            }
        });
    }
    // The third dies, and nobody takes its place.
    let gone = with_flags(&masters, "master,fail", |master| master.id == "c");
    says(&a, "a", &gone);
    says(&b, "b", &gone);
    // With the reply: one that is under way when the server dies is lost.
    soon("all have begun", || begun.load(Ordering::SeqCst) == 3).await;
    let asked = || [&a, &b].map(|server| server.requests("SLOTS"));
    let before = asked();
    drop(c);
    while let Some(called) = calls.join_next().await {
        called.unwrap();
    }
    let asked: Vec<_> = asked().iter().zip(before).map(|(after, before)| after - before).collect();
    // Each of the three: twice when it began, then every 50 to 100 ms for 1.5 seconds, in which a replica would take its place,
    // and then every 200 to 400 ms. That they are fewer after half a minute is shown where the pauses are decided.
    assert!(asked.iter().all(|times| *times >= 3), "{asked:?}");
    assert!(asked.iter().sum::<usize>() <= 3 * (3 + 30 + 23), "in 6 seconds: {asked:?}");
}

/// It is a replica now, and keeps the connections that it had.
pub(crate) async fn a_master_that_is_replaced_behind_its_address_is_left() {
    let (old, new) =
        (Scripted::answering(VALUE).await.unwrap(), Scripted::answering(b"$1\r\nw\r\n").await.unwrap());
    let proxy = Proxy::start(old.addr()).await.unwrap();
    let all = (0, 16_383);
    says(&old, "a", &[master("a", proxy.addr(), 1, all)]);
    for server in [&old, &new] {
        confirms_subscriptions(server);
    }
    let stores = connect(cluster_config(&[proxy.url()])).await;
    let topic = stores.topic::<UserUpdated>().unwrap();
    let mut events = topic.subscribe().await.unwrap();
    let cache = stores.cache_store().unwrap();
    assert_eq!(cache.get(&key("a")).await.unwrap().as_deref(), Some(&b"v"[..]));
    for round in 0..3 {
        let (from, to) = if round % 2 == 0 { (&old, &new) } else { (&new, &old) };
        proxy.forward_to(to.addr());
        let id = ["b", "c", "d"][round];
        says(from, "x", &[master(id, proxy.addr(), 2 + round as u64, all)]);
        says(to, id, &[master(id, proxy.addr(), 2 + round as u64, all)]);
        let value = if round % 2 == 0 { b'w' } else { b'v' };
        to.set_reply(&[b"$1\r\n", &[value][..], b"\r\n"].concat());
        from.set_reply(format!("-MOVED 866 {}\r\n", proxy.addr()).as_bytes());
        let subscribed = to.requests("SUBSCRIBE");
        // The call that finds it out succeeds.
        assert_eq!(cache.get(&key("a")).await.unwrap().as_deref(), Some(&[value][..]), "round {round}");
        assert!(matches!(next(&mut events).await, Delivery::Reconnected), "round {round}");
        assert_eq!(to.requests("SUBSCRIBE"), subscribed + 1);
        // Not before the next may be given up.
        stores.environment().sleep(Duration::from_secs(1)).await;
    }
}

/// A large batch has no deadline but that something comes.
pub(crate) async fn a_redirect_to_a_silent_master_ends_a_batch_soon() {
    let ([a, b, c], _masters) = three().await;
    let config = cluster_config(&urls([&a, &b, &c])).cache_deadline(Duration::from_millis(200));
    let cache = connect(config).await.cache_store().unwrap();
    let keys = vec![key_in(RANGES[0]); 40];
    b.answer("GET", b"");
    for code in ["MOVED", "ASK"] {
        a.answer("GET", format!("-{code} 866 {}\r\n", b.addr()).as_bytes());
        let reading = tokio::time::timeout(TIMEOUT, cache.get_many(&keys));
        let error = failed(reading.await.expect("it ends before the longest time"));
        assert_eq!(facts(&error), (ErrorKind::Timeout, Effect::NotApplied), "{code}: {error}");
        assert!(b.requests("GET") > 0);
    }
}

fn confirms_subscriptions(server: &Scripted) {
    server.answer("SUBSCRIBE", b">3\r\n$9\r\nsubscribe\r\n$19\r\nevents:user:channel\r\n:1\r\n");
    server.answer("PUBLISH", b":1\r\n");
}

async fn next(events: &mut stanchion::event::Events<UserUpdated>) -> Delivery<UserUpdated> {
    tokio::time::timeout(TIMEOUT, events.next()).await.expect("something comes").expect("it goes on")
}

fn event() -> UserUpdated {
    UserUpdated { user_id: "u".to_owned(), changed: Vec::new() }
}

/// Three masters, and a subscription at one of them, whose place is answered.
async fn subscribed() -> ([Scripted; 3], Vec<Master>, Stores, usize, stanchion::event::Events<UserUpdated>) {
    let (servers, masters) = three().await;
    servers.iter().for_each(confirms_subscriptions);
    let stores = connect(cluster_config(&urls(&servers))).await;
    let topic = stores.topic::<UserUpdated>().unwrap();
    let events = topic.subscribe().await.unwrap();
    let carrier = servers.iter().position(|server| server.requests("SUBSCRIBE") > 0).unwrap();
    topic.publish(&event()).await.unwrap();
    assert_eq!(servers[carrier].requests("PUBLISH"), 1, "at the same node");
    (servers, masters, stores, carrier, events)
}

/// What is subscribed to is at another node than it was, and what is published is there too.
async fn carried_elsewhere(servers: &[Scripted], stores: &Stores, before: usize) {
    let carries = |at: &usize| *at != before && servers[*at].requests("SUBSCRIBE") > 0;
    let carrier = (0..servers.len()).find(carries).unwrap();
    let published = servers[carrier].requests("PUBLISH");
    stores.topic::<UserUpdated>().unwrap().publish(&event()).await.unwrap();
    assert_eq!(servers[carrier].requests("PUBLISH"), published + 1);
}

/// No command fails: there are only events.
pub(crate) async fn subscriptions_leave_a_node_that_is_cut_off() {
    let (servers, masters, stores, carrier, mut events) = subscribed().await;
    let id = masters[carrier].id;
    for (server, master) in servers.iter().zip(&masters) {
        let gone = |other: &Master| (other.id == id) != (master.id == id);
        says(server, master.id, &with_flags(&masters, "master,fail", gone));
    }
    assert!(matches!(next(&mut events).await, Delivery::Reconnected));
    carried_elsewhere(&servers, &stores, carrier).await;
    // Now all of them are alone.
    for (server, master) in servers.iter().zip(&masters) {
        says(server, master.id, &with_flags(&masters, "master,fail", |other| other.id != master.id));
    }
    becomes(&stores, Health::Degraded).await;
    let topic = stores.topic::<UserUpdated>().unwrap();
    let published: usize = servers.iter().map(|server| server.requests("PUBLISH")).sum();
    let error = failed(topic.publish(&event()).await);
    assert_eq!(facts(&error), (ErrorKind::Unavailable, Effect::NotApplied), "{error}");
    assert_eq!(servers.iter().map(|server| server.requests("PUBLISH")).sum::<usize>(), published);
    let Err(error) = topic.subscribe().await else { panic!("to what nobody hears of") };
    assert_eq!(facts(&error), (ErrorKind::Unavailable, Effect::NotApplied), "{error}");
    for (server, master) in servers.iter().zip(&masters) {
        says(server, master.id, &masters);
    }
    assert!(matches!(next(&mut events).await, Delivery::Reconnected));
    let after = event();
    eventually("it is published", || topic.publish(&after)).await;
    becomes(&stores, Health::Up).await;
}

/// It has no slots any more, the others have forgotten it, and it lives on.
pub(crate) async fn subscriptions_leave_a_node_that_has_left_the_cluster() {
    let (servers, masters, stores, carrier, mut events) = subscribed().await;
    let heir = (carrier + 1) % 3;
    let mut left: Vec<_> =
        masters.iter().filter(|master| master.id != masters[carrier].id).cloned().collect();
    left.push(Master { epoch: 9, slots: masters[carrier].slots, ..masters[heir].clone() });
    for (server, master) in servers.iter().zip(&masters) {
        // To itself it is a master without slots.
        says(server, master.id, &left);
    }
    assert!(matches!(next(&mut events).await, Delivery::Reconnected));
    carried_elsewhere(&servers, &stores, carrier).await;
    becomes(&stores, Health::Up).await;
}
