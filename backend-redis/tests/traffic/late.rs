//! Reads that join late, behind others that get no answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use stanchion::cache::{CacheStore, SetOptions};
use stanchion::clock::{Clock, SystemClock};
use stanchion::key::Key;
use stanchion::{ErrorKind, Result};
use stanchion_conformance::servers::{Proxy, RedisProcess, until};
use stanchion_redis::{RedisBackend, RedisConfig};
use tokio::task::JoinHandle;

use crate::{TIMEOUT, key, ttl};

const DEADLINE: Duration = Duration::from_secs(3);

/// A read, and how long it took.
type Reading = JoinHandle<(Duration, Result<Option<Bytes>>)>;

fn begin(cache: &Arc<dyn CacheStore>, key: &Key) -> Reading {
    let (cache, key) = (Arc::clone(cache), key.clone());
    tokio::spawn(async move {
        let began = SystemClock.now();
        let answer = cache.get(&key).await;
        (SystemClock.now().saturating_since(began), answer)
    })
}

async fn timed_out(reading: Reading) {
    let (took, answer) = reading.await.unwrap();
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::Timeout);
    assert!(took >= DEADLINE, "it was given up after {took:?}");
}

pub(crate) async fn each_has_its_whole_deadline() {
    let server = RedisProcess::start().await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let config = RedisConfig::standalone(&proxy.url()).unwrap().deadline(TIMEOUT);
    // Nothing in between finds the link dead and breaks it.
    let config = config.cache_deadline(DEADLINE).ping_every(10 * TIMEOUT);
    let stores = RedisBackend::connect(config).await.unwrap().stores();
    let cache = stores.cache_store().unwrap();
    let key = key("u1");
    let _ = cache.set(&key, "v".into(), &SetOptions::new(ttl())).await.unwrap();
    cache.get(&key).await.unwrap();
    proxy.forget_requests();

    server.pause().unwrap();
    let began = SystemClock.now();
    // More than are in flight at once: the rest waits.
    let early: Vec<_> = (0..5_000).map(|_| begin(&cache, &key)).collect();
    until("those that are sent", TIMEOUT, || {
        std::future::ready(if proxy.requests("MGET") > 0 { Ok(()) } else { Err("not yet") })
    })
    .await
    .unwrap();
    SystemClock.sleep_until(began.saturating_add(DEADLINE * 2 / 3)).await;
    let late: Vec<_> = (0..5).map(|_| begin(&cache, &key)).collect();
    // Those that were first have all gone by the time that the server is back, and it is back in time for the others.
    for reading in early {
        timed_out(reading).await;
    }
    server.resume().unwrap();
    for reading in late {
        let (took, answer) = reading.await.unwrap();
        assert_eq!(answer.unwrap(), Some(Bytes::from_static(b"v")), "after {took:?}");
    }
    until("an answer", TIMEOUT, || cache.get(&key)).await.unwrap();
}
