//! Subscriptions while the server is away.

use std::fmt::Debug;

use futures_util::StreamExt as _;
use stanchion::environment::Health;
use stanchion::event::standard::{TokenRevoked, UserUpdated};
use stanchion::event::{Delivery, Events, Received, SubscribeOptions, Topic};
use stanchion::key::Name;
use stanchion::{Effect, ErrorKind};
use stanchion_conformance::servers::{Cluster, Proxy, RedisProcess, until};

use crate::support::{TIMEOUT, becomes, cluster_config, config, connect, eventually, facts, send, soon};

fn updated(id: &str) -> UserUpdated {
    UserUpdated { user_id: id.to_owned(), changed: Vec::new() }
}

async fn next<E: stanchion::event::Event + Debug>(events: &mut Events<E>) -> Delivery<E> {
    tokio::time::timeout(TIMEOUT, events.next()).await.expect("something comes").expect("it goes on")
}

async fn arrives(topic: &Topic<UserUpdated>, events: &mut Events<UserUpdated>, id: &str) {
    topic.publish(&updated(id)).await.unwrap();
    match next(events).await {
        Delivery::Event { data, .. } => assert_eq!(data.user_id, id),
        other => panic!("{other:?} and not {id}"),
    }
}

pub(crate) async fn an_outage_is_reported_and_events_flow_again() {
    let server = RedisProcess::start().await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let (stores, other) = (connect(config(&proxy.url())).await, connect(config(&server.url())).await);
    let (here, there) = (stores.topic::<UserUpdated>().unwrap(), other.topic::<UserUpdated>().unwrap());
    let mut events = here.subscribe().await.unwrap();
    arrives(&there, &mut events, "before").await;
    for round in 0..3 {
        proxy.refuse().await;
        proxy.cut();
        becomes(&stores, Health::Down).await;
        // The connection of the subscriptions may take a moment longer to notice.
        let refusing = until("subscribing fails", TIMEOUT, || async {
            match here.subscribe().await {
                Err(error) => Ok(error),
                Ok(_) => Err("it was live"),
            }
        });
        let error = refusing.await.unwrap();
        assert_eq!(facts(&error), (ErrorKind::Unavailable, Effect::NotApplied), "{error}");
        there.publish(&updated("missed")).await.unwrap();
        proxy.accept().await;
        assert!(matches!(next(&mut events).await, Delivery::Reconnected), "round {round}");
        arrives(&there, &mut events, &format!("after {round}")).await;
        // Who came later has missed nothing.
        let mut late = eventually("a new subscription", || here.subscribe()).await;
        arrives(&there, &mut late, "late").await;
        assert!(matches!(next(&mut events).await, Delivery::Event { .. }));
    }
    // The connection that breaks may be that of the subscriptions alone.
    let channel = "events:user:channel";
    assert_eq!(send(&server, &["PUBSUB", "NUMSUB", channel]).await.items()[1].int(), Some(1));
    send(&server, &["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    assert!(matches!(next(&mut events).await, Delivery::Reconnected));
    arrives(&there, &mut events, "after its own").await;
    becomes(&stores, Health::Up).await;
    // And the server itself.
    server.kill().unwrap();
    becomes(&stores, Health::Down).await;
    server.restart().await.unwrap();
    assert!(matches!(next(&mut events).await, Delivery::Reconnected));
    becomes(&other, Health::Up).await;
    arrives(&there, &mut events, "after the restart").await;
    drop(events);
    until("it ends at the server", TIMEOUT, || async {
        let subscribed = send(&server, &["PUBSUB", "NUMSUB", channel]).await.items()[1].int();
        if subscribed == Some(0) { Ok(()) } else { Err(format!("{subscribed:?}")) }
    })
    .await
    .unwrap();
}

pub(crate) async fn on_a_cluster_another_node_takes_over() {
    let (cluster, proxies) = Cluster::start_behind_proxies().await.unwrap();
    let (stores, other) =
        (connect(cluster_config(&cluster.urls())).await, connect(cluster_config(&cluster.urls())).await);
    let (here, there) = (stores.topic::<UserUpdated>().unwrap(), other.topic::<UserUpdated>().unwrap());
    let mut events = here.subscribe().await.unwrap();
    arrives(&there, &mut events, "before").await;
    for round in 0..2 {
        let carrier = proxies.iter().position(|proxy| proxy.requests("SUBSCRIBE") > 0).unwrap();
        proxies.iter().for_each(Proxy::forget_requests);
        proxies[carrier].refuse().await;
        proxies[carrier].cut();
        loop {
            match next(&mut events).await {
                Delivery::Reconnected => break,
                // That of the round before, published twice because its first answer was lost.
                Delivery::Event { data, .. } => assert_ne!(data.user_id, format!("round {round}")),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(proxies[carrier].requests("SUBSCRIBE"), 0);
        let after = updated(&format!("round {round}"));
        eventually("it is published", || there.publish(&after)).await;
        let Delivery::Event { data, .. } = next(&mut events).await else { panic!("no event") };
        assert_eq!(data.user_id, after.user_id);
        proxies[carrier].accept().await;
        becomes(&stores, Health::Up).await;
        becomes(&other, Health::Up).await;
    }
}

pub(crate) async fn a_lost_confirmation_leaves_no_subscription() {
    let server = RedisProcess::start().await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let (stores, other) = (connect(config(&proxy.url())).await, connect(config(&server.url())).await);
    let (here, there) = (stores.topic::<UserUpdated>().unwrap(), other.topic::<UserUpdated>().unwrap());
    for round in 1..=3 {
        proxy.drop_next_reply_to("SUBSCRIBE");
        let Err(error) = here.subscribe().await else { panic!("it was never confirmed") };
        assert_eq!(facts(&error), (ErrorKind::Unavailable, Effect::NotApplied), "{error}");
        assert_eq!(error.operation(), Some("event.subscribe"));
        assert_eq!(proxy.dropped_replies(), round);
        until("no subscription is left", TIMEOUT, || async {
            let subscribed = send(&server, &["PUBSUB", "NUMSUB", "events:user:channel"]).await;
            let subscribed = subscribed.items()[1].int();
            if subscribed == Some(0) { Ok(()) } else { Err(format!("{subscribed:?}")) }
        })
        .await
        .unwrap();
        let mut events = eventually("a subscription", || here.subscribe()).await;
        arrives(&there, &mut events, "live").await;
        drop(events);
        soon("it has ended", || proxy.requests("UNSUBSCRIBE") >= round).await;
    }
}

/// A user that may do everything, but on no other channel than that of the domain `user`.
async fn restrict(server: &RedisProcess, channels: &[&str]) {
    let words = ["ACL", "SETUSER", "svc", "on", ">pw", "~*", "+@all", "resetchannels"];
    let words: Vec<_> = words.iter().chain(channels).copied().collect();
    send(server, &words).await;
}

const USER: &str = "&events:user:channel";
const AUTH: &str = "&events:auth:channel";

fn logged_out() -> TokenRevoked {
    TokenRevoked { user_id: "u1".into(), jti: None }
}

pub(crate) async fn a_denied_channel_ends_its_own_subscriptions() {
    let server = RedisProcess::start().await.unwrap();
    restrict(&server, &[USER, AUTH]).await;
    let url = server.url().replace("redis://", "redis://svc:pw@");
    let (stores, other) = (connect(config(&url)).await, connect(config(&server.url())).await);
    let (users, revocations) =
        (stores.topic::<UserUpdated>().unwrap(), stores.topic::<TokenRevoked>().unwrap());
    let mut allowed = users.subscribe().await.unwrap();
    let mut denied = revocations.subscribe().await.unwrap();
    let bus = stores.event_bus().unwrap();
    let name = |name| Name::new(name).unwrap();
    let mut both = bus.subscribe(SubscribeOptions::new(name("user")).and(name("auth"))).await.unwrap();
    // The server ends a connection that listens where it may not any more.
    restrict(&server, &[USER]).await;
    assert!(matches!(next(&mut allowed).await, Delivery::Reconnected));
    let there = other.topic::<UserUpdated>().unwrap();
    for n in 0..10 {
        arrives(&there, &mut allowed, &format!("after {n}")).await;
    }
    let Delivery::Ended(error) = next(&mut denied).await else { panic!("it goes on") };
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Denied, Some("event.receive")), "{error}");
    assert!(denied.next().await.is_none());
    let last = tokio::time::timeout(TIMEOUT, both.next()).await.unwrap();
    assert!(matches!(&last, Some(Received::Ended(error)) if error.kind() == ErrorKind::Denied), "{last:?}");
    assert!(both.next().await.is_none());
    assert_eq!(stores.health().current(), Health::Up);
    // Another subscriber of what is allowed, and one of what is not.
    drop(users.subscribe().await.unwrap());
    let Err(error) = revocations.subscribe().await else { panic!("it is denied") };
    assert_eq!(facts(&error), (ErrorKind::Denied, Effect::NotApplied), "{error}");
    arrives(&there, &mut allowed, "still").await;
    restrict(&server, &[USER, AUTH]).await;
    let mut again = eventually("it is allowed", || revocations.subscribe()).await;
    other.topic().unwrap().publish(&logged_out()).await.unwrap();
    assert!(matches!(next(&mut again).await, Delivery::Event { .. }));
}

pub(crate) async fn a_denied_channel_keeps_no_first_subscription_from_another() {
    let server = RedisProcess::start().await.unwrap();
    restrict(&server, &[USER]).await;
    let url = server.url().replace("redis://", "redis://svc:pw@");
    for _ in 0..20 {
        let stores = connect(config(&url)).await;
        let (users, revocations) =
            (stores.topic::<UserUpdated>().unwrap(), stores.topic::<TokenRevoked>().unwrap());
        let (denied, allowed) = tokio::join!(revocations.subscribe(), users.subscribe());
        let Err(error) = denied else { panic!("it is denied") };
        assert_eq!(facts(&error), (ErrorKind::Denied, Effect::NotApplied), "{error}");
        arrives(&users, &mut allowed.unwrap(), "one").await;
    }
}
