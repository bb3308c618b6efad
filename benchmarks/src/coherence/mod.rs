//! Whether a near cache tells the truth: one reader races one writer, and then it is quiet.

mod killer;
mod ours;
mod peer;

use std::time::Duration;

use stanchion_conformance::servers::ServerError;

use self::killer::Killer;
use self::ours::Ours;
use self::peer::Peer;
use crate::report::{Report, Row};
use crate::server::Server;
use crate::timing::count;
use crate::{Failure, machine};

const METHOD: &str = "5,000 keys. For each in turn two tasks start at once: one reads three times through the client's near \
cache, one writes once on another process's connection, so that any read may meet the write; all keys twice, and where \
connections are killed again until 12 were, at random moments 20 to 120 ms apart. Then it is quiet: the feed is up, and 64 \
marker keys, on all masters, have been written and seen to change, twice. Stale is a key whose near copy differs from \
what is in Redis then; beside it the client-side cache of the bare `redis` crate (`cache-aio`, \
one RESP3 connection) in the same race. Less is better.";

const KEYS: usize = 5_000;
const PASSES: u64 = 2;
const READS: usize = 3;
const KILLS: usize = 12;
/// A condition that does not come true by then never will.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came of a race.
struct Outcome {
    stale: usize,
    /// How many near copies were compared.
    compared: usize,
}

impl Outcome {
    fn percent(&self) -> f64 {
        count(self.stale) * 100.0 / count(KEYS)
    }
}

/// A near cache and somebody else who writes.
trait Racer: Clone + Send + Sync + 'static {
    /// Reads through the near cache.
    fn read(&self, key: usize) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Writes past it.
    fn write(&self, key: usize, version: u64) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Waits until nothing is under way any more.
    fn quiet(&self) -> impl Future<Output = Result<(), ServerError>> + Send;

    /// Whether the near copy of a key differs from what is in Redis; `None` without one.
    fn stale(&self, key: usize) -> impl Future<Output = Result<Option<bool>, Failure>> + Send;
}

/// Races, until enough connections were killed.
async fn race(racer: &impl Racer, killer: Option<&Killer>) -> Result<Outcome, Failure> {
    for key in 0..KEYS {
        racer.write(key, 0).await?;
    }
    let mut pass = 0;
    while pass < PASSES || killer.is_some_and(|killer| killer.kills() < KILLS) {
        pass += 1;
        for key in 0..KEYS {
            let (reader, writer) = (racer.clone(), racer.clone());
            let read = tokio::spawn(async move {
                for _ in 0..READS {
                    reader.read(key).await?;
                }
                Ok::<_, Failure>(())
            });
            let write = tokio::spawn(async move { writer.write(key, pass).await });
            read.await??;
            write.await??;
        }
    }
    if let Some(killer) = killer {
        killer.stop();
    }
    racer.quiet().await?;
    let mut outcome = Outcome { stale: 0, compared: 0 };
    for key in 0..KEYS {
        if let Some(stale) = racer.stale(key).await? {
            outcome.compared += 1;
            outcome.stale += usize::from(stale);
        }
    }
    if outcome.compared == 0 {
        return Err("no near copy was left to be compared".into());
    }
    Ok(outcome)
}

pub(crate) async fn run() -> Result<Report, Failure> {
    let mut rows = Vec::new();
    let mut version = String::new();
    for server in [Server::standalone().await?, Server::cluster().await?] {
        version = server.version().await?;
        for kills in [false, true] {
            let ours = Ours::on(&server).await?;
            let killer = kills.then(|| Killer::of(&server));
            let outcome = race(&ours, killer.as_ref()).await?;
            let killed = killer.map(|killer| format!(", feed killed {} times", killer.kills()));
            let case = format!(
                "{}{}; {} near copies compared",
                server.name(),
                killed.unwrap_or_default(),
                outcome.compared
            );
            let mut row = Row::count(case, "% of keys stale", outcome.percent());
            if let (Server::Standalone(process), false) = (&server, kills) {
                let peer = race(&Peer::on(&process.url()).await?, None).await?;
                row = row.beside("redis, cache-aio", peer.percent());
            }
            rows.push(row.at_most(0.0));
        }
    }
    let crates = machine::versions(&["redis", "tokio", "stanchion", "moka"]);
    Ok(Report::new("coherence", format!("Redis {version}, {crates}"), METHOD, rows))
}
