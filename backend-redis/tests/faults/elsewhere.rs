//! One of the connections reaches another server than the others.

use std::time::Duration;

use stanchion::cache::Cache;
use stanchion::environment::Health;
use stanchion::event::standard::UserUpdated;
use stanchion::event::{Delivery, Events};
use stanchion::stores::Stores;
use stanchion_conformance::servers::until;
use stanchion_memory::MokaNear;
use stanchion_redis::RedisConfig;

use crate::pair::{Kind, Pair};
use crate::support::{TIMEOUT, becomes, config, connect, send, soon};

/// No heartbeat comes in the time of a case.
const NEVER: Duration = Duration::from_hours(1);

/// A service with a near cache and a subscription; all of its connections are at the server that the pair begins with.
struct Service {
    stores: Stores,
    names: Cache<String>,
    events: Events<UserUpdated>,
}

fn names(stores: &Stores) -> Cache<String> {
    stores.cache("user").ttl(Duration::from_hours(1)).near(MokaNear::entries(10)).build().unwrap()
}

fn updated(id: &str) -> UserUpdated {
    UserUpdated { user_id: id.to_owned(), changed: Vec::new() }
}

impl Service {
    async fn start(config: RedisConfig) -> Self {
        let stores = connect(config).await;
        let names = names(&stores);
        let events = stores.topic::<UserUpdated>().unwrap().subscribe().await.unwrap();
        let service = Self { stores, names, events };
        service.names.set("u1", &"old".to_owned()).await.unwrap();
        service.is_near().await;
        service
    }

    /// Waits until the name is served from this process.
    async fn is_near(&self) {
        until("a near hit", TIMEOUT, || async {
            let before = self.names.stats().near_hits;
            self.names.get("u1").await.map_err(|error| error.to_string())?;
            if self.names.stats().near_hits > before { Ok(()) } else { Err("not yet".to_owned()) }
        })
        .await
        .unwrap();
    }

    /// Everything is at `b`: another process there changes the name, and publishes.
    async fn works_at_b(mut self, pair: &Pair) {
        let other = connect(config(&pair.b.url())).await;
        let next = tokio::time::timeout(TIMEOUT, self.events.next()).await;
        assert!(matches!(next, Ok(Some(Delivery::Reconnected))), "{next:?}");
        becomes(&self.stores, Health::Up).await;
        self.is_near().await;
        becomes_equal(&self, &names(&other), "new").await;
        other.topic::<UserUpdated>().unwrap().publish(&updated("there")).await.unwrap();
        self.receives("there").await;
        self.stores.topic::<UserUpdated>().unwrap().publish(&updated("here")).await.unwrap();
        self.receives("here").await;
        // And nothing of ours is left at the other server.
        until("no connection is left", TIMEOUT, || async {
            let list = send(&pair.a, &["CLIENT", "LIST"]).await.text();
            let left: Vec<_> = list.lines().filter(|line| !line.contains("cmd=client")).collect();
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        })
        .await
        .unwrap();
    }

    async fn receives(&mut self, id: &str) {
        match tokio::time::timeout(TIMEOUT, self.events.next()).await {
            Ok(Some(Delivery::Event { data, .. })) => assert_eq!(data.user_id, id),
            other => panic!("{other:?}"),
        }
    }
}

/// The connection of this kind breaks, and its address leads to another server by then: the others follow.
async fn the_others_follow(kind: Kind, user: &str) {
    let pair = Pair::start().await;
    for server in [&pair.a, &pair.b] {
        send(server, &["ACL", "SETUSER", "svc", "on", ">pw", "~*", "&*", "+@all"]).await;
        send(server, &["ACL", "SETUSER", "few", "on", ">pw", "~*", "&*", "+@all", "-info", "-role"]).await;
    }
    let url = pair.proxy.url().replace("redis://", &format!("redis://{user}:pw@"));
    let service = Service::start(config(&url).ping_every(NEVER)).await;
    pair.in_sync().await;
    pair.part().await;
    pair.proxy.forward_to(pair.b.addr());
    pair.kill(&pair.a, kind).await;
    service.works_at_b(&pair).await;
}

pub(crate) async fn all_follow_the_commands() {
    the_others_follow(Kind::Commands, "svc").await;
}

/// An address that leads now here, now there: calls go on where they are, and nothing is served that they may not see change.
pub(crate) async fn the_feed_is_down_until_it_is_where_commands_are() {
    let pair = Pair::start().await;
    let service = Service::start(config(&pair.proxy.url()).ping_every(NEVER)).await;
    pair.in_sync().await;
    pair.part().await;
    pair.proxy.forward_to(pair.b.addr());
    pair.kill(&pair.a, Kind::Invalidations).await;
    // Without a feed of its own at that server.
    let there = connect(config(&pair.b.url()).without_feed()).await;
    let other: Cache<String> = there.cache("user").ttl(Duration::from_hours(1)).build().unwrap();
    becomes_equal(&service, &other, "at b").await;
    becomes(&service.stores, Health::Up).await;
    // Commands have just been moved.
    pair.proxy.forward_to(pair.a.addr());
    pair.kill(&pair.b, Kind::Invalidations).await;
    becomes(&service.stores, Health::Degraded).await;
    let attempts = pair.proxy.connections();
    soon("attempts", || pair.proxy.connections() > attempts + 2).await;
    let near_hits = service.names.stats().near_hits;
    for text in ["1", "2", "3"] {
        other.set("u1", &text.to_owned()).await.unwrap();
        assert_eq!(*service.names.get("u1").await.unwrap().unwrap(), text);
    }
    assert_eq!(
        (service.names.stats().near_hits, service.stores.health().current()),
        (near_hits, Health::Degraded)
    );
    pair.proxy.forward_to(pair.b.addr());
    becomes(&service.stores, Health::Up).await;
    service.is_near().await;
    becomes_equal(&service, &other, "at b again").await;
}

/// A change that is made elsewhere is seen.
async fn becomes_equal(service: &Service, other: &Cache<String>, text: &str) {
    other.set("u1", &text.to_owned()).await.unwrap();
    until(text, TIMEOUT, || async {
        match service.names.get("u1").await {
            Ok(Some(name)) if *name == text => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
}

pub(crate) async fn all_follow_the_invalidations() {
    the_others_follow(Kind::Invalidations, "svc").await;
}

pub(crate) async fn all_follow_the_subscriptions() {
    the_others_follow(Kind::Subscriptions, "svc").await;
}

/// A user who may not ask which server it is.
pub(crate) async fn all_follow_the_commands_without_a_name_too() {
    the_others_follow(Kind::Commands, "few").await;
}
