//! Single reads that come together.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::join_all;
use stanchion::cache::{CacheStore, SetEntry, SetOptions, SetOutcome};
use stanchion::key::Key;
use stanchion::stores::Stores;
use stanchion::{Effect, ErrorKind};
use stanchion_conformance::servers::{Cluster, Proxy, RedisProcess, until};
use stanchion_redis::{RedisBackend, RedisConfig};

use crate::{TIMEOUT, key, ttl};

const MANY: usize = 300;
/// So many that come together are still read each by itself.
const FEW: usize = 7;
/// Long before [`TIMEOUT`] is over.
const SOON: Duration = Duration::from_secs(10);

struct Setup {
    stores: Stores,
    cache: Arc<dyn CacheStore>,
    proxy: Proxy,
    server: RedisProcess,
    keys: Vec<Key>,
}

async fn setup(cache_deadline: Duration) -> Setup {
    let server = RedisProcess::start().await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let config = RedisConfig::standalone(&proxy.url()).unwrap().deadline(TIMEOUT);
    let config = config.cache_deadline(cache_deadline).ping_every(10 * TIMEOUT);
    let stores = RedisBackend::connect(config).await.unwrap().stores();
    let cache = stores.cache_store().unwrap();
    let keys = put(&*cache).await;
    proxy.forget_requests();
    Setup { stores, cache, proxy, server, keys }
}

/// Each key holds its own number.
async fn put(cache: &dyn CacheStore) -> Vec<Key> {
    let keys: Vec<_> = (0..MANY).map(key).collect();
    let entry = |(n, key): (usize, &Key)| {
        SetEntry::new(key.clone(), Bytes::from(n.to_string()), SetOptions::new(ttl()))
    };
    let entries: Vec<_> = keys.iter().enumerate().map(entry).collect();
    assert_eq!(cache.set_many(&entries).await.unwrap(), vec![SetOutcome::Stored; MANY]);
    keys
}

/// All at once, each answered with its own.
async fn read_all(cache: &dyn CacheStore, keys: &[Key]) {
    let answers = join_all(keys.iter().map(|key| cache.get(key))).await;
    for (n, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.unwrap(), Some(Bytes::from(n.to_string())));
    }
}

pub(crate) async fn few_reads_go_out_one_by_one() {
    let Setup { cache, proxy, server: _server, keys, stores: _stores } = setup(TIMEOUT).await;
    for key in &keys[..5] {
        cache.get(key).await.unwrap();
    }
    for answer in join_all(keys[..FEW].iter().map(|key| cache.get(key))).await {
        assert!(answer.unwrap().is_some());
    }
    // "MGET" has it too.
    assert_eq!((proxy.requests("GET cache:user:"), proxy.requests("MGET")), (5 + FEW, 0));
}

/// Replaces what the keys hold by values of these sizes, in turn.
async fn put_sizes(cache: &dyn CacheStore, keys: &[Key], sizes: &[usize]) -> Vec<Bytes> {
    let value =
        |(n, size): (usize, &usize)| Bytes::from(n.to_string().into_bytes().repeat(*size)).slice(..*size);
    let values: Vec<_> = sizes.iter().cycle().take(keys.len()).enumerate().map(value).collect();
    for (key, value) in keys.iter().zip(&values) {
        let _stored = cache.set(key, value.clone(), &SetOptions::new(ttl())).await.unwrap();
    }
    values
}

/// Small values are copied, large ones stay in what was read.
pub(crate) async fn values_of_all_sizes_keep_to_themselves() {
    let Setup { cache, proxy, server: _server, keys, stores: _stores } = setup(TIMEOUT).await;
    let values = put_sizes(&*cache, &keys, &[0, 1, 511, 512, 513, 2_048, 10_000, 3]).await;
    for _ in 0..3 {
        proxy.forget_requests();
        let answers = join_all(keys.iter().map(|key| cache.get(key))).await;
        for (answer, value) in answers.into_iter().zip(&values) {
            assert_eq!(answer.unwrap().as_ref(), Some(value));
        }
        assert!(proxy.requests("MGET") > 0);
    }
}

pub(crate) async fn many_reads_share_a_write() {
    let Setup { cache, proxy, server: _server, keys, stores: _stores } = setup(TIMEOUT).await;
    for _ in 0..3 {
        proxy.forget_requests();
        read_all(&*cache, &keys).await;
        let commands = proxy.requests("GET cache:user:");
        assert!(commands < MANY / 2, "{commands} commands for {MANY} reads");
        let (gathered, writes) = (proxy.requests("MGET"), proxy.reads("MGET"));
        assert!(gathered > 0 && writes <= gathered, "{gathered} in {writes}");
    }
}

pub(crate) async fn each_read_has_its_own_outcome() {
    let Setup { cache, proxy, server, keys, stores: _stores } = setup(TIMEOUT).await;
    // Of three, one holds its number, one nothing, and one a list.
    for key in keys.iter().skip(1).step_by(3) {
        server.command(&["DEL", key.as_str()]).await.unwrap();
    }
    for key in keys.iter().skip(2).step_by(3) {
        server.command(&["DEL", key.as_str()]).await.unwrap();
        server.command(&["RPUSH", key.as_str(), "x"]).await.unwrap();
    }
    let answers = join_all(keys.iter().map(|key| cache.get(key))).await;
    assert!(proxy.requests("MGET") > 0);
    for (n, answer) in answers.into_iter().enumerate() {
        match n % 3 {
            0 => assert_eq!(answer.unwrap(), Some(Bytes::from(n.to_string()))),
            1 => assert_eq!(answer.unwrap(), None),
            _ => {
                let error = answer.unwrap_err();
                assert_eq!((error.kind(), error.effect()), (ErrorKind::Codec, Effect::NotApplied));
                assert_eq!((error.operation(), error.backend()), (Some("cache.get"), Some("redis")));
            }
        }
    }
}

/// An ACL that knows `GET` and not `MGET`.
pub(crate) async fn without_the_right_to_gather_reads_go_on() {
    let Setup { cache, proxy, server, keys, stores: _stores } = setup(TIMEOUT).await;
    server.command(&["ACL", "SETUSER", "default", "-mget"]).await.unwrap();
    read_all(&*cache, &keys).await;
    assert!(proxy.requests("MGET") > 0);
    proxy.forget_requests();
    read_all(&*cache, &keys).await;
    assert_eq!(proxy.requests("MGET"), 0, "it is not tried again");
    server.command(&["ACL", "SETUSER", "default", "-get"]).await.unwrap();
    for answer in join_all(keys.iter().map(|key| cache.get(key))).await {
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Denied);
    }
}

/// An ACL that denies a key, and not the command.
pub(crate) async fn one_denied_key_does_not_end_gathering() {
    let Setup { cache, proxy, server, keys, stores: _stores } = setup(TIMEOUT).await;
    server.command(&["ACL", "SETUSER", "default", "resetkeys", "~cache:user:*"]).await.unwrap();
    let denied = Key::new("cache", "other", 1).unwrap();
    let mut answers = join_all(keys.iter().chain([&denied]).map(|key| cache.get(key))).await;
    assert!(proxy.requests("MGET") > 0);
    assert_eq!(answers.pop().unwrap().unwrap_err().kind(), ErrorKind::Denied);
    for (n, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.unwrap(), Some(Bytes::from(n.to_string())));
    }
    proxy.forget_requests();
    read_all(&*cache, &keys).await;
    assert!(proxy.requests("MGET") > 0, "it is still tried");
}

pub(crate) async fn a_dropped_caller_takes_nothing_from_others() {
    let Setup { cache, keys, server: _server, proxy: _proxy, stores: _stores } = setup(TIMEOUT).await;
    let (mut kept_reads, mut dropped_reads) = (0, 0);
    for kept in [2, 7, MANY] {
        let mut reading: Vec<_> = keys.iter().map(|key| cache.get(key)).collect();
        // Each has begun, by itself or in a batch; hardly one has been answered by then.
        let answered: Vec<_> = reading.iter_mut().map(|read| read.now_or_never().is_some()).collect();
        let begun = reading.into_iter().zip(answered).enumerate();
        let begun = begun.filter_map(|(n, (read, answered))| (!answered).then_some((n, read)));
        let (left, dropped): (Vec<_>, Vec<_>) = begun.partition(|(n, _)| n % kept == 1);
        kept_reads += left.len();
        dropped_reads += dropped.len();
        drop(dropped);
        for (n, read) in left {
            assert_eq!(read.await.unwrap(), Some(Bytes::from(n.to_string())));
        }
        read_all(&*cache, &keys).await;
    }
    assert!(kept_reads > 0 && dropped_reads > 0, "{kept_reads} were kept, {dropped_reads} dropped");
}

pub(crate) async fn a_lost_connection_is_everybodys_error() {
    let Setup { cache, proxy, server, keys, stores: _stores } = setup(TIMEOUT).await;
    server.pause().unwrap();
    let reading = join_all(keys.iter().map(|key| cache.get(key)));
    let cutting = async {
        // Some are in flight by then.
        let sent = until("a batch", TIMEOUT, || async {
            if proxy.requests("MGET") > 0 { Ok(()) } else { Err("none was sent") }
        });
        sent.await.unwrap();
        proxy.cut();
    };
    let (answers, ()) = tokio::join!(reading, cutting);
    for answer in answers {
        let error = answer.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::NotApplied), "{error}");
    }
    server.resume().unwrap();
    until("the connection", TIMEOUT, || cache.get(&keys[0])).await.unwrap();
    read_all(&*cache, &keys).await;
}

pub(crate) async fn a_silent_server_is_a_timeout_for_all() {
    let Setup { cache, keys, server, proxy: _proxy, stores: _stores } =
        setup(Duration::from_millis(300)).await;
    assert_eq!(cache.capabilities().read_deadline, Some(Duration::from_millis(300)));
    server.pause().unwrap();
    for answer in join_all(keys.iter().map(|key| cache.get(key))).await {
        let error = answer.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::NotApplied), "{error}");
    }
    server.resume().unwrap();
    until("an answer", TIMEOUT, || cache.get(&keys[0])).await.unwrap();
}

/// While a server hangs more come than are sent, and once it is back it has other things to do.
pub(crate) async fn reads_that_timed_out_are_not_sent() {
    let Setup { cache, keys, server, proxy, stores: _stores } = setup(Duration::from_millis(300)).await;
    server.pause().unwrap();
    // A third of so many waits behind what is in flight.
    let (many, last) = (20 * MANY, key(20 * MANY));
    let reads = keys.iter().cycle().take(many).chain([&last]).map(|key| cache.get(key));
    for answer in join_all(reads).await {
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Timeout);
    }
    assert!(proxy.requests("MGET") > 0);
    assert_eq!(proxy.requests(last.as_str()), 0, "its deadline was over before there was room");
    server.resume().unwrap();
    until("an answer", TIMEOUT, || cache.get(&keys[0])).await.unwrap();
}

pub(crate) async fn closing_leaves_nobody_waiting() {
    // The deadline comes long after this case is over: what ends the reads is the close.
    let Setup { cache, keys, server, stores, proxy } = setup(TIMEOUT).await;
    server.pause().unwrap();
    let reading = join_all(keys.iter().map(|key| cache.get(key)));
    let closing = async {
        let sent = until("a batch", TIMEOUT, || async {
            if proxy.requests("MGET") > 0 { Ok(()) } else { Err("none was sent") }
        });
        sent.await.unwrap();
        stores.close(TIMEOUT).await.unwrap();
    };
    let ended = tokio::time::timeout(SOON, async { tokio::join!(reading, closing) }).await;
    for answer in ended.expect("close ends the reads").0 {
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Closed);
    }
    assert_eq!(cache.get(&keys[0]).await.unwrap_err().kind(), ErrorKind::Closed);
    server.resume().unwrap();
}

fn cluster_config(cluster: &Cluster) -> RedisConfig {
    let urls = cluster.urls();
    let config = RedisConfig::cluster(urls.iter().map(String::as_str)).unwrap();
    config.deadline(TIMEOUT).cache_deadline(TIMEOUT)
}

pub(crate) async fn on_a_cluster_each_master_gathers_its_own() {
    let (cluster, proxies) = Cluster::start_behind_proxies().await.unwrap();
    let stores = RedisBackend::connect(cluster_config(&cluster)).await.unwrap().stores();
    let cache = stores.cache_store().unwrap();
    let keys = put(&*cache).await;
    for proxy in &proxies {
        proxy.forget_requests();
    }
    read_all(&*cache, &keys).await;
    let requests = |needle| proxies.iter().map(|proxy| proxy.requests(needle)).sum::<usize>();
    assert_eq!((requests("GET cache:user:"), requests("MGET")), (MANY, 0));
    for proxy in &proxies {
        let (requests, writes) = (proxy.requests("GET cache:user:"), proxy.reads("GET cache:user:"));
        assert!(writes < requests / 2, "{requests} requests in {writes} writes");
    }
}

pub(crate) async fn redirects_are_followed() {
    let cluster = Cluster::start().await.unwrap();
    let stores = RedisBackend::connect(cluster_config(&cluster)).await.unwrap().stores();
    let cache = stores.cache_store().unwrap();
    let keys = put(&*cache).await;
    // One slot that is being migrated, its keys here and there; and one that has been.
    let (mut migrating, mut migrated) = (None, None);
    for key in &keys {
        let slot = cluster.slot_of(key.as_str()).await.unwrap();
        if Cluster::first_owner_of(slot) != 0 || migrating == Some(slot) {
            continue;
        }
        cluster.begin_migration(slot, 0, 1).await.unwrap();
        cluster.move_keys(slot, 0, 1).await.unwrap();
        if migrating.is_none() {
            migrating = Some(slot);
            continue;
        }
        cluster.finish_migration(slot, 0, 1).await.unwrap();
        migrated = Some(slot);
        break;
    }
    assert!(migrating.is_some() && migrated.is_some(), "{migrating:?}, {migrated:?}");
    for _ in 0..3 {
        read_all(&*cache, &keys).await;
    }
}
