//! A hit in the near cache against the bare engine that keeps it.

mod allocations;
mod sides;

use std::sync::Arc;
use std::time::Duration;

use stanchion::cache::NearEngine;
use stanchion_memory::{MokaNear, QuickNear};

use self::sides::{BareMoka, BareQuick, Get, Peek, Read};
use crate::report::{Report, Row};
use crate::rounds::Rounds;
use crate::timing::{nanos_each, thread_time};
use crate::{Failure, machine};

const METHOD: &str = "10,000 distinct values of 100 bytes under short string identifiers, read in a scrambled order. Ours: \
`cache.get(id).await` and `cache.peek(id)` of a `Cache<String>` with a near cache. moka: `sync::Cache::get` of an \
`Arc<String>`, the same hasher and policy, no time to live, and one read of the same clock. quick_cache: a lookup written \
by hand, with a check of expiry by the same clock and a counter of hits. Nanoseconds of processor time a hit in each thread, \
so that what else runs on the machine counts little, after one walk over all values that is not timed, so that it counts \
little which side was measured before; less is better. Median of 48 short paired rounds in balanced order, six with each of \
eight fillings, which lie differently in memory. Allocations are counted by a program of its own, whose allocator counts, \
over 100,000 hits after twice as many. What is judged is what the cache takes beyond its engine, which is counted bare \
beside it: quick_cache takes nothing, and moka itself takes a piece of 2 KiB once in some 126 reads, wherever it is used, \
since its upkeep runs on its readers and leaves garbage of crossbeam's epochs.";

const KEYS: usize = 10_000;
const READS: usize = 100_000;
/// How often all sides are filled anew.
const FILLINGS: usize = 8;
/// With each filling. Short, so that what else the machine does touches all sides of a round, or none.
const ROUNDS: usize = 6;
const ENTRIES: u64 = 2 * KEYS as u64;

pub(crate) async fn run() -> Result<Report, Failure> {
    let ids: Arc<[String]> = (0..KEYS).map(|n| format!("u{n}")).collect();
    let mut rows = Vec::new();
    let moka = (|| MokaNear::entries(ENTRIES), BareMoka::filled, "moka", 1.15);
    compare(&ids, "MokaNear", moka, &mut rows).await?;
    let quick = (|| QuickNear::entries(ENTRIES), BareQuick::filled, "quick_cache by hand", 1.3);
    compare(&ids, "QuickNear", quick, &mut rows).await?;
    allocate(&mut rows).await?;
    let versions = machine::versions(&["moka", "quick_cache", "tokio", "stanchion"]);
    Ok(Report::new("near-hit", versions, METHOD, rows))
}

/// How often a hit takes memory, and how often the engine does when it is used alone.
async fn allocate(rows: &mut Vec<Row>) -> Result<(), Failure> {
    let counted = allocations::counted().await?;
    for (near, bare, peer) in
        [("MokaNear", "moka, bare", "moka"), ("QuickNear", "quick_cache, bare", "quick_cache")]
    {
        let theirs = counted.iter().find(|(cache, ..)| cache == bare).ok_or("the engine was not counted")?.2;
        for (_, call, ours) in counted.iter().filter(|(cache, ..)| cache == near) {
            let case = format!("{near}, {call}: memory taken");
            rows.push(Row::count(case.clone(), "times/hit", *ours).beside(peer, theirs));
            let own = (ours - theirs).max(0.0);
            rows.push(Row::count(format!("{case}, beyond the engine's own"), "times/hit", own).at_most(0.0));
        }
    }
    Ok(())
}

async fn compare<N: NearEngine, B: Read>(
    ids: &Arc<[String]>,
    engine: &str,
    (near, bare, peer, target): (impl Fn() -> N, impl Fn(&[String]) -> B, &'static str, f64),
    rows: &mut Vec<Row>,
) -> Result<(), Failure> {
    let widths = [(1, "1 thread"), (2, "2 threads")];
    let mut all = widths.map(|_| Rounds::of(3));
    for _ in 0..FILLINGS {
        let cache = sides::filled(near(), ids).await?;
        let (get, peek, bare) = (Get(cache.clone()), Peek(cache), bare(ids));
        for ((threads, _), rounds) in widths.iter().zip(&mut all) {
            for round in 0..ROUNDS {
                let mut measured = vec![0.0; 3];
                for side in rounds.order(round) {
                    measured[side] = match side {
                        0 => time(&get, ids, *threads).await?,
                        1 => time(&peek, ids, *threads).await?,
                        _ => time(&bare, ids, *threads).await?,
                    };
                }
                rounds.add(measured);
            }
        }
    }
    for ((_, name), rounds) in widths.iter().zip(&all) {
        for (side, call) in [(0, "get"), (1, "peek")] {
            let case = format!("{engine}, {call}, {name}");
            rows.push(Row::pairs(case, peer, "ns/hit", &rounds.pairs(side, 2)).at_most(target));
        }
    }
    Ok(())
}

/// Nanoseconds a read, while each thread reads.
async fn time(side: &impl Read, ids: &Arc<[String]>, threads: usize) -> Result<f64, Failure> {
    let readers: Vec<_> = (0..threads)
        .map(|thread| {
            let (side, ids) = (side.clone(), Arc::clone(ids));
            // A hit never waits: all of them are on one thread.
            tokio::spawn(async move {
                // Whoever had the processor before has filled its caches with its own.
                side.all(&ids, walk(thread).take(KEYS)).await;
                let begun = thread_time();
                let found = side.all(&ids, walk(thread)).await;
                (found, thread_time().saturating_sub(begun))
            })
        })
        .collect();
    let (mut found, mut took) = (0, Duration::ZERO);
    for reader in readers {
        let (hits, time) = reader.await?;
        found += hits;
        took += time;
    }
    let asked = READS * threads;
    if found < asked {
        return Err(format!("{} of {asked} reads were no hits", asked - found).into());
    }
    Ok(nanos_each(asked, took))
}

/// The same scrambled walk for all sides: a full cycle, since the step and the size have no common divisor.
fn walk(thread: usize) -> impl Iterator<Item = usize> + Send {
    (0..READS).map(move |turn| (turn * 7_919 + thread * 31) % KEYS)
}
