//! How often each way of reading a cached value takes memory, and how much, on the thread that reads.
//!
//! `cargo run --release -p stanchion-benchmarks --bin stanchion-allocations`. A program of its own, because the allocator
//! that counts is in every program it is linked to.

use std::process::ExitCode;

use allocation_counter::measure;
use futures_util::FutureExt;
use stanchion::cache::{Cache, NearEngine};
use stanchion_memory::{MemoryBackend, MokaNear, QuickNear};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const KEYS: u64 = 100;
const READS: u32 = 10_000;

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
    for turn in 0..u64::from(2 * READS) {
        cache.get(turn % KEYS).await?.ok_or("a value is missing")?;
    }
    Ok(cache)
}

/// One line: the mean of many reads.
fn row(cache: &str, call: &str, mut read: impl FnMut(u64) -> bool) -> Result<(), Failure> {
    let mut found = 0;
    let counted = measure(|| {
        for turn in 0..READS {
            found += u32::from(read(u64::from(turn) % KEYS));
        }
    });
    if found != READS {
        return Err(format!("{cache}, {call}: only {found} of {READS} reads found a value at once").into());
    }
    let [times, bytes] = [counted.count_total, counted.bytes_total]
        .map(|sum| u32::try_from(sum).map_or(f64::INFINITY, f64::from) / f64::from(READS));
    println!("| {cache} | {call} | {times:.3} | {bytes:.1} |");
    Ok(())
}

async fn compare(name: &str, near: Option<impl NearEngine>) -> Result<(), Failure> {
    let is_near = near.is_some();
    let cache = filled(near).await?;
    if is_near {
        row(name, "peek", |n| cache.peek(n).is_some())?;
    }
    row(name, "get", |n| matches!(cache.get(n).now_or_never(), Some(Ok(Some(_)))))?;
    let load = || async { Err::<String, _>(std::io::Error::other("nothing is loaded")) };
    row(name, "get_or_load", |n| matches!(cache.get_or_load(n, load).now_or_never(), Some(Ok(_))))
}

async fn run() -> Result<(), Failure> {
    println!("| cache | call | times memory is taken | bytes |\n|---|---|---|---|");
    compare("near, on moka", Some(MokaNear::entries(1_000))).await?;
    compare("near, on quick_cache", Some(QuickNear::entries(1_000))).await?;
    compare("the memory store alone", None::<MokaNear>).await
}

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
