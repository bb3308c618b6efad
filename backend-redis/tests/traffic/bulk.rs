//! Large batches over a slow link, and what goes on beside them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use stanchion::cache::AllParts as _;
use stanchion::cache::{CacheStore, SetEntry, SetOptions};
use stanchion::clock::{Clock, SystemClock};
use stanchion::environment::Health;
use stanchion::key::{Key, Name};
use stanchion::limit::Tier;
use stanchion::lock::{Fence, Lease, LockState, LockToken};
use stanchion::stores::Stores;
use stanchion::time::Ttl;
use stanchion::token::TokenFacts;
use stanchion::{ErrorKind, Result};
use stanchion_conformance::servers::{Cluster, RedisProcess, ThrottledLink, until};
use stanchion_redis::{RedisBackend, RedisConfig};

use crate::{TIMEOUT, key, ttl};

const LARGE: usize = 100_000;
const KEYS: usize = 600;
const LEASE: Duration = Duration::from_secs(3);
const ROUNDS: usize = 105;
const BETWEEN: Duration = Duration::from_millis(100);

fn keys(count: usize) -> Vec<Key> {
    (0..count).map(|at| key(format!("large{at}"))).collect()
}

/// Writes a large value for each of these keys, past any link.
async fn fill(server: &RedisProcess, keys: &[Key], bytes: usize) {
    let config = RedisConfig::standalone(&server.url()).unwrap().deadline(TIMEOUT);
    let cache = RedisBackend::connect(config).await.unwrap().stores().cache_store().unwrap();
    let value = Bytes::from(vec![b'x'; bytes]);
    let entry = |key: &Key| SetEntry::new(key.clone(), value.clone(), SetOptions::new(ttl()));
    let _ = cache.set_many(&keys.iter().map(entry).collect::<Vec<_>>()).await.unwrap();
}

/// Reads small batches until they go by the connection for bulk. Until it is there they go by that for commands.
async fn open_bulk(server: &RedisProcess, cache: &dyn CacheStore) {
    let absent: Vec<_> = (0..40).map(|at| key(format!("absent{at}"))).collect();
    until("a connection for bulk", TIMEOUT, async || {
        cache.get_many(&absent).await.map_err(|error| error.to_string())?;
        let names = names(server).await;
        let used = |line: &str| line.contains("name=stanchion:bulk") && line.contains("cmd=get");
        if names.lines().any(used) { Ok(()) } else { Err(names) }
    })
    .await
    .unwrap();
}

async fn pause(time: Duration) {
    SystemClock.sleep_until(SystemClock.now().saturating_add(time)).await;
}

/// How long calls took; shown, since the machine may be busy.
#[derive(Default)]
struct Took(Vec<Duration>);

impl Took {
    async fn of<T>(&mut self, work: impl Future<Output = Result<T>>) -> T {
        let began = SystemClock.now();
        let outcome = work.await;
        self.0.push(SystemClock.now().saturating_since(began));
        outcome.unwrap()
    }

    fn show(mut self, what: &str) {
        self.0.sort_unstable();
        let share = |percent| self.0.get(self.0.len() * percent / 100);
        println!("{what}: p50 {:?}, p99 {:?}", share(50), share(99));
    }
}

/// Reads all of them again and again, until it is stopped; answers how often it did.
async fn read_on(cache: Arc<dyn CacheStore>, keys: Vec<Key>, stopped: Arc<AtomicBool>) -> usize {
    let mut times = 0;
    while !stopped.load(Ordering::Relaxed) {
        let values = cache.get_many(&keys).await.unwrap();
        assert!(values.iter().flatten().all(|value| value.len() == LARGE));
        assert_eq!(values.iter().flatten().count(), keys.len());
        times += 1;
    }
    times
}

/// How many threads there are for the renewal of locks, by what Linux calls them.
#[cfg(target_os = "linux")]
fn renewal_threads() -> usize {
    let names = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).ok();
    names.filter_map(name).filter(|name| name.starts_with("stanchion-renew")).count()
}

pub(crate) async fn small_requests_do_not_wait_for_large_replies() {
    let server = RedisProcess::start().await.unwrap();
    let keys = keys(KEYS);
    fill(&server, &keys, LARGE).await;
    let link = ThrottledLink::start(server.addr(), 20_000_000).await.unwrap();
    // Longer than by default, for a machine that is busy, and shorter than a batch takes.
    let (deadline, soon) = (Duration::from_secs(2), Duration::from_secs(1));
    let config = RedisConfig::standalone(&link.url()).unwrap().deadline(deadline).cache_deadline(soon);
    let stores = RedisBackend::connect(config).await.unwrap().stores().service("auth").unwrap();
    let cache = stores.cache_store().unwrap();
    let (limits, tokens) = (stores.rate_limiter().unwrap(), stores.token_store().unwrap());
    let (limit, tier) =
        (Key::new("rate_limit", "login", "u1").unwrap(), Tier::new(1_000, Duration::from_mins(1)).unwrap());
    let (service, token) = (Name::new("auth").unwrap(), TokenFacts::new("j1", vec![]));
    let small = key("small");
    let _ = cache.set(&small, "v".into(), &SetOptions::new(ttl())).await.unwrap();
    let (warm, loads) =
        (stores.cache::<u64>("warm").store_deadline(soon).build().unwrap(), Arc::new(AtomicUsize::new(0)));
    let load = || {
        let loads = Arc::clone(&loads);
        warm.get_or_load("w", move || async move {
            loads.fetch_add(1, Ordering::Relaxed);
            Ok::<_, stanchion::Error>(1)
        })
    };
    load().await.unwrap();

    let held = stores.locks().unwrap().acquire("job").lease(LEASE).await.unwrap();
    open_bulk(&server, &*cache).await;
    let stopped = Arc::new(AtomicBool::new(false));
    let reading = tokio::spawn(read_on(Arc::clone(&cache), keys, Arc::clone(&stopped)));
    let [mut checks, mut gets, mut loaded, mut judged] = [const { Took(Vec::new()) }; 4];
    let mut connections = 0;
    for round in 0..ROUNDS {
        let _ = checks.of(limits.check(&limit, &[tier], 1)).await;
        let _ = judged.of(tokens.check(&service, &token)).await;
        assert_eq!(gets.of(cache.get(&small)).await, Some(Bytes::from_static(b"v")));
        let value = loaded.of(async { Ok(load().await.unwrap()) }).await;
        assert_eq!((*value, loads.load(Ordering::Relaxed)), (1, 1), "its value is there");
        assert_eq!(held.state(), LockState::Held);
        // By then each has been opened: the lock is renewed every third of its lease.
        if round == ROUNDS / 4 {
            connections = link.connections();
        }
        pause(BETWEEN).await;
    }
    stopped.store(true, Ordering::Relaxed);
    let times = reading.await.unwrap();
    assert!(times > 0, "the bulk was read");
    assert_eq!(link.connections(), connections, "none was given up");
    assert_eq!(stores.health().current(), Health::Up);
    println!("{times} batches of {KEYS} values of {LARGE} bytes, {connections} connections");
    checks.show("limits");
    judged.show("tokens");
    gets.show("small gets");
    loaded.show("loads of a warm value");

    let names = names(&server).await;
    for purpose in ["commands", "bulk", "renewals"] {
        assert!(names.contains(&format!("name=stanchion:{purpose}")), "{purpose} in {names}");
    }
    held.release().await.unwrap();
    ends_with_the_backend(&stores).await;
}

async fn names(server: &RedisProcess) -> String {
    server.command(&["CLIENT", "LIST"]).await.unwrap().text()
}

/// Nothing of the thread is left.
#[cfg(target_os = "linux")]
async fn ends_with_the_backend(stores: &Stores) {
    assert!(renewal_threads() > 0);
    stores.close(TIMEOUT).await.unwrap();
    until("the end of the thread", TIMEOUT, || {
        std::future::ready(if renewal_threads() == 0 { Ok(()) } else { Err("it is there") })
    })
    .await
    .unwrap();
}

#[cfg(not(target_os = "linux"))]
async fn ends_with_the_backend(stores: &Stores) {
    stores.close(TIMEOUT).await.unwrap();
}

pub(crate) async fn a_batch_has_time_while_it_comes() {
    const MIB: usize = 1024 * 1024;
    let server = RedisProcess::start().await.unwrap();
    let keys = keys(20);
    fill(&server, &keys, MIB).await;
    let link = ThrottledLink::start(server.addr(), 12_500_000).await.unwrap();
    // A batch takes more than a second and a half.
    let config = RedisConfig::standalone(&link.url()).unwrap().cache_deadline(Duration::from_millis(400));
    let stores = RedisBackend::connect(config).await.unwrap().stores();
    let cache = stores.cache_store().unwrap();
    open_bulk(&server, &*cache).await;
    for _ in 0..2 {
        let began = SystemClock.now();
        let (values, sum) = tokio::join!(cache.get_many(&keys), async {
            // The batch is under way.
            pause(BETWEEN).await;
            cache.add(&key("sum"), 1, ttl()).await
        });
        assert_eq!(values.unwrap().iter().flatten().map(Bytes::len).sum::<usize>(), 20 * MIB);
        assert!(sum.unwrap() > 0);
        println!("20 MiB took {:?}", SystemClock.now().saturating_since(began));
    }
    assert_eq!(link.connections(), 2, "one for commands and one for bulk");
    assert_eq!(stores.health().current(), Health::Up);
}

pub(crate) async fn a_silent_server_ends_a_batch() {
    let server = RedisProcess::start().await.unwrap();
    let config = RedisConfig::standalone(&server.url()).unwrap().ping_every(10 * TIMEOUT);
    let stores = RedisBackend::connect(config.deadline(TIMEOUT)).await.unwrap().stores();
    let (cache, keys) = (stores.cache_store().unwrap(), keys(200));
    until("an answer", TIMEOUT, || cache.get_many(&keys)).await.unwrap();
    server.pause().unwrap();
    let began = SystemClock.now();
    let error = cache.get_many(&keys).await.unwrap_err();
    let took = SystemClock.now().saturating_since(began);
    server.resume().unwrap();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(took < Duration::from_secs(10), "it was given up by silence, not by the longest time: {took:?}");
    until("an answer", TIMEOUT, || cache.get_many(&keys)).await.unwrap();
}

pub(crate) async fn each_master_has_connections_of_its_own() {
    let cluster = Cluster::start().await.unwrap();
    let config = RedisConfig::cluster(cluster.urls().iter().map(String::as_str)).unwrap();
    let stores =
        RedisBackend::connect(config.deadline(TIMEOUT).cache_deadline(TIMEOUT)).await.unwrap().stores();
    let (cache, keys) = (stores.cache_store().unwrap(), keys(300));
    let entry = |key: &Key| SetEntry::new(key.clone(), Bytes::from(key.to_string()), SetOptions::new(ttl()));
    let _ = cache.set_many(&keys.iter().map(entry).collect::<Vec<_>>()).await.unwrap();
    let values = cache.get_many(&keys).await.unwrap();
    assert!(keys.iter().zip(values).all(|(key, value)| value == Some(Bytes::from(key.to_string()))));
    let lease = |at: u8| {
        let key = Key::new("locks", "lock", u64::from(at)).unwrap();
        Lease::new(key, LockToken::new([at; 16]), Fence::new(1), Ttl::new(LEASE).unwrap())
    };
    // Nobody holds them; the question goes to every master.
    let leases: Vec<_> = (0..60).map(lease).collect();
    stores.locker().unwrap().renew(&leases).await.unwrap();
    for node in cluster.nodes() {
        open_bulk(node, &*cache).await;
        let names = names(node).await;
        for purpose in ["bulk", "renewals"] {
            let name = format!("name=stanchion:{purpose}");
            assert_eq!(names.matches(&name).count(), 1, "{purpose} in {names}");
        }
    }
}
