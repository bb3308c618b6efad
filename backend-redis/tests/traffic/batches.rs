//! A batch is one pipelined write per master.

use bytes::Bytes;
use stanchion::cache::AllParts as _;
use stanchion::cache::{Fill, LeaseRequest, LeaseToken, Release, SetEntry, SetOptions, Tag, Want};
use stanchion::key::Key;
use stanchion_conformance::servers::{Cluster, Proxy, RedisProcess};
use stanchion_redis::{RedisBackend, RedisConfig};

use crate::{TIMEOUT, key, ttl};

/// Runs a batch of 100, whose commands contain this text, and then looks at it when it runs again: the first time
/// each master may have to learn a script, in a second write.
async fn one_write_each(proxies: &[Proxy], needle: &str, what: &str, batch: impl AsyncFn()) {
    writes(proxies, needle, what, (100, 1), batch).await;
}

/// So many requests in all, and writes to each.
async fn writes(
    proxies: &[Proxy],
    needle: &str,
    what: &str,
    (requests, writes): (usize, usize),
    batch: impl AsyncFn(),
) {
    batch().await;
    for proxy in proxies {
        proxy.forget_requests();
    }
    batch().await;
    let seen: usize = proxies.iter().map(|proxy| proxy.requests(needle)).sum();
    assert_eq!(seen, requests, "{what}: requests with {needle}");
    for proxy in proxies {
        assert_eq!(proxy.reads(needle), writes, "{what}: writes to {}", proxy.addr());
    }
}

pub(crate) async fn a_batch_is_one_write_per_master() {
    let (cluster, proxies) = Cluster::start_behind_proxies().await.unwrap();
    let urls = cluster.urls();
    let config = RedisConfig::cluster(urls.iter().map(String::as_str)).unwrap();
    // No ping comes in between.
    let config = config.deadline(TIMEOUT).cache_deadline(TIMEOUT).ping_every(10 * TIMEOUT);
    let stores = RedisBackend::connect(config).await.unwrap().stores();
    let cache = stores.cache_store().unwrap();
    let keys: Vec<_> = (0..100).map(key).collect();
    let (value, token) = (Bytes::from_static(b"v"), LeaseToken::new([1; 16]));
    let entry = |key: &Key| SetEntry::new(key.clone(), value.clone(), SetOptions::new(ttl()));
    let entries: Vec<_> = keys.iter().map(entry).collect();
    one_write_each(&proxies, "EVALSHA", "set_many", async || {
        let _ = cache.set_many(&entries).await.unwrap();
    })
    .await;
    one_write_each(&proxies, "GET cache:user:", "get_many", async || {
        cache.get_many(&keys).await.unwrap();
    })
    .await;
    one_write_each(&proxies, "EVALSHA", "get_many_with_ttl", async || {
        cache.get_many_with_ttl(&keys).await.unwrap();
    })
    .await;
    let request = |key: &Key| LeaseRequest::new(key.clone(), token, ttl(), Want::Anyway);
    let requests: Vec<_> = keys.iter().map(request).collect();
    one_write_each(&proxies, "EVALSHA", "fetch", async || {
        cache.fetch(&requests).await.unwrap();
    })
    .await;
    let leases: Vec<_> = keys.iter().map(|key| Release::new(key.clone(), token)).collect();
    one_write_each(&proxies, "EVALSHA", "abandon", async || cache.release(&leases).await.unwrap()).await;
    let fill = |key: &Key| Fill::new(key.clone(), token, value.clone(), ttl());
    let fills: Vec<_> = keys.iter().map(fill).collect();
    one_write_each(&proxies, "EVALSHA", "fill", async || {
        let _ = cache.fill(&fills).await.unwrap();
    })
    .await;
    one_write_each(&proxies, "EVALSHA", "remove_many", async || {
        cache.remove_many(&keys).await.unwrap();
    })
    .await;
    let tags: Vec<_> = (0..100).map(|n| Tag::new(n).unwrap()).collect();
    // Of three copies of each, two are waited for: whatever is read behind them has come after the third. A bump reads them first.
    let behind = async || drop(cache.get_many(&keys).await.unwrap());
    cache.bump(&tags).await.unwrap();
    behind().await;
    writes(&proxies, "EVALSHA", "generations", (300, 1), async || {
        cache.generations(&tags).await.unwrap();
        behind().await;
    })
    .await;
    writes(&proxies, "EVALSHA", "bump", (600, 2), async || {
        cache.bump(&tags).await.unwrap();
        behind().await;
    })
    .await;
}

/// They are made where they are missing, and read with their age: by a script each, all in one write.
pub(crate) async fn generations_take_one_trip() {
    let server = RedisProcess::start().await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let config = RedisConfig::standalone(&proxy.url()).unwrap().cache_deadline(TIMEOUT);
    let stores = RedisBackend::connect(config.deadline(TIMEOUT)).await.unwrap().stores();
    let cache = stores.cache_store().unwrap();
    let tags: Vec<_> = (0..20).map(|n| Tag::new(n).unwrap()).collect();
    cache.generations(&tags[..10]).await.unwrap();
    for (read, some) in [(&tags[..10], 10), (&tags[..], 20)] {
        proxy.forget_requests();
        cache.generations(read).await.unwrap();
        assert_eq!((proxy.requests("EVALSHA"), proxy.reads("EVALSHA")), (some, 1));
        assert_eq!(proxy.requests(""), some);
    }
}
