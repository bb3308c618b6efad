//! The contract of the telemetry (`core/docs/observability.md`), held against the source of this backend and against a run.
//!
//! The run needs a server of its own: without a `redis-server` it is ignored, and red where `CI` is set.

#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "../../../core/tests/support/contract.rs"]
mod contract;
#[path = "../../../core/tests/support/observed.rs"]
mod observed;
mod run;
#[path = "../support/mod.rs"]
#[expect(unused_macros, dead_code, reason = "the cases here run on one thread")]
mod support;

use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Trial};

use contract::Contract;
use observed::Observed;

const PAGE: &str = include_str!("../../../core/docs/observability.md");

/// A case that runs on one thread, all of which is observed.
fn case<F: Future<Output = ()>>(name: &str, run: impl FnOnce(Observed) -> F + Send + 'static) -> Trial {
    Trial::ignorable_test(name, move || {
        if let Some(missing) = support::missing()? {
            return Ok(Completion::ignored_with(missing));
        }
        let observed = Observed::default();
        let _recorder = metrics::set_default_local_recorder(&observed);
        let _subscriber = observed.subscribe();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(run(observed.clone()));
        Ok(Completion::Completed)
    })
}

fn source() -> Trial {
    Trial::test("the_page_lists_the_log_events_of_the_source_and_nothing_else", || {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let (page, source) = Contract::of(PAGE).logs_of("stanchion-redis", &source);
        assert!(page.len() > 5);
        contract::same(&page, &source);
        Ok(())
    })
}

fn main() -> ExitCode {
    let cases = vec![
        source(),
        case("connections_emit_what_the_page_lists_and_nothing_else", run::connections),
        case("commands_that_are_asked_for_emit_what_the_page_lists", run::commands),
        case("each_master_of_a_cluster_is_named_by_the_spans", run::cluster),
    ];
    libtest_mimic::run(&Arguments::from_args(), cases).exit_code()
}
