//! Runs the cases as tests: `harness = false`, with the command line of `cargo test`.

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use libtest_mimic::{Arguments, Completion, Trial};
use stanchion::ErrorKind;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

use crate::report::{self, Status};
use crate::{Area, Case, Context, Failure, Harness, Outcome, Rule, Unavailable, cases, check, run_child};

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

struct Subject {
    harness: Arc<dyn Harness>,
    prepared: OnceCell<Result<(), Unavailable>>,
}

impl Subject {
    /// Runs something on the prepared harness, and reports it.
    async fn run(
        &self,
        case: &str,
        rule: Option<&Rule>,
        passed: Status,
        work: impl Future<Output = Outcome>,
    ) -> Result<Completion, libtest_mimic::Failed> {
        let prepared = self.prepared.get_or_init(|| self.harness.prepare()).await;
        let (status, completion) = match prepared {
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
        };
        report::record(self.harness.name(), case, rule, status);
        completion
    }
}

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
        let subject = Arc::new(Subject { harness: Arc::new(harness), prepared: OnceCell::new() });
        for (area, rules) in cases::ALL {
            if subject.harness.offers().has(*area) {
                for rule in *rules {
                    for case in rule.cases {
                        trials.push(trial(&runtime, &subject, *area, rule, case));
                    }
                }
            } else {
                trials.push(refused(&runtime, &subject, *area));
            }
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
    let name = format!("{}::{}", area.name(), case.name);
    Trial::ignorable_test(format!("{}::{name}", subject.harness.name()), move || {
        let work = run_case(Arc::clone(&subject.harness), case);
        runtime.block_on(subject.run(&name, Some(rule), Status::Passed, work))
    })
}

fn refused(runtime: &Arc<Runtime>, subject: &Arc<Subject>, area: Area) -> Trial {
    let (runtime, subject) = (Arc::clone(runtime), Arc::clone(subject));
    let name = format!("{}::refused", area.name());
    Trial::ignorable_test(format!("{}::{name}", subject.harness.name()), move || {
        let work = run_refused(Arc::clone(&subject.harness), area);
        runtime.block_on(subject.run(&name, None, Status::Refused, work))
    })
}
