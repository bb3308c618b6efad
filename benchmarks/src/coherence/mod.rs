//! Whether a near cache tells the truth: one reader races one writer, and then it is quiet.

mod killer;
mod ours;
mod peer;

use std::ops::RangeFrom;
use std::time::Duration;

use stanchion::random::{Random, SystemRandom};
use stanchion_conformance::servers::ServerError;
use stanchion_redis::Invalidation;

use self::killer::Killer;
pub(crate) use self::ours::Ours as Near;
use self::peer::Peer;
use crate::report::{Report, Row};
use crate::server::Server;
use crate::timing::{count, now, pause};
use crate::{Failure, machine};

const METHOD: &str = "5,000 keys. For each in turn two tasks start: one reads three times through the client's near cache, one \
writes once on another process's connection, and one of the two, at random, is up to 255 µs late, so that any read may \
meet the write (by the bus on a Cluster up to 4 ms, since the masters pass a message on to each other). After all keys it is made quiet: the feed is up, and 64 marker keys, on all masters, have been written \
and seen to change, twice. Stale is a key whose near copy differs from what is in Redis then. Two such passes; where the feed's \
connections are killed, four, each with 3 kills at random moments 20 to 275 ms apart, and the race goes on until the feed is \
back and a quarter of the keys has a near copy again (by the bus on a Cluster a twentieth). \
Beside it the client-side cache of the bare `redis` crate (`cache-aio`, one RESP3 connection) in the same race. Less is \
better.";

const KEYS: usize = 5_000;
const READS: usize = 3;
/// By how much one of the two is late at most: a trip or two.
const TRIP: Duration = Duration::from_micros(255);
/// A feed that is not back by then never will be.
const MOST_PASSES: u64 = 100;
/// A condition that does not come true by then never will.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came of a race.
#[derive(Default)]
struct Outcome {
    keys: usize,
    stale: usize,
    /// How many near copies were compared.
    compared: usize,
    kills: usize,
}

impl Outcome {
    fn percent(&self) -> f64 {
        count(self.stale) * 100.0 / count(self.keys)
    }
}

/// A near cache and somebody else who writes.
pub(crate) trait Racer: Clone + Send + Sync + 'static {
    /// Reads through the near cache.
    fn read(&self, key: usize) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Writes past it.
    fn write(&self, key: usize, version: u64) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Waits until nothing is under way any more.
    fn quiet(&self) -> impl Future<Output = Result<(), ServerError>> + Send;

    /// How many keys have a near copy.
    fn copies(&self) -> usize;

    /// Whether the near copy of a key differs from what is in Redis; `None` without one.
    fn stale(&self, key: usize) -> impl Future<Output = Result<Option<bool>, Failure>> + Send;
}

/// Races; kills on this server meanwhile, if there is one.
async fn race(racer: &impl Racer, latest: Duration, kill_on: Option<&Server>) -> Result<Outcome, Failure> {
    for key in 0..KEYS {
        racer.write(key, 0).await?;
    }
    let mut outcome = Outcome::default();
    let mut versions = 1..;
    for _ in 0..if kill_on.is_some() { 4 } else { 2 } {
        let killing = kill_on.map(|server| Killer::of(server, 3));
        pass(racer, latest, &mut versions).await?;
        if let Some(killing) = killing {
            while !killing.is_finished() {
                pass(racer, latest, &mut versions).await?;
            }
            outcome.kills += killing.ended().await?;
            // Until copies were made right after the feed was back, with the race going on.
            while racer.copies() < KEYS / if latest > TRIP { 20 } else { 4 } && versions.start < MOST_PASSES {
                pass(racer, latest, &mut versions).await?;
            }
        }
        racer.quiet().await?;
        for key in 0..KEYS {
            if let Some(stale) = racer.stale(key).await? {
                outcome.compared += 1;
                outcome.stale += usize::from(stale);
            }
        }
        outcome.keys += KEYS;
    }
    // The late half of the writes leave no copy, and a kill only those of what was read since; what one master of a Cluster
    // tells the others of drops most of the rest.
    let share = if latest > TRIP { 10 } else { 4 };
    let least = if kill_on.is_some() { KEYS } else { outcome.keys } / share;
    if outcome.compared < least {
        return Err(format!("only {} near copies were left to be compared", outcome.compared).into());
    }
    Ok(outcome)
}

/// They meet at every key once.
async fn pass(racer: &impl Racer, latest: Duration, versions: &mut RangeFrom<u64>) -> Result<(), Failure> {
    let version = versions.next().ok_or("no version is left")?;
    for key in 0..KEYS {
        meet(racer, key, version, latest).await?;
    }
    Ok(())
}

/// The reader and the writer meet at a key.
async fn meet(racer: &impl Racer, key: usize, version: u64, latest: Duration) -> Result<(), Failure> {
    let (reader, writer) = (racer.clone(), racer.clone());
    let [early, late] = lags(latest)?;
    let read = tokio::spawn(async move {
        lag(early).await;
        for _ in 0..READS {
            reader.read(key).await?;
        }
        Ok::<_, Failure>(())
    });
    let write = tokio::spawn(async move {
        lag(late).await;
        writer.write(key, version).await
    });
    read.await??;
    write.await?
}

/// By how much the reader and the writer start late: one of them, at random, by up to that much.
fn lags(latest: Duration) -> Result<[Duration; 2], Failure> {
    let mut chance = [0; 2];
    SystemRandom.fill(&mut chance)?;
    let lag = latest * u32::from(chance[0]) / u32::from(u8::MAX);
    Ok(if chance[1] % 2 == 0 { [lag, Duration::ZERO] } else { [Duration::ZERO, lag] })
}

/// Finer than a timer where that is needed: it keeps a core from the servers.
async fn lag(lag: Duration) {
    if lag > TRIP {
        return pause(lag).await;
    }
    let begun = now();
    while begun.elapsed() < lag {
        tokio::task::yield_now().await;
    }
}

pub(crate) async fn run() -> Result<Report, Failure> {
    let mut rows = Vec::new();
    let mut version = String::new();
    for server in [Server::standalone().await?, Server::cluster().await?] {
        version = server.version().await?;
        for (told, by, kills) in [
            (Invalidation::Tracking, "tracking", false),
            (Invalidation::Tracking, "tracking", true),
            (Invalidation::Bus, "the bus", false),
            (Invalidation::Bus, "the bus", true),
        ] {
            let ours = Near::on(&server, told).await?;
            let far = matches!(server, Server::Cluster(..)) && told == Invalidation::Bus;
            let latest = if far { 16 * TRIP } else { TRIP };
            let outcome = race(&ours, latest, kills.then_some(&server)).await?;
            let killed = if kills { format!(", feed killed {} times", outcome.kills) } else { String::new() };
            let compared = outcome.compared;
            let case = format!("{}, by {by}{killed}; {compared} near copies compared", server.name());
            let mut row = Row::count(case, "% of keys stale", outcome.percent());
            if let (Server::Standalone(process), "tracking", false) = (&server, by, kills) {
                let peer = race(&Peer::on(&process.url()).await?, TRIP, None).await?;
                row = row.beside("redis, cache-aio", peer.percent());
            }
            rows.push(row.at_most(0.0));
        }
    }
    let crates = machine::versions(&["redis", "tokio", "stanchion", "moka"]);
    Ok(Report::new("coherence", format!("Redis {version}, {crates}"), METHOD, rows))
}
