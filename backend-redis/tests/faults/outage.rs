//! The server is down or the connection broken, under load: what errors say is true, and calls recover by themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use stanchion::cache::AllParts as _;
use stanchion::cache::SetOptions;
use stanchion::clock::ManualClock;
use stanchion::environment::{Environment, Health};
use stanchion::key::Key;
use stanchion::stores::Stores;
use stanchion::time::seconds;
use stanchion::{Effect, Error, ErrorKind};
use stanchion_conformance::servers::{Cluster, Proxy, RedisProcess};
use tokio::task::JoinSet;

use crate::operations::{ALL, value};
use crate::support::{
    TIMEOUT, becomes, cluster_config, config, connect, eventually, facts, failed, hour, key, soon,
};

/// The outcomes of the workers' calls.
#[derive(Debug, Default)]
struct Tally {
    done: AtomicI64,
    unknown: AtomicI64,
    not_applied: AtomicI64,
    stop: AtomicBool,
}

impl Tally {
    fn failed(&self, error: &Error, writes: bool) {
        assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout), "{error}");
        match error.effect() {
            Effect::Unknown => {
                assert!(writes, "a read is in no doubt: {error}");
                count(&self.unknown);
            }
            Effect::NotApplied => count(&self.not_applied),
        }
    }
}

fn count(counter: &AtomicI64) {
    counter.fetch_add(1, Ordering::SeqCst);
}

fn read(counter: &AtomicI64) -> i64 {
    counter.load(Ordering::SeqCst)
}

/// Workers that add one to one of the counters, again and again.
fn adding(stores: &Stores, tally: &Arc<Tally>) -> JoinSet<()> {
    let mut workers = JoinSet::new();
    for worker in 0..16 {
        let (stores, tally) = (stores.clone(), Arc::clone(tally));
        workers.spawn(async move {
            let cache = stores.cache_store().unwrap();
            let counter = counter(worker % COUNTERS);
            while !tally.stop.load(Ordering::SeqCst) {
                match cache.add(&counter, 1, hour()).await {
                    Ok(_) => count(&tally.done),
                    Err(error) => {
                        tally.failed(&error, true);
                        // A failure comes at once: nobody needs a million of them.
                        stores.environment().sleep(Duration::from_millis(1)).await;
                    }
                }
            }
        });
    }
    workers
}

/// The sum of a counter; made if there is none.
async fn sum_of(stores: &Stores, counter: &Key) -> i64 {
    let cache = stores.cache_store().unwrap();
    eventually("the sum", || cache.add(counter, 0, hour())).await
}

const COUNTERS: usize = 8;

fn counter(number: usize) -> Key {
    key(&format!("counter{number}"))
}

/// Breaks the links again and again while additions run. What was answered `Ok` is there, what was said to be not
/// applied is not, and only what is unknown may be either.
async fn additions_are_there(stores: &Stores, proxies: &[Proxy]) {
    let tally = Arc::new(Tally::default());
    let workers = adding(stores, &tally);
    let mut rounds = 0;
    while rounds < 12 || (read(&tally.unknown) == 0 && rounds < 200) {
        let (done, refused) = (read(&tally.done), read(&tally.not_applied));
        soon("additions go on", || read(&tally.done) >= done + 100).await;
        let proxy = &proxies[rounds % proxies.len()];
        if rounds % 2 == 0 {
            proxy.cut();
        } else {
            proxy.refuse().await;
            proxy.cut();
            soon("additions fail fast", || read(&tally.not_applied) >= refused + 20).await;
            proxy.accept().await;
        }
        rounds += 1;
    }
    tally.stop.store(true, Ordering::SeqCst);
    workers.join_all().await;
    becomes(stores, Health::Up).await;
    let mut sum = 0;
    for number in 0..COUNTERS {
        sum += sum_of(stores, &counter(number)).await;
    }
    let (done, unknown) = (read(&tally.done), read(&tally.unknown));
    assert!(done <= sum && sum <= done + unknown, "{sum} of {tally:?}");
    assert!(unknown > 0, "nothing was in flight: {tally:?}");
}

pub(crate) async fn acknowledged_additions_are_there() {
    let server = RedisProcess::start().await.unwrap();
    let proxies = [Proxy::start(server.addr()).await.unwrap()];
    additions_are_there(&connect(config(&proxies[0].url())).await, &proxies).await;
}

pub(crate) async fn acknowledged_additions_are_there_on_a_cluster() {
    let (cluster, proxies) = Cluster::start_behind_proxies().await.unwrap();
    additions_are_there(&connect(cluster_config(&cluster.urls())).await, &proxies).await;
}

pub(crate) async fn a_killed_server_fails_fast_and_recovers() {
    let server = RedisProcess::start().await.unwrap();
    let stores = connect(config(&server.url())).await;
    let tally = Arc::new(Tally::default());
    let mut workers = adding(&stores, &tally);
    for worker in 0..16 {
        let (stores, tally) = (stores.clone(), Arc::clone(&tally));
        workers.spawn(async move {
            let (cache, a) = (stores.cache_store().unwrap(), key(&format!("v{worker}")));
            while !tally.stop.load(Ordering::SeqCst) {
                let set = cache.set(&a, value(), &SetOptions::new(hour())).await;
                let got = cache.get(&a).await;
                for (error, writes) in [(set.err(), true), (got.err(), false)] {
                    if let Some(error) = error {
                        tally.failed(&error, writes);
                        stores.environment().sleep(Duration::from_millis(1)).await;
                    }
                }
            }
        });
    }
    for _ in 0..2 {
        let done = read(&tally.done);
        soon("additions go on", || read(&tally.done) > done + 100).await;
        server.kill().unwrap();
        becomes(&stores, Health::Down).await;
        // At once, not at the deadline of ten seconds.
        for operation in ALL {
            let call =
                || async { tokio::time::timeout(Duration::from_secs(5), (operation.run)(&stores)).await };
            let mut error = failed(call().await.expect("it fails fast"));
            // Renewals have a connection of their own, which may read that the server has ended a moment later than the one
            // that tells the health; what was written to it until then may have been applied, for all it knows.
            if operation.name == "lock.renew" && error.effect() == Effect::Unknown {
                error = failed(call().await.expect("it fails fast"));
            }
            assert_eq!(facts(&error), (ErrorKind::Unavailable, Effect::NotApplied), "{error}");
            assert_eq!((error.operation(), error.backend()), (Some(operation.name), Some("redis")));
        }
        let done = read(&tally.done);
        server.restart().await.unwrap();
        becomes(&stores, Health::Up).await;
        soon("additions are done again", || read(&tally.done) > done + 100).await;
    }
    tally.stop.store(true, Ordering::SeqCst);
    workers.join_all().await;
    for operation in ALL {
        eventually(operation.name, || (operation.run)(&stores)).await;
    }
}

pub(crate) async fn a_half_open_connection_times_out_and_is_noticed() {
    let server = RedisProcess::start().await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let stores = connect(config(&proxy.url()).deadline(Duration::from_millis(300))).await;
    let cache = stores.cache_store().unwrap();
    assert_eq!(sum_of(&stores, &key("n")).await, 0);
    becomes(&stores, Health::Up).await;
    proxy.freeze();
    let (add, get) = (key("n"), key("a"));
    let (added, got) = tokio::join!(cache.add(&add, 1, hour()), cache.get(&get));
    assert_eq!(facts(&failed(added)), (ErrorKind::Timeout, Effect::Unknown));
    assert_eq!(facts(&failed(got)), (ErrorKind::Timeout, Effect::NotApplied));
    // The heartbeat that the first of them caused has no reply either.
    becomes(&stores, Health::Down).await;
    let error = failed(cache.add(&key("n"), 1, hour()).await);
    assert_eq!(facts(&error), (ErrorKind::Unavailable, Effect::NotApplied), "{error}");
    proxy.thaw();
    becomes(&stores, Health::Up).await;
    eventually("it is as it was", || async {
        let found = cache.get(&key("n")).await?;
        assert_eq!(found.unwrap(), "0", "what was sent into the ice is gone");
        Ok(())
    })
    .await;
}

pub(crate) async fn an_idle_half_open_connection_is_noticed_by_its_heartbeat() {
    let server = RedisProcess::start().await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let clock = ManualClock::new();
    let environment = Environment::system().clock(Arc::new(clock.clone()));
    let settings = config(&proxy.url()).deadline(Duration::from_secs(1)).environment(environment);
    let stores = connect(settings).await;
    soon("the time of the next ping", || clock.sleepers() > 0).await;
    // A connection that is well stays.
    let pings = proxy.requests("TIME");
    clock.advance(seconds(5));
    soon("a ping", || proxy.requests("TIME") > pings).await;
    soon("the time of the next ping", || clock.sleepers() > 0).await;
    assert_eq!((stores.health().current(), proxy.connections()), (Health::Up, 1));
    proxy.freeze();
    clock.advance(seconds(5));
    becomes(&stores, Health::Down).await;
    proxy.thaw();
    soon("another connection", || {
        clock.advance(seconds(2));
        stores.health().current() == Health::Up
    })
    .await;
}

/// The server hangs, its kernel does not: what was sent may still be carried out later.
pub(crate) async fn a_hanging_server_times_out_and_goes_on() {
    let server = RedisProcess::start().await.unwrap();
    let stores = connect(config(&server.url()).deadline(Duration::from_secs(1))).await;
    let cache = stores.cache_store().unwrap();
    assert_eq!(sum_of(&stores, &key("n")).await, 0);
    server.pause().unwrap();
    let mut unknown = 0;
    let added = tokio::time::timeout(TIMEOUT, async {
        while stores.health().current() != Health::Down {
            let error = failed(cache.add(&key("n"), 1, hour()).await);
            assert!(matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable), "{error}");
            unknown += i64::from(error.effect() == Effect::Unknown);
        }
    });
    added.await.unwrap();
    assert!(unknown > 0);
    server.resume().unwrap();
    becomes(&stores, Health::Up).await;
    let sum = sum_of(&stores, &key("n")).await;
    assert!((0..=unknown).contains(&sum), "{sum} of {unknown}");
}
