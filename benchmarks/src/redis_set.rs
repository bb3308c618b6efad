//! `Cache::set` on Redis against the bare `redis` crate: one command each, and the same JSON encoded.

use redis::aio::MultiplexedConnection;
use stanchion::cache::Cache;
use stanchion_conformance::servers::RedisProcess;
use stanchion_redis::RedisBackend;

use crate::load::{Client, Variant, compare};
use crate::peers::bare_connection;
use crate::report::{Report, Row};
use crate::rounds::ROUNDS;
use crate::{Failure, machine};

const METHOD: &str = "A string of 100 bytes as JSON, 1,000 keys written in turn by that many tasks, client and \
server on the same machine. Ours is a script, which voids the lease on the entry in the same step; the bare client's is \
`PSETEX` on one multiplexed connection, no-delay, no response timeout. Both are one command, and encode the value. \
Median of 8 paired rounds in balanced order after one to warm up; rates in operations per second. 16 and 256 tasks are judged, by bounds chosen here for what the script costs \
the server; 1 and 64 are shown.";

const KEYS: usize = 1_000;
const TTL_MS: u64 = 600_000;

pub(crate) async fn run() -> Result<Report, Failure> {
    let server = RedisProcess::start().await?;
    let backend = RedisBackend::connect(server.url().as_str()).await?;
    let cache: Cache<String> = backend.stores().cache("bench").build()?;
    let value = "v".repeat(100);
    let bare = Bare { connection: bare_connection(&server.url()).await?, value: value.clone() };
    let variants = [Variant::new("", KEYS, Ours { cache, value }), Variant::new("redis", KEYS, bare)];
    let mut rows = Vec::new();
    for (tasks, target) in [(1, None), (16, Some(0.85)), (64, None), (256, Some(0.80))] {
        let operations = if tasks == 1 { 6_000 } else { 192_000 };
        let measured = compare(&variants, ROUNDS, tasks, operations).await?;
        let row = Row::pairs(format!("{tasks} tasks"), variants[1].name, "op/s", &measured.pairs(0, 1));
        rows.push(match target {
            Some(target) => row.at_least(target),
            None => row,
        });
    }
    let crates = machine::versions(&["redis", "tokio", "stanchion"]);
    let versions = format!("Redis {}, {crates}", server.version().await?);
    Ok(Report::new("redis-set", versions, METHOD, rows))
}

#[derive(Clone)]
struct Ours {
    cache: Cache<String>,
    value: String,
}

impl Client for Ours {
    async fn once(&mut self, key: usize) -> Result<(), Failure> {
        Ok(self.cache.set(key, &self.value).await?)
    }
}

#[derive(Clone)]
struct Bare {
    connection: MultiplexedConnection,
    value: String,
}

impl Client for Bare {
    async fn once(&mut self, key: usize) -> Result<(), Failure> {
        let bytes = serde_json::to_vec(&self.value)?;
        let mut command = redis::cmd("PSETEX");
        command.arg(format!("bare:{key}")).arg(TTL_MS).arg(bytes);
        Ok(command.exec_async(&mut self.connection).await?)
    }
}
