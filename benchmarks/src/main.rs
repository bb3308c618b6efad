//! Side-by-side measurements of stanchion against its peers, in one run, with the peer doing the same work.
//!
//! `cargo run --release -p stanchion-benchmarks -- NAME [--json] [--write]` runs one comparison and prints it, and writes
//! `benchmarks/results/NAME.md` if asked to; `-- all` runs every one and writes each; `-- soak MINUTES` looks for what is left
//! behind. One that breaks is a line of JSON too, which has not passed and says why. Only ratios within one run mean anything: the
//! machines are shared, and client and server share their cores.

mod batch_stampede;
mod bulk;
mod coherence;
mod commands;
mod failover;
mod limit_model;
mod load;
mod machine;
mod memory_hit;
mod near_hit;
mod outage;
mod peers;
mod redis_get;
mod redis_set;
mod report;
mod rounds;
mod server;
mod session_expiry;
mod session_limit;
mod session_request;
mod slow_loader;
mod soak;
mod stampede;
mod timing;
mod token_check;

use std::process::ExitCode;

use crate::report::Report;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Every comparison by its name.
const NAMES: [&str; 17] = [
    "bulk",
    "coherence",
    "stampede",
    "batch-stampede",
    "slow-loader",
    "near-hit",
    "redis-get",
    "redis-set",
    "commands",
    "outage",
    "failover",
    "memory-hit",
    "session-expiry",
    "session-request",
    "session-limit",
    "limit-model",
    "token-check",
];

async fn run(name: &str) -> Result<Report, Failure> {
    match name {
        "bulk" => bulk::run().await,
        "coherence" => coherence::run().await,
        "stampede" => stampede::run().await,
        "batch-stampede" => batch_stampede::run().await,
        "slow-loader" => slow_loader::run().await,
        "near-hit" => near_hit::run().await,
        "redis-get" => redis_get::run().await,
        "redis-set" => redis_set::run().await,
        "commands" => commands::run().await,
        "outage" => outage::run().await,
        "failover" => failover::run().await,
        "memory-hit" => memory_hit::run().await,
        "session-expiry" => session_expiry::run().await,
        "session-request" => session_request::run().await,
        "session-limit" => session_limit::run().await,
        "limit-model" => limit_model::run().await,
        "token-check" => token_check::run().await,
        other => Err(format!("there is no comparison {other:?}; there are {NAMES:?} and all").into()),
    }
}

/// The roles of the processes that comparisons start.
const CHILDREN: [&str; 3] = [stampede::child::CHILD, batch_stampede::CHILD, slow_loader::CHILD];

async fn play(role: &str, arguments: &[String]) -> Result<(), Failure> {
    match role {
        batch_stampede::CHILD => batch_stampede::child(arguments).await,
        slow_loader::CHILD => slow_loader::child(arguments).await,
        _ => stampede::child::child(arguments).await,
    }
}

fn main() -> ExitCode {
    let (flags, names): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|arg| arg.starts_with("--"));
    let json = flags.iter().any(|flag| flag == "--json");
    // The runtime that the reference figures were taken on.
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let name = match names.as_slice() {
        [name] => name,
        [role, arguments @ ..] if CHILDREN.contains(&role.as_str()) => {
            return match runtime.block_on(play(role, arguments)) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("{role}: {error}");
                    ExitCode::FAILURE
                }
            };
        }
        [name, minutes] if name == soak::NAME && minutes.parse::<u64>().is_ok() => {
            return soak(&runtime, minutes.parse().unwrap_or(0));
        }
        _ => {
            eprintln!(
                "usage: stanchion-benchmarks NAME [--json] [--write], NAME one of {NAMES:?} or all; or soak MINUTES"
            );
            return ExitCode::from(2);
        }
    };
    let all = name == "all";
    let chosen: Vec<&str> = if all { NAMES.to_vec() } else { vec![name.as_str()] };
    let write = all || flags.iter().any(|flag| flag == "--write");
    // One that breaks takes none of the others with it.
    let mut passed = true;
    for name in chosen {
        passed &= one(&runtime, name, write, json).unwrap_or_else(|error| {
            eprintln!("{name}: {error}");
            if json {
                println!("{}", report::broken(name, &*error));
            }
            false
        });
    }
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a comparison, and answers whether all its targets were met.
fn one(runtime: &tokio::runtime::Runtime, name: &str, write: bool, json: bool) -> Result<bool, Failure> {
    let report = runtime.block_on(run(name))?;
    println!("{}", report.markdown());
    if write {
        report.write()?;
    }
    if json {
        println!("{}", report.json()?);
    }
    Ok(report.pass())
}

/// Prints what was found, and writes `benchmarks/results/soak.md`.
fn soak(runtime: &tokio::runtime::Runtime, minutes: u64) -> ExitCode {
    let done = runtime.block_on(soak::run(minutes)).and_then(|report| {
        println!("{}", report.markdown());
        report.write()?;
        Ok(report.pass())
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::FAILURE
        }
    }
}
