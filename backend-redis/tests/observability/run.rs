//! What a run of the areas emits.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use stanchion::event::standard::UserUpdated;
use stanchion::prelude::*;
use stanchion_conformance::servers::{Cluster, Proxy, RedisProcess};
use stanchion_memory::MokaNear;
use stanchion_redis::{RedisBackend, RedisConfig};

use crate::PAGE;
use crate::contract::Contract;
use crate::observed::{Observed, Values};

/// For machines with much else to do.
const PATIENCE: Duration = Duration::from_secs(30);
/// The names that a run gives, here and in the library.
const NAMES: [&str; 3] = ["n", "user", "app"];
const ON: [&str; 3] = ["always", "occasion", "connection"];

fn config(url: &str) -> RedisConfig {
    let config = RedisConfig::standalone(url).unwrap().deadline(PATIENCE).cache_deadline(PATIENCE);
    config.ping_every(Duration::from_millis(20))
}

fn asking(config: RedisConfig) -> RedisConfig {
    config.command_spans(true).command_durations(true)
}

/// Something of most areas, with those kinds of connections that are opened by everyday use.
async fn use_all(stores: &Stores) -> Cache<u32> {
    let cache: Cache<u32> = stores.cache("n").near(MokaNear::entries(10)).build().unwrap();
    cache.get_or_load(1, || async { Ok::<_, Infallible>(1) }).await.unwrap();
    cache.set_many(&[(2, 2), (3, 3)]).await.unwrap();
    cache.get_many(&[2, 3]).await.unwrap();
    let topic = stores.topic::<UserUpdated>().unwrap();
    let mut events = topic.subscribe().await.unwrap();
    topic.publish(&UserUpdated { user_id: "secret-id".into(), changed: Vec::new() }).await.unwrap();
    assert!(matches!(events.next().await, Some(Delivery::Event { .. })));
    let guard = stores.locks().unwrap().acquire("secret-id").await.unwrap();
    guard.release().await.unwrap();
    let sessions = stores.sessions().build().unwrap();
    sessions.create("secret-id", Patch::new()).await.unwrap().unwrap();
    cache
}

async fn eventually(stores: &Stores, what: &str, is: impl Fn() -> bool) {
    let environment = stores.environment();
    let give_up_at = environment.clock.now().saturating_add(PATIENCE);
    while !is() {
        assert!(environment.clock.now() < give_up_at, "{what}");
        environment.sleep(Duration::from_millis(5)).await;
    }
}

/// What was emitted is on the page, and says nothing of what it is about.
fn is_known(contract: &Contract, observed: &Observed) {
    assert_eq!(contract.unknown(observed, &NAMES), [""; 0], "emitted, and not on the page");
    let labels = observed.metrics().into_iter().flat_map(|series| series.labels);
    let values = observed.values("redis.command").into_iter().flatten().chain(labels);
    for (name, value) in values {
        assert!(!value.contains("secret") && !value.contains("_OTHER"), "{name}: {value}");
    }
}

pub(crate) async fn connections(observed: Observed) {
    let contract = Contract::of(PAGE);
    let server = RedisProcess::start().await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let stores = RedisBackend::connect(config(&proxy.url())).await.unwrap().stores();
    let _cache = use_all(&stores).await;
    let topic = stores.topic::<UserUpdated>().unwrap();
    let _events = topic.subscribe().await.unwrap();
    let keys: Vec<_> = (0..20).map(|n| Key::new("cache", "n", n).unwrap()).collect();
    stores.cache_store().unwrap().get_many(&keys).await.unwrap();
    let (lock, token) = (Key::new("locks", "lock", "n").unwrap(), stanchion::lock::LockToken::new([1; 16]));
    let (fence, lease) = (stanchion::lock::Fence::new(1), stanchion::time::Ttl::new(PATIENCE).unwrap());
    let lease = stanchion::lock::Lease::new(lock, token, fence, lease);
    stores.locker().unwrap().renew(&[lease]).await.unwrap();
    let round_trips = || {
        let series = observed.metrics();
        series.iter().filter(|series| series.name == "stanchion_connection_round_trip_seconds").count()
    };
    // That of the renewals is measured by their own thread, which has no recorder: this one is installed for one thread alone.
    eventually(&stores, "a heartbeat of each", || round_trips() == 4).await;
    proxy.cut();
    // Those of the renewals are not recorded here, as said, and there are no sentinels.
    let elsewhere = |name: &String| name.contains("=renewals") || name.contains("=sentinels");
    let missing =
        || contract.missing(&observed, &["connection"]).into_iter().filter(|name| !elsewhere(name)).count();
    eventually(&stores, "all are back", || missing() == 0).await;
    is_known(&contract, &observed);
    assert_eq!(contract.untimely(&observed, &ON), [""; 0], "off unless asked for");
    assert!(observed.logs().iter().any(|log| log.text == "reconnected"));
    stores.close(PATIENCE).await.unwrap();
}

pub(crate) async fn commands(observed: Observed) {
    let contract = Contract::of(PAGE);
    let server = RedisProcess::start().await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let stores = RedisBackend::connect(asking(config(&proxy.url()))).await.unwrap().stores();
    use_all(&stores).await;

    // A list where a value is looked for, and a caller that leaves.
    server.command(&["LPUSH", "cache:n:9", "a"]).await.unwrap();
    let store = stores.cache_store().unwrap();
    store.get(&Key::new("cache", "n", 9).unwrap()).await.unwrap_err();
    proxy.freeze();
    let key = Key::new("cache", "n", 8).unwrap();
    let mut left = store.get(&key);
    assert!(futures_util::poll!(left.as_mut()).is_pending());
    drop(left);
    proxy.thaw();

    is_known(&contract, &observed);
    assert_eq!(contract.missing(&observed, &["commands"]), [""; 0], "on the page, and not emitted");
    let spans = observed.values("redis.command");
    let port = proxy.addr().port().to_string();
    for span in &spans {
        let of = |field: &str| span.get(field).map_or("", String::as_str);
        assert_eq!(
            (of("db.system.name"), of("otel.kind"), of("server.address")),
            ("redis", "client", "127.0.0.1")
        );
        assert_eq!((of("otel.name"), of("server.port")), (of("db.operation.name"), port.as_str()));
    }
    let any = |wanted: &[(&str, &str)]| {
        let is = |span: &Values| {
            wanted.iter().all(|(field, value)| span.get(*field).is_some_and(|is| is == value))
        };
        assert!(spans.iter().any(is), "no span has {wanted:?}");
    };
    any(&[
        ("db.operation.name", "GET"),
        ("error.type", "WRONGTYPE"),
        ("db.response.status_code", "WRONGTYPE"),
    ]);
    any(&[("db.operation.name", "GET"), ("error.type", "cancelled")]);
    any(&[("db.operation.name", "EVALSHA"), ("error.type", "NOSCRIPT")]);
    any(&[("db.operation.name", "EVAL"), ("db.stored_procedure.name", "session_create")]);
    any(&[("db.operation.name", "PUBLISH")]);
    any(&[("db.operation.name", "PIPELINE EVALSHA"), ("db.operation.batch.size", "2")]);
    any(&[("db.operation.name", "PIPELINE EVAL"), ("db.stored_procedure.name", "cache_set")]);
    let failed =
        observed.metrics().into_iter().filter(|series| series.name == "db.client.operation.duration");
    let types: BTreeSet<_> =
        failed.filter_map(|series| series.labels.get(2).map(|(_, value)| value.clone())).collect();
    assert_eq!(types, BTreeSet::from(["NOSCRIPT", "WRONGTYPE", "cancelled"].map(str::to_owned)));
    stores.close(PATIENCE).await.unwrap();
}

pub(crate) async fn cluster(observed: Observed) {
    let contract = Contract::of(PAGE);
    let cluster = Cluster::start().await.unwrap();
    let urls = cluster.urls();
    let config = RedisConfig::cluster(urls.iter().map(String::as_str)).unwrap();
    let stores = RedisBackend::connect(asking(config.deadline(PATIENCE))).await.unwrap().stores();
    let cache: Cache<u32> = stores.cache("n").build().unwrap();
    for id in 0..50 {
        cache.set(id, &id).await.unwrap();
    }
    is_known(&contract, &observed);
    let ports: BTreeSet<_> = observed
        .values("redis.command")
        .into_iter()
        .filter_map(|mut span| span.remove("server.port"))
        .collect();
    let servers: BTreeSet<_> = cluster.nodes().iter().map(|node| node.addr().port().to_string()).collect();
    assert!(ports.len() > 1 && ports.is_subset(&servers), "{ports:?} of {servers:?}");
    stores.close(PATIENCE).await.unwrap();
}
