//! What small requests notice of large batches beside them, over a slow link.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use stanchion::cache::{SetEntry, SetOptions};
use stanchion::key::Key;
use stanchion::limit::Tier;
use stanchion::lock::{AcquireOutcome, LockRequest, LockToken, RenewOutcome};
use stanchion::stores::Stores;
use stanchion::time::Ttl;
use stanchion_conformance::servers::{RedisProcess, ThrottledLink};
use stanchion_redis::{RedisBackend, RedisConfig};

use crate::report::{Report, Row};
use crate::timing::{count, millis, pause, timed};
use crate::{Failure, machine};

const METHOD: &str = "10,000 values of 100 KB are read in batches of 600, the batches one after the other, through a link that carries 20 MB a second \
for all connections together, in pieces of 16 KiB. Beside them one task renews a lock, one checks a rate limit and one reads a small value, each 20 ms after its \
last reply: p99 of each, against the same through the same link while nothing is read. Target: 100 ms, the default deadline of a read, \
for renewals, checks and small reads, beside the bulk: past that a cache would take its reads for failed. None of them may fail.";

const VALUES: usize = 10_000;
const BATCH: usize = 600;
const BYTES: usize = 100_000;
const RATE: u32 = 20_000_000;
const IDLE: Duration = Duration::from_secs(10);
const BETWEEN: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(30);
const TARGET: f64 = 100.0;

pub(crate) async fn run() -> Result<Report, Failure> {
    let server = RedisProcess::start().await?;
    let keys: Arc<[Key]> = (0..VALUES).map(|at| Key::new("cache", "bulk", at)).collect::<Result<_, _>>()?;
    fill(&server, &keys).await?;
    let link = ThrottledLink::start(server.addr(), RATE).await?;
    // As long as it takes: what is measured is the delay.
    let config = RedisConfig::standalone(&link.url())?.deadline(PATIENCE).cache_deadline(PATIENCE);
    let stores = RedisBackend::connect(config).await?.stores();

    let idle = beside(&stores, async {
        pause(IDLE).await;
        Ok(())
    });
    let idle = idle.await?;
    let reading = async {
        let cache = stores.cache_store()?;
        for batch in keys.chunks(BATCH) {
            if cache.get_many(batch).await?.iter().flatten().count() != batch.len() {
                return Err("a value is missing".into());
            }
        }
        Ok(())
    };
    let (loaded, took) = timed(beside(&stores, reading)).await;
    let mut rows = Vec::new();
    for (what, (idle, loaded)) in
        ["renewals", "limit checks", "small gets"].into_iter().zip(idle.into_iter().zip(loaded?))
    {
        rows.push(Row::count(format!("{what} beside the bulk, p99"), "ms", p99(loaded)).at_most(TARGET));
        rows.push(Row::count(format!("{what} on an idle link, p99"), "ms", p99(idle)));
    }
    let rate = count(VALUES * BYTES) / took.as_secs_f64() / 1e6;
    rows.push(Row::count("the bulk itself", "MB/s", rate));
    let crates = machine::versions(&["redis", "tokio", "stanchion"]);
    Ok(Report::new("bulk", format!("Redis {}, {crates}", server.version().await?), METHOD, rows))
}

async fn fill(server: &RedisProcess, keys: &[Key]) -> Result<(), Failure> {
    let config = RedisConfig::standalone(&server.url())?.deadline(PATIENCE);
    let cache = RedisBackend::connect(config).await?.stores().cache_store()?;
    let (value, options) =
        (Bytes::from(vec![b'x'; BYTES]), SetOptions::new(Ttl::new(Duration::from_hours(1))?));
    for batch in keys.chunks(BATCH) {
        let entry = |key: &Key| SetEntry::new(key.clone(), value.clone(), options.clone());
        let _ = cache.set_many(&batch.iter().map(entry).collect::<Vec<_>>()).await?;
    }
    Ok(())
}

/// How long renewals, limit checks and small reads took while this went on.
async fn beside(
    stores: &Stores,
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<[Vec<Duration>; 3], Failure> {
    let (locker, limits, cache) = (stores.locker()?, stores.rate_limiter()?, stores.cache_store()?);
    let mut token = [0; 16];
    stores.environment().random.fill(&mut token)?;
    let name = Key::new("locks", "lock", "bulk")?;
    let request = LockRequest::new(name, LockToken::new(token), Ttl::new(Duration::from_mins(1))?);
    let AcquireOutcome::Acquired(lease) = locker.acquire(&request).await? else {
        return Err("the lock is held".into());
    };
    let (limit, tier) = (Key::new("rate_limit", "bulk", "a")?, Tier::new(1_000_000, Duration::from_secs(1))?);
    let small = Key::new("cache", "small", "a")?;
    let _ = cache.set(&small, "v".into(), &SetOptions::new(Ttl::new(Duration::from_hours(1))?)).await?;
    let leases = [lease];

    let ended = AtomicBool::new(false);
    let working = async {
        let outcome = work.await;
        ended.store(true, Ordering::Relaxed);
        outcome
    };
    let renewals = again(&ended, async || match locker.renew(&leases).await?.as_slice() {
        [RenewOutcome::Held] => Ok(()),
        _ => Err("the lock was lost".into()),
    });
    let checks = again(&ended, async || Ok(limits.check(&limit, &[tier], 1).await.map(drop)?));
    let gets = again(&ended, async || match cache.get(&small).await? {
        Some(_) => Ok(()),
        None => Err("the small value is missing".into()),
    });
    let (worked, renewals, checks, gets) = tokio::join!(working, renewals, checks, gets);
    worked?;
    if let Some(lease) = leases.first() {
        let _ = locker.release(lease).await?;
    }
    Ok([renewals?, checks?, gets?])
}

async fn again(
    ended: &AtomicBool,
    work: impl AsyncFn() -> Result<(), Failure>,
) -> Result<Vec<Duration>, Failure> {
    let mut took = Vec::new();
    while !ended.load(Ordering::Relaxed) {
        let (outcome, time) = timed(work()).await;
        outcome?;
        took.push(time);
        pause(BETWEEN).await;
    }
    Ok(took)
}

fn p99(mut took: Vec<Duration>) -> f64 {
    took.sort_unstable();
    millis(took.get(took.len() * 99 / 100).copied().unwrap_or_default())
}
