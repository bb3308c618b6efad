//! What callers see while Redis is away, and what they see after it is back.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use stanchion::cache::Cache;
use stanchion::random::{Random, SystemRandom};
use stanchion_conformance::servers::{RedisProcess, until};
use stanchion_memory::MokaNear;
use stanchion_redis::RedisBackend;
use tokio::task::JoinHandle;

use crate::report::{Report, Row};
use crate::timing::{count, millis, now, pause};
use crate::{Failure, machine};

const METHOD: &str = "64 tasks call `get_or_load` on 500 keys at random, with a near cache and the default deadlines (100 ms for \
reads), a millisecond apart; the loader takes 5 ms. Every 10 ms the truth behind a random key changes, and a task removes the \
key from the cache and tries until that is done, as `invalidate_on` does. For 10 seconds Redis is killed (SIGKILL; it \
comes back empty), then, in another run, it hangs (SIGSTOP; it comes back as it was). Of the calls that began in \
those seconds: how many failed, and how long 99 of 100 took at the most, judged by the deadline and the loader together, with nothing allowed for two shared cores. \
The calls go on until a second after the feed is back. Then, once all removals are done: how many values, near and in Redis, \
differ from the truth. Less is better.";

const KEYS: usize = 500;
const TASKS: usize = 64;
const LOAD: Duration = Duration::from_millis(5);
const STORE: Duration = Duration::from_millis(100);
const OUTAGE: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Killed,
    Hanging,
}

pub(crate) async fn run() -> Result<Report, Failure> {
    let mut rows = Vec::new();
    let mut version = String::new();
    for fault in [Fault::Killed, Fault::Hanging] {
        let server = RedisProcess::start().await?;
        version = server.version().await?;
        let what = match fault {
            Fault::Killed => "killed",
            Fault::Hanging => "hanging",
        };
        let seen = outage(&server, fault).await?;
        let case = format!("{what}: failures of {} calls", seen.calls);
        rows.push(Row::count(case, "%", count(seen.failures) * 100.0 / count(seen.calls)).at_most(0.0));
        let limit = millis(STORE + LOAD);
        rows.push(Row::count(format!("{what}: p99"), "ms", millis(seen.p99)).at_most(limit));
        rows.push(Row::count(format!("{what}: p50"), "ms", millis(seen.p50)));
        rows.push(Row::count(format!("{what}: the longest"), "ms", millis(seen.longest)));
        let case = format!("{what}: stale of {} values, after {} changes", seen.compared, seen.changes);
        rows.push(Row::count(case, "values", count(seen.stale)).at_most(0.0));
    }
    let crates = machine::versions(&["redis", "tokio", "stanchion", "moka"]);
    Ok(Report::new("outage", format!("Redis {version}, {crates}"), METHOD, rows))
}

struct Seen {
    calls: usize,
    failures: usize,
    p50: Duration,
    p99: Duration,
    longest: Duration,
    changes: u64,
    compared: usize,
    stale: usize,
}

async fn outage(server: &RedisProcess, fault: Fault) -> Result<Seen, Failure> {
    let stores = RedisBackend::connect(server.url().as_str()).await?.stores();
    let cache = stores.cache::<u64>("truth").near(MokaNear::entries(10_000)).build()?;
    let world = World::new(cache, stores.cache("truth").build()?);
    let callers: Vec<_> = (0..TASKS).map(|_| world.go(World::call)).collect();
    let changer = world.go(World::change);
    pause(Duration::from_secs(1)).await;

    let begun = now();
    match fault {
        Fault::Killed => server.kill()?,
        Fault::Hanging => server.pause()?,
    }
    pause(OUTAGE.saturating_sub(begun.elapsed())).await;
    let ended = now();
    match fault {
        Fault::Killed => server.restart().await?,
        Fault::Hanging => server.resume()?,
    }
    // Calls go on while it comes back, and a second more.
    until("the feed", PATIENCE, || world.is_near()).await?;
    pause(Duration::from_secs(1)).await;
    world.stopped.store(true, Ordering::Relaxed);
    let mut calls = Vec::new();
    for caller in callers {
        calls.extend(caller.await??);
    }
    changer.await??;
    until("the removals", PATIENCE, || ready(world.all_removed())).await?;
    until("the feed", PATIENCE, || world.is_near()).await?;
    let (compared, stale) = world.stale().await?;
    if compared < KEYS / 2 {
        return Err(format!("only {compared} values were left to be compared").into());
    }

    calls.retain(|call| call.begun >= begun && call.begun < ended);
    let mut took: Vec<_> = calls.iter().map(|call| call.took).collect();
    took.sort_unstable();
    let share = |percent: usize| took.get(took.len() * percent / 100).copied().unwrap_or_default();
    Ok(Seen {
        calls: calls.len(),
        failures: calls.iter().filter(|call| call.failed).count(),
        p50: share(50),
        p99: share(99),
        longest: took.last().copied().unwrap_or_default(),
        changes: world.changes.load(Ordering::Relaxed),
        compared,
        stale,
    })
}

struct Call {
    begun: Instant,
    took: Duration,
    failed: bool,
}

/// The cache, and the truth that it is a cache of.
#[derive(Clone)]
struct World {
    cache: Cache<u64>,
    /// The same in Redis, without anything near.
    stored: Cache<u64>,
    truth: Arc<[AtomicU64]>,
    changes: Arc<AtomicU64>,
    removals_left: Arc<AtomicU64>,
    stopped: Arc<AtomicBool>,
}

impl World {
    fn new(cache: Cache<u64>, stored: Cache<u64>) -> Self {
        Self {
            cache,
            stored,
            truth: (0..KEYS).map(|_| AtomicU64::new(0)).collect(),
            changes: Arc::default(),
            removals_left: Arc::default(),
            stopped: Arc::default(),
        }
    }

    fn go<F>(&self, role: fn(Self) -> F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        tokio::spawn(role(self.clone()))
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    async fn call(self) -> Result<Vec<Call>, Failure> {
        let mut calls = Vec::new();
        while !self.is_stopped() {
            let key = some_key()?;
            let truth = Arc::clone(&self.truth);
            let load = move || async move {
                // The older truth, as a slow database would tell it.
                let version = truth[key].load(Ordering::SeqCst);
                pause(LOAD).await;
                Ok::<_, Failure>(version)
            };
            let begun = now();
            let failed = self.cache.get_or_load(key, load).await.is_err();
            calls.push(Call { begun, took: begun.elapsed(), failed });
            pause(Duration::from_millis(1)).await;
        }
        Ok(calls)
    }

    async fn change(self) -> Result<(), Failure> {
        while !self.is_stopped() {
            let key = some_key()?;
            self.truth[key].fetch_add(1, Ordering::SeqCst);
            self.changes.fetch_add(1, Ordering::Relaxed);
            self.removals_left.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(self.clone().remove(key));
            pause(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    async fn remove(self, key: usize) {
        let mut wait = Duration::from_millis(20);
        while self.cache.remove(key).await.is_err() {
            pause(wait).await;
            wait = (wait * 2).min(Duration::from_secs(1));
        }
        self.removals_left.fetch_sub(1, Ordering::Relaxed);
    }

    fn all_removed(&self) -> Result<(), String> {
        match self.removals_left.load(Ordering::Relaxed) {
            0 => Ok(()),
            left => Err(format!("{left} are left")),
        }
    }

    async fn is_near(&self) -> Result<(), String> {
        let read = self.cache.get_or_load("marker", || async { Ok::<_, Failure>(0) }).await;
        if self.cache.peek("marker").is_some() { Ok(()) } else { Err(format!("not up: {read:?}")) }
    }

    /// How many values there are, near or in Redis, and how many of them differ from the truth.
    async fn stale(&self) -> Result<(usize, usize), Failure> {
        let (mut compared, mut stale) = (0, 0);
        for (key, truth) in self.truth.iter().enumerate() {
            let truth = truth.load(Ordering::SeqCst);
            for found in [self.cache.peek(key), self.stored.get(key).await?].into_iter().flatten() {
                compared += 1;
                stale += usize::from(*found != truth);
            }
        }
        Ok((compared, stale))
    }
}

fn some_key() -> Result<usize, Failure> {
    let mut chance = [0; 8];
    SystemRandom.fill(&mut chance)?;
    Ok(usize::try_from(u64::from_le_bytes(chance) % u64::try_from(KEYS)?)?)
}
