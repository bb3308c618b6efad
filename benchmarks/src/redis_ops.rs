//! `Cache` on Redis against the bare `redis` crate on one multiplexed connection, both encoding and decoding
//! the same JSON.

use std::sync::Arc;

use redis::AsyncCommands;
use stanchion::cache::Cache;
use stanchion_conformance::servers::RedisProcess;
use stanchion_redis::RedisBackend;

use crate::report::{Report, Row};
use crate::rounds::{self, Pairs, ROUNDS, rate, timed};
use crate::{Failure, machine};

const METHOD: &str = "A value of 100 characters as JSON, 1,000 keys read or written in turn by that many tasks, \
client and server on the same machine. `Cache` and the bare client (one multiplexed connection, no-delay, no \
response timeout) do the same: one command, and the JSON encoded or decoded. Median of 8 paired rounds in shuffled \
order after one to warm up; rates in operations per second. 16 and 256 tasks are judged; 1 and 64 are shown, since \
their noise is about a quarter.";

const KEYS: usize = 1_000;
const TTL_MS: u64 = 600_000;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Operation {
    Get,
    Set,
}

pub(crate) async fn run(operation: Operation) -> Result<Report, Failure> {
    let server = RedisProcess::start().await?;
    let backend = RedisBackend::connect(server.url().as_str()).await?;
    let cache: Cache<String> = backend.stores().cache("bench").build()?;
    let client = redis::Client::open(server.url())?;
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    let bare = client.get_multiplexed_async_connection_with_config(&config).await?;

    let value = "v".repeat(100);
    for key in 0..KEYS {
        cache.set(key, &value).await?;
        let () = bare.clone().set(format!("bare:{key}"), serde_json::to_vec(&value)?).await?;
    }
    let mut rows = Vec::new();
    // At 256 tasks the trait object and the handle clone of each call were measured to cost up to 15 %.
    for (tasks, target) in [(1, None), (16, Some(0.85)), (64, None), (256, Some(0.80))] {
        let mut pairs = Pairs::default();
        for round in 0..=ROUNDS {
            let per_task = (if tasks == 1 { 8_000 } else { 96_000 }) / tasks;
            let ours_first = rounds::ours_first(round);
            let mut rates = (0.0, 0.0);
            for ours in [ours_first, !ours_first] {
                let elapsed = if ours {
                    together(tasks, per_task, &cache, move |cache, key| ours_once(operation, cache, key))
                        .await?
                } else {
                    together(tasks, per_task, &bare, move |bare, key| bare_once(operation, bare, key)).await?
                };
                *(if ours { &mut rates.0 } else { &mut rates.1 }) = rate(per_task * tasks, elapsed);
            }
            if round > 0 {
                pairs.add(rates.0, rates.1);
            }
        }
        rows.push(Row {
            case: format!("{tasks} tasks"),
            peer: "redis (bare)",
            ours: pairs.ours(),
            theirs: pairs.theirs(),
            unit: "op/s",
            ratio: pairs.ratio(),
            spread: pairs.spread(),
            target,
        });
    }
    let name = match operation {
        Operation::Get => "redis-get",
        Operation::Set => "redis-set",
    };
    let versions =
        format!("Redis {}, {}", server.version().await?, machine::versions(&["redis", "tokio", "stanchion"]));
    Ok(Report::new(name, versions, METHOD, rows))
}

/// The time that `tasks` tasks take for `per_task` operations each.
async fn together<H, F>(
    tasks: usize,
    per_task: usize,
    handle: &H,
    once: impl Fn(H, usize) -> F + Send + Sync + 'static,
) -> Result<std::time::Duration, Failure>
where
    H: Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let once = Arc::new(once);
    let work = async {
        let running: Vec<_> = (0..tasks)
            .map(|task| {
                let (handle, once) = (handle.clone(), Arc::clone(&once));
                tokio::spawn(async move {
                    for turn in 0..per_task {
                        once(handle.clone(), (task * 31 + turn) % KEYS).await?;
                    }
                    Ok::<_, Failure>(())
                })
            })
            .collect();
        for task in running {
            task.await??;
        }
        Ok::<_, Failure>(())
    };
    let (done, elapsed) = timed(work).await;
    done.map(|()| elapsed)
}

async fn ours_once(operation: Operation, cache: Cache<String>, key: usize) -> Result<(), Failure> {
    match operation {
        Operation::Get => cache.get(key).await?.map(drop).ok_or("a value is missing")?,
        Operation::Set => cache.set(key, &"v".repeat(100)).await?,
    }
    Ok(())
}

async fn bare_once(
    operation: Operation,
    mut bare: redis::aio::MultiplexedConnection,
    key: usize,
) -> Result<(), Failure> {
    match operation {
        Operation::Get => {
            let bytes: Vec<u8> = bare.get(format!("bare:{key}")).await?;
            let _value: String = serde_json::from_slice(&bytes)?;
        }
        Operation::Set => {
            let bytes = serde_json::to_vec(&"v".repeat(100))?;
            let () = bare.pset_ex(format!("bare:{key}"), bytes, TTL_MS).await?;
        }
    }
    Ok(())
}
