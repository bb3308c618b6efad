//! A read from Redis against those of the clients in use.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use stanchion::cache::{Cache, CacheStore, SetOptions};
use stanchion::key::Key;
use stanchion::time::Ttl;
use stanchion_conformance::servers::RedisProcess;
use stanchion_redis::{RedisBackend, RedisConfig};

use crate::load::{Client, Variant, compare};
use crate::peers::{Bare, Bb8, Deadpool, Fred, Rustis, Work, bare_connection};
use crate::report::{Report, Row};
use crate::rounds::Pairs;
use crate::{Failure, machine};

const METHOD: &str = "Values of 100 bytes and of 10 KiB under 1,000 keys, read in turn by that many tasks, client and \
server on the same machine. `get`: `CacheStore::get`, the same keys and bytes as the clients. `get_or_load`: one that \
hits, without a near cache, against the clients with the same decoding of the same JSON string; ours reads its header of some \
50 bytes as well, and checks it. The `redis` crate has one multiplexed connection, no-delay, no response timeout; fred and \
rustis one, no-delay; the pools have 16, and do an eighth of the operations, being so slow. Median of 12 paired rounds in \
balanced order after one to warm up; rates in operations per second. In a round each takes about half a second or longer: the \
kernel of a machine with two cores moves client and server between them, and a rate stays high or low for some tenths of a \
second. Judged: at 16 tasks 0.95 of the bare client, at 256 at least as good as the best peer of each round. 1 and 64 tasks, of 2 \
short rounds, are shown.";

const KEYS: usize = 1_000;
const ROUNDS: usize = 12;
/// The pools are so slow that they are given fewer operations.
const FEWER: usize = 8;

pub(crate) async fn run() -> Result<Report, Failure> {
    let server = RedisProcess::start().await?;
    // The deadlines are kept by the same timers, however long they are; a busy machine is to break none.
    let config = RedisConfig::standalone(&server.url())?.deadline(PATIENCE).cache_deadline(PATIENCE);
    let stores = RedisBackend::connect(config).await?.stores();
    let store = stores.cache_store()?;
    let cache: Cache<String> = stores.cache("typed").ttl(LIFE).store_deadline(PATIENCE).build()?;
    let mut rows = Vec::new();
    for (size, of) in [(100, "100 B"), (10 * 1024, "10 KiB")] {
        let keys = fill(&server, &store, &cache, size).await?;
        let (get, get_or_load) = variants(&server, &store, &cache, keys).await?;
        for (tasks, rounds) in [(1, 2), (16, ROUNDS), (64, 2), (256, ROUNDS)] {
            for (what, variants) in [("get", &get), ("get_or_load", &get_or_load)] {
                let measured = compare(variants, rounds, tasks, operations(tasks, size)).await?;
                let row = |peer: &'static str, pairs: Pairs| {
                    Row::pairs(format!("{what}, {of}, {tasks} tasks"), peer, "op/s", &pairs)
                };
                for (index, peer) in variants.iter().enumerate().skip(1) {
                    let row = row(peer.name, measured.pairs(0, index));
                    rows.push(if tasks == 16 && index == BARE { row.at_least(0.95) } else { row });
                }
                if tasks == 256 {
                    let best = measured.pairs_with_best(0, BARE..variants.len());
                    rows.push(row("the best of each round", best).at_least(1.0));
                }
            }
        }
    }
    let crates = ["redis", "fred", "rustis", "deadpool-redis", "bb8-redis", "tokio", "stanchion"];
    let versions = format!("Redis {}, {}", server.version().await?, machine::versions(&crates));
    Ok(Report::new("redis-get", versions, METHOD, rows))
}

const LIFE: Duration = Duration::from_mins(10);
const PATIENCE: Duration = Duration::from_secs(10);

/// So many that those who are judged take about half a second or longer in a round.
fn operations(tasks: usize, size: usize) -> usize {
    let (small, large) = match tasks {
        1 => (2_000, 1_000),
        16 => (160_000, 120_000),
        64 => (32_000, 16_000),
        _ => (560_000, 140_000),
    };
    if size > 1_000 { large } else { small }
}

/// Writes what all read; answers the keys as they stand in Redis.
async fn fill(
    server: &RedisProcess,
    store: &Arc<dyn CacheStore>,
    cache: &Cache<String>,
    size: usize,
) -> Result<Arc<[String]>, Failure> {
    let mut bare = bare_connection(&server.url()).await?;
    let (value, ttl) = ("v".repeat(size), Ttl::new(LIFE)?);
    let bytes = Bytes::from(value.clone());
    let mut keys = Vec::new();
    for n in 0..KEYS {
        let key = raw_key(n)?;
        let _stored = store.set(&key, bytes.clone(), &SetOptions::new(ttl)).await?;
        keys.push(key.as_str().to_owned());
        cache.set(n, &value).await?;
        let json = serde_json::to_vec(&value)?;
        redis::cmd("SET").arg(format!("bare:{n}")).arg(json).exec_async(&mut bare).await?;
    }
    Ok(keys.into())
}

fn raw_key(n: usize) -> Result<Key, Failure> {
    Ok(Key::new("cache", "raw", n)?)
}

/// Where the bare client stands: behind ours, and before the other peers.
const BARE: usize = 1;

/// Those of `get` and of `get_or_load`.
async fn variants(
    server: &RedisProcess,
    store: &Arc<dyn CacheStore>,
    cache: &Cache<String>,
    keys: Arc<[String]>,
) -> Result<(Vec<Variant>, Vec<Variant>), Failure> {
    let url = server.url();
    let ours: Arc<[Key]> = (0..KEYS).map(raw_key).collect::<Result<_, _>>()?;
    let get = Variant::new("", KEYS, Store { store: Arc::clone(store), keys: ours });
    let get_or_load = Variant::new("", KEYS, Typed(cache.clone()));
    Ok((
        beside_peers(get, &url, Work::Bytes(keys)).await?,
        beside_peers(get_or_load, &url, Work::Json).await?,
    ))
}

async fn beside_peers(ours: Variant, url: &str, work: Work) -> Result<Vec<Variant>, Failure> {
    Ok(vec![
        ours,
        Variant::new("redis", KEYS, Bare::connect(url, work.clone()).await?),
        Variant::new("fred", KEYS, Fred::connect(url, work.clone()).await?),
        Variant::new("rustis", KEYS, Rustis::connect(url, work.clone()).await?),
        Variant::new("deadpool-redis", KEYS, Deadpool::connect(url, work.clone())?).fewer(FEWER),
        Variant::new("bb8-redis", KEYS, Bb8::connect(url, work).await?).fewer(FEWER),
    ])
}

#[derive(Clone)]
struct Store {
    store: Arc<dyn CacheStore>,
    keys: Arc<[Key]>,
}

impl Client for Store {
    async fn once(&mut self, key: usize) -> Result<(), Failure> {
        let bytes = self.store.get(&self.keys[key]).await?.ok_or("a value is missing")?;
        let _read = std::hint::black_box(bytes.len());
        Ok(())
    }
}

#[derive(Clone)]
struct Typed(Cache<String>);

impl Client for Typed {
    async fn once(&mut self, key: usize) -> Result<(), Failure> {
        let missed = || async { Err::<String, _>(std::io::Error::other("a value is missing")) };
        let value = self.0.get_or_load(key, missed).await?;
        drop(std::hint::black_box(value));
        Ok(())
    }
}
