//! The contract of the telemetry, held against the constants, the source, and a run of every façade.
#![cfg(all(feature = "metrics", feature = "jwt"))]
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod caches;
#[path = "../support/contract.rs"]
mod contract;
mod faulty;
#[path = "../support/observed.rs"]
mod observed;
mod rest;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::path::Path;

use stanchion::telemetry::{self, Kind, Unit};

use contract::Contract;
use observed::Observed;

const PAGE: &str = include_str!("../../docs/observability.md");

/// The names that the run gives to its caches, limits, domains and services.
const NAMES: [&str; 4] = ["n", "login", "test", "auth"];

#[test]
fn the_page_lists_the_constants_and_nothing_else() {
    let page: BTreeSet<_> = Contract::of(PAGE)
        .metrics
        .into_iter()
        .map(|row| {
            let labels: Vec<_> = row.labels.into_iter().map(|label| label.name).collect();
            (row.name, row.kind, row.unit, labels, row.meaning)
        })
        .collect();
    let constants: BTreeSet<_> = telemetry::all()
        .map(|metric| {
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
                other => panic!("{other:?}"),
            };
            let unit = match metric.unit {
                Unit::Count => "count",
                Unit::Seconds => "seconds",
                Unit::Bytes => "bytes",
                other => panic!("{other:?}"),
            };
            let labels = metric.labels.iter().chain(&metric.failure_label).map(ToString::to_string).collect();
            (metric.name.to_owned(), kind.to_owned(), unit.to_owned(), labels, metric.description.to_owned())
        })
        .collect();
    contract::same(&page, &constants);
}

#[test]
fn the_page_lists_the_log_events_of_the_source_and_nothing_else() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (page, source) = Contract::of(PAGE).logs_of("stanchion", &source);
    assert!(page.len() > 5);
    contract::same(&page, &source);
}

#[tokio::test]
async fn a_run_emits_what_the_page_lists_and_nothing_else() {
    let observed = Observed::default();
    // The runtime has this one thread.
    let _recorder = metrics::set_default_local_recorder(&observed);
    let _subscriber = observed.subscribe();
    caches::run().await;
    rest::sessions().await;
    rest::session_events().await;
    rest::locks().await;
    rest::events().await;
    rest::limits().await;
    rest::tokens().await;

    let contract = Contract::of(PAGE);
    let on = ["always", "occasion"];
    assert_eq!(contract.unknown(&observed, &NAMES), [""; 0], "emitted, and not on the page");
    assert_eq!(contract.missing(&observed, &on), [""; 0], "on the page, and not emitted");
    assert_eq!(contract.untimely(&observed, &on), [""; 0], "emitted though it is off");
}

#[tokio::test]
async fn the_layers_emit_what_the_page_lists_and_nothing_else() {
    let observed = Observed::default();
    let _recorder = metrics::set_default_local_recorder(&observed);
    let _subscriber = observed.subscribe();
    rest::layers().await;
    let contract = Contract::of(PAGE);
    assert_eq!(contract.unknown(&observed, &NAMES), [""; 0], "emitted, and not on the page");
    assert_eq!(contract.missing(&observed, &["layer"]), [""; 0], "on the page, and not emitted");
    assert!(observed.logs().iter().any(|log| log.text == "a call failed and is retried"));
}

#[test]
fn what_is_not_on_the_page_is_seen() {
    let (contract, observed) = (Contract::of(PAGE), Observed::default());
    metrics::with_local_recorder(&observed, || {
        metrics::counter!("stanchion_cache_misses_total", "cache" => "u123").increment(1);
        metrics::counter!("stanchion_cache_misses_total").increment(1);
        metrics::gauge!("stanchion_cache_misses_total", "cache" => "n").set(1.0);
        metrics::counter!("stanchion_cache_hits_total", "cache" => "n", "level" => "far").increment(1);
        metrics::counter!("stanchion_store_calls_total", "area" => "cache", "operation" => "k1", "outcome" => "ok")
            .increment(1);
        metrics::counter!("stanchion_cache_misses_total", "cache" => "n").increment(1);
    });
    let subscriber = observed.clone();
    tracing::subscriber::with_default(subscriber, || {
        tracing::debug_span!(target: "stanchion", "cache.load", key = 1).in_scope(|| ());
        tracing::info!(target: "stanchion", error = 1, "a lock could not be released at once");
        tracing::debug!(target: "stanchion", error = 1, "a lock could not be released at once");
        tracing::debug!(target: "another", "whatever");
    });
    assert_eq!(contract.unknown(&observed, &NAMES).len(), 7);
    let missing = contract.missing(&observed, &["always", "occasion"]);
    assert!(missing.iter().any(|name| name == "stanchion_cache_hits_total{level=near}"), "{missing:?}");
    assert!(missing.iter().any(|name| name == "span cache.load"), "{missing:?}");
    assert_eq!(contract.untimely(&observed, &["always", "occasion"]), ["stanchion_store_calls_total"]);
}
