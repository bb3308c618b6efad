//! Half an hour and more of everything at once, and what is left of it: memory, tasks, connections, keys.

mod sample;
mod work;

use std::time::Duration;

use stanchion_redis::RedisBackend;

use self::sample::{Sample, keys_at_rest, settled};
use self::work::{LIFE, Work};
use crate::report::{Report, Row};
use crate::server::Server;
use crate::timing::{count, now, pause};
use crate::{Failure, machine};

/// The name on the command line.
pub(crate) const NAME: &str = "soak";

const METHOD: &str = "One process, on one Redis and on a Cluster of three masters in turn. A round lasts ten seconds: 24 tasks use \
every façade (loads through a near cache, removals, tags and batches; sessions opened, read, changed, ended, and all of a user's \
ended; tokens revoked; locks taken, waited for and dropped; limits; events published, and subscribed to anew), a second backend is \
connected and closed every second, the connections of either kind are killed by the server twice, and it stops (SIGSTOP) for 300 \
ms once. Errors that an outage explains are counted, all others end the run. After each round everything has to work again at once; then everything but the backend is dropped, and \
when nothing changes any more it is counted what is left. Judged: counts of tasks, threads, descriptors and clients at the end \
against the greatest of the first quarter of the rounds; memory: the greatest of the last quarter against the greatest of the \
second; keys: those that are left when nothing was done for two minutes, and all that lived for less than that is gone, at the end against \
those that were left so after the first quarter. How many there are after a round depends on how much was done in it.";

const ROUND: Duration = Duration::from_secs(10);
/// In which all that was stored has ended.
const REST: Duration = LIFE.saturating_mul(6);
/// With fewer rounds on each server there are no quarters to compare.
const LEAST_ROUNDS: usize = 8;

/// Runs for so many minutes, and answers what was left after each round.
pub(crate) async fn run(minutes: u64) -> Result<Report, Failure> {
    let servers = [Server::standalone().await?, Server::cluster().await?];
    let version = servers[0].version().await?;
    let mut runs = Vec::new();
    for server in &servers {
        // As long as a call may take where a server stops for a moment on a busy machine.
        let config = server.config(&[])?.deadline(PATIENCE);
        let backend = RedisBackend::connect(config.clone()).await?;
        runs.push(Run { server, work: Work::new(backend, config), samples: Vec::new(), at_rest: Vec::new() });
    }
    let (begun, length) = (now(), Duration::from_mins(minutes));
    let mut least = LEAST_ROUNDS / 4;
    for part in [length / 4, length] {
        while begun.elapsed() < part || runs.iter().any(|run| run.samples.len() < least) {
            for run in &mut runs {
                run.round().await?;
            }
        }
        pause(REST).await;
        for run in &mut runs {
            run.at_rest.push(keys_at_rest(run.server).await?);
        }
        least = LEAST_ROUNDS;
    }
    let rows = runs.iter().flat_map(Run::rows).collect();
    let crates = machine::versions(&["redis", "tokio", "stanchion", "moka"]);
    Ok(Report::new(NAME, format!("Redis {version}, {crates}"), METHOD, rows))
}

const PATIENCE: Duration = Duration::from_secs(5);

/// What is run on one server.
struct Run<'a> {
    server: &'a Server,
    work: Work,
    samples: Vec<Sample>,
    // The keys that are left, after the first quarter and at the end.
    at_rest: Vec<usize>,
}

impl Run<'_> {
    async fn round(&mut self) -> Result<(), Failure> {
        let working = self.work.begin();
        self.disturb().await?;
        working.end().await?;
        self.work.is_well().await?;
        let sample = settled(self.server).await?;
        println!("{}, round {}: {sample}", self.server.name(), self.samples.len() + 1);
        self.samples.push(sample);
        Ok(())
    }

    /// Lasts as long as a round.
    async fn disturb(&self) -> Result<(), Failure> {
        let begun = now();
        for kind in ["normal", "pubsub"] {
            pause(ROUND / 4).await;
            for node in self.server.nodes() {
                let _killed = node.command(&["CLIENT", "KILL", "TYPE", kind]).await?;
            }
        }
        pause(ROUND / 4).await;
        self.server.nodes()[0].pause()?;
        pause(Duration::from_millis(300)).await;
        self.server.nodes()[0].resume()?;
        pause(ROUND.saturating_sub(begun.elapsed())).await;
        Ok(())
    }

    fn rows(&self) -> Vec<Row> {
        let (rounds, quarter) = (self.samples.len(), self.samples.len() / 4);
        let (first, second) = (&self.samples[..quarter], &self.samples[quarter..2 * quarter]);
        let last = &self.samples[rounds - quarter..];
        let greatest = |of: &[Sample], what: fn(&Sample) -> usize| of.iter().map(what).max().unwrap_or(0);
        let name = self.server.name();
        let mut rows = vec![
            Row::count(format!("{name}: rounds of ten seconds"), "rounds", count(rounds)),
            Row::count(format!("{name}: calls"), "calls", count(self.work.calls())),
            Row::count(
                format!("{name}: of them not answered for an outage"),
                "calls",
                count(self.work.outages()),
            )
            .at_most(count(self.work.calls() / 10)),
        ];
        for (what, unit, of) in [
            ("tasks", "tasks", Sample::TASKS),
            ("threads", "threads", Sample::THREADS),
            ("descriptors", "descriptors", Sample::DESCRIPTORS),
            ("clients of the servers", "clients", Sample::CLIENTS),
        ] {
            let (before, after) = (greatest(first, of), greatest(&self.samples[rounds - 1..], of));
            rows.push(
                Row::count(format!("{name}: {what}, of {before} in the first quarter"), unit, count(after))
                    .at_most(count(before)),
            );
        }
        let (before, after) = (greatest(second, Sample::MEMORY), greatest(last, Sample::MEMORY));
        let case = format!("{name}: memory in the last quarter, of {before} in the second");
        rows.push(Row::count(case, "KiB", count(after)).at_most((count(before) * 1.05).ceil()));
        let (before, after) = (greatest(second, Sample::KEYS), greatest(last, Sample::KEYS));
        let case = format!("{name}: keys after a round in the last quarter, of {before} in the second");
        rows.push(Row::count(case, "keys", count(after)));
        if let [before, .., after] = self.at_rest[..] {
            let case = format!("{name}: keys left at rest, of {before} after the first quarter");
            rows.push(Row::count(case, "keys", count(after)).at_most(count(before)));
        }
        rows
    }
}
