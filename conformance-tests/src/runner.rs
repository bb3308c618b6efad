//! Runs the cases as tests: `harness = false`, with the command line of `cargo test`.

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use libtest_mimic::{Arguments, Completion, Trial};
use stanchion::ErrorKind;
use stanchion::contract::Contract;
use stanchion::stores::Stores;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

use crate::report::{self, Status};
use crate::{
    Area, Case, Context, Failure, Harness, Outcome, Part, Rule, Unavailable, cases, check, part, run_child,
};

/// A case that hangs is a failure, and not a stuck run.
const LONGEST: Duration = Duration::from_mins(1);

/// One case on one harness, in a fresh place.
pub async fn run_case(harness: Arc<dyn Harness>, case: &Case) -> Outcome {
    let context = Context::new(harness);
    let running = AssertUnwindSafe((case.run)(&context)).catch_unwind();
    let outcome = match tokio::time::timeout(LONGEST, running).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(Failure::Failed { expected: "no panic".into(), observed: "a panic".into() }),
        Err(_) => {
            Err(Failure::Failed { expected: format!("an end within {LONGEST:?}"), observed: "none".into() })
        }
    };
    context.close().await;
    outcome
}

/// Whether a backend refuses an area that it does not offer.
pub async fn run_refused(harness: Arc<dyn Harness>, area: Area) -> Outcome {
    let context = Context::new(harness);
    let stores = context.open().await?;
    let asked = match area {
        Area::Cache => stores.cache_store().map(drop),
        Area::Session => stores.session_store().map(drop),
        Area::Event => stores.event_bus().map(drop),
        Area::Lock => stores.locker().map(drop),
        Area::Limit => stores.rate_limiter().map(drop),
        Area::Token => stores.token_store().map(drop),
        Area::Stores | Area::Fault => return Ok(()),
    };
    let outcome = check::refused(asked, ErrorKind::Unsupported, "an area that is not offered");
    context.close().await;
    outcome
}

/// Whether a backend lacks an optional part of the cache, and the façade does without it what the contract says.
pub async fn run_without(harness: Arc<dyn Harness>, part: Part) -> Outcome {
    let context = Context::new(harness);
    let outcome = match context.open().await {
        Ok(stores) => part::without(part, &stores).await,
        Err(failure) => Err(failure),
    };
    context.close().await;
    outcome
}

struct Subject {
    harness: Arc<dyn Harness>,
    prepared: OnceCell<Result<(), Unavailable>>,
}

impl Subject {
    fn new(harness: impl Harness) -> Self {
        Self { harness: Arc::new(harness), prepared: OnceCell::new() }
    }

    /// Runs a case of a rule, if the backend is held to it, and reports it.
    async fn run_case(&self, area: Area, rule: &Rule, case: &Case) -> Ended {
        let name = format!("{}::{}", area.name(), case.name);
        let ended = match self.not_claimed(area, rule).await {
            Some(why) => (Status::NotClaimed, Ok(Completion::ignored_with(why))),
            None => self.run(Some(rule), Status::Passed, run_case(Arc::clone(&self.harness), case)).await,
        };
        report::record(self.harness.name(), &name, Some(rule), &ended.0);
        ended
    }

    /// Why a rule of a later contract is not claimed; `None` if the backend is held to it. A backend that can't be asked is
    /// held to every rule.
    async fn not_claimed(&self, area: Area, rule: &Rule) -> Option<String> {
        if rule.since <= Contract::V1 {
            return None;
        }
        let context = Context::new(Arc::clone(&self.harness));
        let declared = match context.open().await {
            Ok(stores) => contract(&stores, area),
            Err(_) => None,
        };
        context.close().await;
        let declared = declared.filter(|declared| *declared < rule.since)?.number();
        let since = rule.since.number();
        Some(format!("not claimed: of version {since} of the contract, and the backend is of {declared}"))
    }

    /// Whether an optional part of the cache that is not offered is absent, with a report of it.
    async fn run_without(&self, part: Part) -> Ended {
        let ended = self.run(None, Status::Refused, run_without(Arc::clone(&self.harness), part)).await;
        report::record(self.harness.name(), &format!("cache::{}::refused", part.name()), None, &ended.0);
        ended
    }

    /// Whether an area that is not offered is refused, with a report of it.
    async fn run_refused(&self, area: Area) -> Ended {
        let ended = self.run(None, Status::Refused, run_refused(Arc::clone(&self.harness), area)).await;
        report::record(self.harness.name(), &format!("{}::refused", area.name()), None, &ended.0);
        ended
    }

    /// Runs something on the prepared harness.
    async fn run(&self, rule: Option<&Rule>, passed: Status, work: impl Future<Output = Outcome>) -> Ended {
        let prepared = self.prepared.get_or_init(|| self.harness.prepare()).await;
        match prepared {
            Err(missing) if missing.fatal => (Status::Failed, Err(missing.reason.clone().into())),
            Err(missing) => (
                Status::Ignored(missing.reason.clone()),
                Ok(Completion::ignored_with(missing.reason.clone())),
            ),
            Ok(()) => match work.await {
                Ok(()) => (passed, Ok(Completion::Completed)),
                Err(Failure::Ignored(why)) => {
                    (Status::Ignored(why.clone()), Ok(Completion::ignored_with(why)))
                }
                Err(failure) => {
                    let rule = rule.map(|rule| format!("{} {}: {}\n", rule.id, rule.level, rule.text));
                    (Status::Failed, Err(format!("{}{failure}", rule.unwrap_or_default()).into()))
                }
            },
        }
    }
}

/// What came of a trial, for the report and for whoever runs it.
type Ended = (Status, Result<Completion, libtest_mimic::Failed>);

/// Runs every case on every harness; the whole `main` of a test binary.
pub fn main<H: Harness>(harnesses: impl IntoIterator<Item = H>) -> ExitCode {
    let harnesses: Vec<H> = harnesses.into_iter().collect();
    if let Some(exit) = run_child(&harnesses) {
        return exit;
    }
    let arguments = Arguments::from_args();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => Arc::new(runtime),
        Err(error) => {
            eprintln!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut trials = Vec::new();
    for harness in harnesses {
        let subject = Arc::new(Subject::new(harness));
        let (offers, offered) = (subject.harness.offers(), cases::offered(&*subject.harness));
        let cases = offered.into_iter().map(|(area, rule, case)| trial(&runtime, &subject, area, rule, case));
        trials.extend(cases);
        let areas = cases::ALL.iter().map(|(area, _)| *area).filter(|area| !offers.has(*area));
        trials.extend(areas.map(|area| refused(&runtime, &subject, area)));
        if offers.has(Area::Cache) {
            let absent = Part::ALL.into_iter().filter(|part| !part.is_in(offers.cache_parts));
            trials.extend(absent.map(|part| without(&runtime, &subject, part)));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    // Servers belong to the harnesses, which the trials held: they are ended by now.
    if conclusion.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn trial(
    runtime: &Arc<Runtime>,
    subject: &Arc<Subject>,
    area: Area,
    rule: &'static Rule,
    case: &'static Case,
) -> Trial {
    let (runtime, subject) = (Arc::clone(runtime), Arc::clone(subject));
    let name = format!("{}::{}::{}", subject.harness.name(), area.name(), case.name);
    Trial::ignorable_test(name, move || runtime.block_on(subject.run_case(area, rule, case)).1)
}

fn refused(runtime: &Arc<Runtime>, subject: &Arc<Subject>, area: Area) -> Trial {
    let (runtime, subject) = (Arc::clone(runtime), Arc::clone(subject));
    let name = format!("{}::{}::refused", subject.harness.name(), area.name());
    Trial::ignorable_test(name, move || runtime.block_on(subject.run_refused(area)).1)
}

fn without(runtime: &Arc<Runtime>, subject: &Arc<Subject>, part: Part) -> Trial {
    let (runtime, subject) = (Arc::clone(runtime), Arc::clone(subject));
    let name = format!("{}::cache::{}::refused", subject.harness.name(), part.name());
    Trial::ignorable_test(name, move || runtime.block_on(subject.run_without(part)).1)
}

/// The contract that an area's store was written against.
fn contract(stores: &Stores, area: Area) -> Option<Contract> {
    let base = match area {
        Area::Cache => stores.cache_store().ok()?.capabilities().base,
        Area::Session => stores.session_store().ok()?.capabilities().base,
        Area::Event => stores.event_bus().ok()?.capabilities().base,
        Area::Lock => stores.locker().ok()?.capabilities().base,
        Area::Limit => stores.rate_limiter().ok()?.capabilities().base,
        Area::Token => stores.token_store().ok()?.capabilities().base,
        Area::Stores | Area::Fault => return None,
    };
    Some(base.contract)
}

#[cfg(test)]
mod tests;
