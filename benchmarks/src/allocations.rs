//! How often each way of reading a cached value takes memory, and how much, on the thread that reads; with `--json` the
//! first of the two alone, for the benchmarks.
//!
//! `cargo run --release -p stanchion-benchmarks --bin stanchion-allocations`. A program of its own, because the allocator
//! that counts is in every program it is linked to.

use std::process::ExitCode;
use std::sync::Arc;

use allocation_counter::measure;
use futures_util::FutureExt;
use stanchion::cache::{Cache, NearEngine};
use stanchion_memory::{MemoryBackend, MokaNear, QuickNear};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const KEYS: u64 = 10_000;
const READS: u32 = 100_000;

/// The mean of many reads.
struct Row {
    cache: &'static str,
    call: &'static str,
    times: f64,
    bytes: f64,
}

/// A scrambled walk.
fn walk(reads: u32) -> impl Iterator<Item = u64> {
    (0..u64::from(reads)).map(|turn| turn * 7_919 % KEYS)
}

/// A cache of short texts, read often enough that everything is as near as it gets.
async fn filled(near: Option<impl NearEngine>) -> Result<Cache<String>, Failure> {
    let stores = MemoryBackend::new().stores();
    let mut builder = stores.cache::<String>("user");
    if let Some(engine) = near {
        builder = builder.near(engine);
    }
    let cache = builder.build()?;
    for n in 0..KEYS {
        cache.set(n, &format!("user {n}")).await?;
    }
    for n in walk(2 * READS) {
        cache.get(n).await?.ok_or("a value is missing")?;
    }
    Ok(cache)
}

fn count(cache: &'static str, call: &'static str, mut read: impl FnMut(u64) -> bool) -> Result<Row, Failure> {
    let mut found = 0;
    let counted = measure(|| {
        for n in walk(READS) {
            found += u32::from(read(n));
        }
    });
    if found != READS {
        return Err(format!("{cache}, {call}: only {found} of {READS} reads found a value at once").into());
    }
    let [times, bytes] = [counted.count_total, counted.bytes_total]
        .map(|sum| u32::try_from(sum).map_or(f64::INFINITY, f64::from) / f64::from(READS));
    Ok(Row { cache, call, times, bytes })
}

async fn ours(name: &'static str, near: Option<impl NearEngine>, rows: &mut Vec<Row>) -> Result<(), Failure> {
    let is_near = near.is_some();
    let cache = filled(near).await?;
    if is_near {
        rows.push(count(name, "peek", |n| cache.peek(n).is_some())?);
    }
    rows.push(count(name, "get", |n| matches!(cache.get(n).now_or_never(), Some(Ok(Some(_)))))?);
    let load = || async { Err::<String, _>(std::io::Error::other("nothing is loaded")) };
    let hit = |n| matches!(cache.get_or_load(n, load).now_or_never(), Some(Ok(_)));
    rows.push(count(name, "get_or_load", hit)?);
    Ok(())
}

/// The engines alone, for what is theirs.
fn bare(rows: &mut Vec<Row>) -> Result<(), Failure> {
    let moka = moka::sync::Cache::new(2 * KEYS);
    let quick = quick_cache::sync::Cache::new(usize::try_from(2 * KEYS)?);
    for n in 0..KEYS {
        moka.insert(n, Arc::new(n));
        quick.insert(n, Arc::new(n));
    }
    for n in walk(2 * READS) {
        let _read = (moka.get(&n), quick.get(&n));
    }
    rows.push(count("moka, bare", "get", |n| moka.get(&n).is_some())?);
    rows.push(count("quick_cache, bare", "get", |n| quick.get(&n).is_some())?);
    Ok(())
}

async fn run(json: bool) -> Result<(), Failure> {
    let mut rows = Vec::new();
    ours("MokaNear", Some(MokaNear::entries(2 * KEYS)), &mut rows).await?;
    ours("QuickNear", Some(QuickNear::entries(2 * KEYS)), &mut rows).await?;
    ours("the memory store alone", None::<MokaNear>, &mut rows).await?;
    bare(&mut rows)?;
    if json {
        let times: Vec<_> = rows.iter().map(|row| (row.cache, row.call, row.times)).collect();
        println!("{}", serde_json::to_string(&times)?);
        return Ok(());
    }
    println!("| cache | call | times memory is taken | bytes |\n|---|---|---|---|");
    for Row { cache, call, times, bytes } in rows {
        println!("| {cache} | {call} | {times:.4} | {bytes:.1} |");
    }
    Ok(())
}

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(std::env::args().any(|argument| argument == "--json"))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
