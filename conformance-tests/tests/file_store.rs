//! The example's backend with a mutex in place of the file's lock: red where several processes race, for certain, and green
//! everywhere else, as in one process a mutex is as good. With the lock it is green; its own run says so.
//!
//! And what that run does not show: the file is away.

#[path = "../examples/file-store/main.rs"]
#[expect(dead_code, reason = "its `main`, since this has one of its own")]
mod example;

use std::fs;
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use stanchion::{Effect, ErrorKind};
use stanchion_conformance::{
    Failure, Harness, Part, Place, cases, run_case, run_child, run_refused, run_without,
};

use self::example::FileHarness;

/// The cases that a mutex can't pass, and how they say so.
const RED: [(&str, &str); 2] = [
    ("process::no_addition_is_lost", "different sums of all additions of all processes"),
    ("process::one_burst_for_all", "permits of one burst, given to all processes together"),
];

fn harness() -> Arc<FileHarness> {
    Arc::new(FileHarness::new(true))
}

fn run<T>(work: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

async fn is_red(case: &str, message: &str) -> Result<(), Failed> {
    let offered = cases::offered(&*harness());
    let (_, _, case) = offered.into_iter().find(|(_, _, one)| one.name == case).ok_or("it is not run")?;
    match run_case(harness(), case).await {
        Err(Failure::Failed { expected, .. }) if expected.contains(message) => Ok(()),
        other => Err(format!("{} should fail, it gave {other:?}", case.name).into()),
    }
}

async fn is_green_elsewhere() -> Result<(), Failed> {
    let (mut passed, harness) = (0, harness());
    for (_, rule, case) in cases::offered(&*harness) {
        if RED.iter().any(|(red, _)| case.name == *red) {
            continue;
        }
        match run_case(harness.clone(), case).await {
            Ok(()) => passed += 1,
            // It has no server that a case may break.
            Err(Failure::Ignored(_)) if rule.id.starts_with("FAULT-") => {}
            Err(failure) => return Err(format!("{} {}:\n{failure}", rule.id, case.name).into()),
        }
    }
    let areas = cases::ALL.iter().map(|(area, _)| *area);
    for area in areas.filter(|area| !harness.offers().has(*area)) {
        run_refused(harness.clone(), area).await?;
    }
    for part in [Part::Leases, Part::Tags, Part::Feed] {
        run_without(harness.clone(), part).await?;
    }
    if passed < 50 { Err(format!("no more than {passed} cases were run").into()) } else { Ok(()) }
}

/// A file that is away is no empty one: calls fail until it is back, and what it holds is there then.
async fn is_unavailable_while_away() -> Result<(), Failed> {
    let (harness, place) = (FileHarness::new(false), Place::fresh());
    let stores = harness.open(&place).await?;
    let (hits, limits) = (stores.counters("hits").build()?, stores.limits("login").per_hour(1).build()?);
    hits.add("a", 1).await?;
    let (here, away) = (harness.folder(&place), harness.folder(&Place::fresh()));
    fs::rename(&here, &away)?;
    let errors = [
        hits.get("a").await.err(),
        hits.add("a", 1).await.err(),
        limits.peek("a").await.err(),
        limits.check("a").await.err(),
    ];
    fs::rename(&away, &here)?;
    for error in errors {
        let error = error.ok_or("a call was answered without the file")?;
        if (error.kind(), error.effect()) != (ErrorKind::Unavailable, Effect::NotApplied) {
            return Err(error.into());
        }
    }
    if hits.get("a").await? == 1 { Ok(()) } else { Err("what the file held is gone".into()) }
}

fn main() -> ExitCode {
    if let Some(exit) = run_child(&[FileHarness::from_env()]) {
        return exit;
    }
    let mut trials: Vec<_> = RED
        .into_iter()
        .map(|(case, message)| {
            let name = format!("mutex_fails_{}", case.trim_start_matches("process::"));
            Trial::test(name, move || run(is_red(case, message)))
        })
        .collect();
    trials.push(Trial::test("mutex_passes_the_rest", || run(is_green_elsewhere())));
    trials.push(Trial::test("file_that_is_away_is_no_empty_one", || run(is_unavailable_while_away())));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
