//! The committed report is of the suite as it is.
#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::collections::BTreeSet;
use std::path::Path;

use stanchion_conformance::cases;
use stanchion_conformance::report::{Entry, Status, markdown};

const HARNESSES: &[&str] = &[
    "memory",
    "memory-two-handles",
    "redis",
    "redis-acl",
    "redis-cluster",
    "redis-container",
    "redis-6.2",
    "redis-cluster-6.2",
];

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

#[test]
fn the_report_has_every_case_and_none_that_failed() {
    let report: Vec<Entry> = serde_json::from_str(&read("report.json")).unwrap();
    let reported: BTreeSet<_> = report.iter().map(|entry| entry.case.clone()).collect();
    let cases = cases::ALL.iter().flat_map(|(area, rules)| {
        rules.iter().flat_map(|rule| rule.cases).map(|case| format!("{}::{}", area.name(), case.name))
    });
    assert_eq!(reported, cases.collect(), "scripts/report writes it anew");
    for entry in &report {
        for (harness, status) in &entry.results {
            assert_ne!(*status, Status::Failed, "{} on {harness}", entry.case);
        }
        assert!(
            entry.results.values().any(|status| *status == Status::Passed),
            "{} passed nowhere",
            entry.case
        );
    }
    let harnesses: BTreeSet<_> = report.iter().flat_map(|entry| entry.results.keys().cloned()).collect();
    for harness in HARNESSES {
        assert!(harnesses.contains(*harness), "no {harness} in the report");
    }
    // These own their servers, and may be ignored nowhere.
    for (entry, harness) in
        report.iter().flat_map(|entry| ["redis", "redis-cluster"].map(|name| (entry, name)))
    {
        assert_eq!(entry.results.get(harness), Some(&Status::Passed), "{} on {harness}", entry.case);
    }
    assert_eq!(read("report.md"), markdown(&report), "scripts/report writes it anew");
}
