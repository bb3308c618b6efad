//! The page of standards of sessions and limits names cases that exist.

#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::fs;
use std::path::Path;

const PAGE: &str = include_str!("../docs/standards-sessions.md");

/// What a line of a table names in its last column, or `None` for every other line.
fn cases(line: &str) -> Option<Vec<&str>> {
    let cells: Vec<_> = line.strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim).collect();
    let [number, _, _, cases] = cells.as_slice() else { panic!("four columns: {line}") };
    if *number == "no." || number.starts_with("---") {
        return None;
    }
    let named = cases.split(',').map(|case| case.trim().trim_matches('`'));
    Some(named.filter(|case| !case.is_empty()).collect())
}

/// Whether there is such a test in `core/tests` or `examples/tests`, or such a rule of the suite.
fn exists(case: &str) -> bool {
    let core = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Some((path, test)) = case.rsplit_once("::") else {
        let rules = fs::read_to_string(core.join("../conformance-tests/RULES.md")).unwrap();
        return rules.contains(&format!("| {case} |"));
    };
    let (tests, path) = match path.strip_prefix("examples::") {
        Some(path) => (core.join("../examples/tests"), path),
        None => (core.join("tests"), path),
    };
    let file = tests.join(path.replace("::", "/")).with_extension("rs");
    fs::read_to_string(file).is_ok_and(|text| text.contains(&format!("fn {test}(")))
}

#[test]
fn every_case_that_is_named_exists() {
    let mut count = 0;
    for line in PAGE.lines() {
        let Some(cases) = cases(line) else { continue };
        count += 1;
        assert!(!cases.is_empty() || line.contains("the service's"), "no case: {line}");
        for case in cases {
            assert!(exists(case), "there is no {case}: {line}");
        }
    }
    assert!(count > 20, "{count} lines");
    assert!(!exists("sessions::no_such_test") && !exists("SESSION-99"));
}
