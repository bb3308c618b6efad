//! The contract of the telemetry (`core/docs/observability.md`), held against both services: every name on the page appears, or
//! the page says that it is off or has its occasions, and nothing else appears.

#[path = "../../../core/tests/support/contract.rs"]
mod contract;
#[path = "../../../core/tests/support/observed.rs"]
mod observed;

use std::collections::BTreeSet;

use stanchion::telemetry;

use self::contract::Contract;
use self::observed::Observed;
use crate::arguments::DemoOptions;

const PAGE: &str = include_str!("../../../core/docs/observability.md");

/// The caches, limits, event domains and services of both.
const NAMES: [&str; 6] = ["user", "list", "client-address", "auth", "auth-service", "user-service"];

#[tokio::test]
async fn both_services_emit_what_the_page_lists_and_nothing_else() {
    let observed = Observed::default();
    // The runtime has this one thread, on which both services run.
    let _recorder = metrics::set_default_local_recorder(&observed);
    let _subscriber = observed.subscribe();
    telemetry::describe();
    super::run(DemoOptions { redis: None, serve: false }).await.unwrap();

    let contract = Contract::of(PAGE);
    assert_eq!(contract.unknown(&observed, &NAMES), [""; 0], "emitted, and not on the page");
    assert_eq!(contract.untimely(&observed, &["always", "occasion"]), [""; 0], "emitted though it is off");
    // Not every word of a label has its occasion in a walk.
    let missing: Vec<_> =
        contract.missing(&observed, &["always"]).into_iter().filter(|name| !name.contains('{')).collect();
    assert_eq!(missing, [""; 0], "on the page, and not emitted");
    let names: BTreeSet<_> = contract.metrics.iter().map(|row| row.name.clone()).collect();
    assert_eq!(observed.described(), names);
}
