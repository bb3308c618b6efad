//! How often values are loaded that many batches in several processes want at once.

use std::time::Duration;

use futures_util::future::try_join_all;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use stanchion::cache::Cache;
use stanchion_conformance::servers::RedisProcess;
use stanchion_redis::RedisBackend;

use crate::peers::bare_connection;
use crate::report::{Report, Row};
use crate::stampede::child::{LOADS, Told, say, wait_for_go};
use crate::stampede::processes::Processes;
use crate::timing::{count, millis, now, pause};
use crate::{Failure, machine};

const METHOD: &str = "4 processes, 100 tasks in each, all ask for the same 50 cold ids in one batch at once; the loader takes \
200 ms for however many, and counts in Redis how many ids it was asked for. The peer is `MGET`, the loader for what is missing, and \
a pipeline of `SET`, by the bare `redis` crate. Less is better.";

/// The role of a process, as the first of its arguments.
pub(crate) const CHILD: &str = "batch-stampede-child";
const PROCESSES: usize = 4;
const TASKS: usize = 100;
const IDS: u32 = 50;
const LOAD: Duration = Duration::from_millis(200);

pub(crate) async fn run() -> Result<Report, Failure> {
    let server = RedisProcess::start().await?;
    let (theirs, their_wait) = stampede(&server, "bare").await?;
    let (ours, our_wait) = stampede(&server, "cache").await?;
    let what = format!("{PROCESSES} processes, {TASKS} batches of {IDS} ids each");
    let loads = Row::count(format!("{what}: ids that were loaded"), "ids", ours);
    let longest = Row::count(format!("{what}: the longest wait"), "ms", our_wait);
    let rows =
        vec![loads.beside("redis", theirs).at_most(f64::from(IDS)), longest.beside("redis", their_wait)];
    let crates = machine::versions(&["redis", "tokio", "stanchion"]);
    Ok(Report::new("batch-stampede", format!("Redis {}, {crates}", server.version().await?), METHOD, rows))
}

async fn stampede(server: &RedisProcess, role: &str) -> Result<(f64, f64), Failure> {
    server.command(&["FLUSHALL"]).await?;
    let mut processes = Processes::start(PROCESSES, CHILD, role, &server.url()).await?;
    let (told, _) = processes.go(false).await?;
    let served: usize = told.iter().map(|told| told.served).sum();
    if served != PROCESSES * TASKS {
        return Err(format!("{served} of {} batches were served", PROCESSES * TASKS).into());
    }
    let longest = told.iter().map(|told| told.longest_micros).max().unwrap_or_default();
    let loads: usize = server.command(&["GET", LOADS]).await?.text().parse()?;
    Ok((count(loads), millis(Duration::from_micros(longest))))
}

/// Plays the role in this process.
pub(crate) async fn child(arguments: &[String]) -> Result<(), Failure> {
    let [role, url] = arguments else {
        return Err("a role and a URL are wanted".into());
    };
    let (bare, stores) = (bare_connection(url).await?, RedisBackend::connect(url).await?.stores());
    let cache: Cache<u32> = stores.cache("batch").build()?;
    cache.get(IDS).await?;
    wait_for_go()?;
    let begun = now();
    let is_ours = role == "cache";
    let callers = (0..TASKS).map(|_| {
        let (cache, bare) = (cache.clone(), bare.clone());
        tokio::spawn(async move {
            let found = if is_ours { by_cache(&cache, bare).await? } else { by_hand(bare).await? };
            if found != usize::try_from(IDS)? {
                return Err(format!("{found} of {IDS} values").into());
            }
            Ok::<Duration, Failure>(begun.elapsed())
        })
    });
    let mut longest = Duration::ZERO;
    for took in try_join_all(callers).await? {
        longest = longest.max(took?);
    }
    let longest_micros = u64::try_from(longest.as_micros())?;
    say(&serde_json::to_string(&Told { served: TASKS, longest_micros, ..Told::default() })?)
}

async fn by_cache(cache: &Cache<u32>, bare: MultiplexedConnection) -> Result<usize, Failure> {
    let ids: Vec<u32> = (0..IDS).collect();
    let values = cache.get_or_load_many(&ids, move |ids| load(bare, ids)).await;
    let values = values.map_err(|error| error.to_string())?;
    Ok(values.iter().flatten().count())
}

async fn by_hand(mut bare: MultiplexedConnection) -> Result<usize, Failure> {
    let keys: Vec<String> = (0..IDS).map(|id| format!("bare:{id}")).collect();
    let found: Vec<Option<u32>> = bare.mget(&keys).await?;
    let missing: Vec<u32> =
        (0..IDS).zip(&found).filter(|(_, found)| found.is_none()).map(|(id, _)| id).collect();
    if !missing.is_empty() {
        let mut pipeline = redis::pipe();
        for (id, value) in load(bare.clone(), missing).await? {
            pipeline.set_ex(format!("bare:{id}"), value, 600).ignore();
        }
        let () = pipeline.query_async(&mut bare).await?;
    }
    Ok(found.len())
}

/// Counts what it is asked for, and takes its time.
async fn load(mut bare: MultiplexedConnection, ids: Vec<u32>) -> redis::RedisResult<Vec<(u32, u32)>> {
    let () = bare.incr(LOADS, ids.len()).await?;
    pause(LOAD).await;
    Ok(ids.into_iter().map(|id| (id, id)).collect())
}
