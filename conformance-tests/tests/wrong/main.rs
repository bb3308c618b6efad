//! The suite proves itself: for every MUST rule there is a wrong backend, and the suite fails it in the named
//! case, with the expected message; and no wrong backend breaks more rules than it must.
//!
//! A wrong backend is the memory backend behind a decorator that makes one mistake which real backends make.

mod backend;
mod cache;
mod clock;
mod event;
mod fault;
mod file;
mod limit;
mod lock;
mod lock_file;
mod partial;
mod proof;
mod refused;
mod revocations;
mod session;
mod session_outbox;
mod single_use;
mod stores;
mod token;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use stanchion_conformance::{Area, Failure, Harness, Level, Part, Rule, cases, run_case, run_child};

use self::backend::{Bug, Wrong};
use self::fault::Faulty;
use self::file::FileStore;
use self::lock_file::LockFile;
use self::proof::Proof;

/// Every wrong backend.
fn proofs() -> impl Iterator<Item = &'static Proof> {
    [
        cache::value::PROOFS,
        cache::lease::PROOFS,
        cache::generation::PROOFS,
        cache::feed::PROOFS,
        clock::PROOFS,
        event::PROOFS,
        fault::PROOFS,
        file::PROOFS,
        limit::PROOFS,
        limit::more::PROOFS,
        lock::PROOFS,
        session::PROOFS,
        session_outbox::PROOFS,
        revocations::PROOFS,
        single_use::PROOFS,
        stores::PROOFS,
        token::PROOFS,
    ]
    .into_iter()
    .flatten()
}

/// Each case of a MUST rule can fail.
fn every_case_of_a_must_rule_has_a_wrong_backend() -> Result<(), Failed> {
    let is_proven = |rule: &&Rule| rule.level == Level::Must;
    let mut missing = Vec::new();
    for rule in cases::ALL.iter().flat_map(|(_, rules)| *rules).filter(is_proven) {
        for case in rule.cases {
            if !proofs().any(|proof| proof.rule == rule.id && proof.case == case.name) {
                missing.push(format!("{} {}", rule.id, case.name));
            }
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(format!("no wrong backend for {missing:#?}").into()) }
}

/// What the wrong backends are made of keeps every rule.
async fn the_reference_passes(area: Area) -> Result<(), Failed> {
    for rule in cases::ALL.iter().filter(|(of, _)| *of == area).flat_map(|(_, rules)| *rules) {
        for case in rule.cases {
            let harness: Arc<dyn Harness> = match area {
                Area::Fault => Arc::new(Faulty::new(None)),
                _ => Arc::new(Wrong::new(Bug::None)),
            };
            match run_case(harness, case).await {
                Ok(()) => {}
                // What is in memory is in one process.
                Err(Failure::Ignored(_)) if case.name.starts_with("process::") => {}
                Err(failure) => return Err(format!("{} {}:\n{failure}", rule.id, case.name).into()),
            }
        }
    }
    Ok(())
}

/// One thread, so that racing calls interleave in the same way each time, and time that is over as soon as
/// nobody has anything to do: a backend that never answers takes no time. There are no sockets here.
fn run<T>(work: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?.block_on(work)
}

/// For a backend that other processes open too.
fn run_for_real<T>(work: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

fn main() -> ExitCode {
    let as_child = match FileStore::of_the_environment() {
        Some(file) => run_child(&[file]),
        None => run_child(&[LockFile::new()]),
    };
    if let Some(exit) = as_child {
        return exit;
    }
    let mut trials = vec![
        Trial::test("every_case_of_a_must_rule_has_a_wrong_backend", || {
            every_case_of_a_must_rule_has_a_wrong_backend()
        }),
        Trial::test("lives_by_the_wall_clock_pass", || run(clock::lives_by_the_wall_clock_pass())),
        Trial::test("partial_servers_run_what_they_can", || {
            run(partial::what_is_lacking_is_ignored_and_the_rest_runs())
        }),
        Trial::test("refused_values_alone_pass", || run(refused::values_alone_pass())),
        Trial::test(
            "refused_counters_are_not_counted_with",
            || run(refused::faults_count_without_counters()),
        ),
        Trial::test("file_store_passes_what_has_processes", || run_for_real(file::the_right_one_passes())),
    ];
    for (area, _) in cases::ALL {
        trials.push(Trial::test(format!("reference_{}_passes", area.name()), || {
            run(the_reference_passes(*area))
        }));
    }
    for area in refused::AREAS {
        let name = area.name();
        trials.push(Trial::test(format!("refused_{name}_left_out_passes"), move || {
            run(refused::left_out_passes(area))
        }));
        trials.push(Trial::test(format!("refused_{name}_answered_fails"), move || {
            run(refused::answered_fails(area))
        }));
    }
    for part in Part::ALL {
        let name = part.name();
        trials.push(Trial::test(format!("refused_{name}_left_out_passes"), move || {
            run(refused::part_left_out_passes(part))
        }));
        trials.push(Trial::test(format!("refused_{name}_present_fails"), move || {
            run(refused::part_that_is_there_fails(part))
        }));
        trials.push(Trial::test(format!("refused_{name}_not_needed_where_left_out"), move || {
            run(refused::part_is_not_needed_where_it_is_left_out(part))
        }));
    }
    for proof in proofs() {
        let run_proof =
            || if proof.has_processes() { run_for_real(proof.check()) } else { run(proof.check()) };
        trials.push(Trial::test(proof.name(), run_proof));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
