//! The page of standards names cases that exist.

#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::fs;
use std::path::Path;

const PAGE: &str = include_str!("../docs/standards.md");

/// What a line of a table names in its last column, or `None` for every other line.
fn cases(line: &str) -> Option<Vec<&str>> {
    let cells: Vec<_> = line.strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim).collect();
    let [section, _, _, cases] = cells.as_slice() else { panic!("four columns: {line}") };
    if *section == "section" || *section == "no." || section.starts_with("---") {
        return None;
    }
    let named = cases.split(',').map(|case| case.trim().trim_matches('`'));
    Some(named.filter(|case| !case.is_empty()).collect())
}

/// Whether there is such a test in `core/tests`, or such a rule of the suite.
fn exists(case: &str) -> bool {
    let core = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Some((path, test)) = case.rsplit_once("::") else {
        let rules = fs::read_to_string(core.join("../conformance-tests/RULES.md")).unwrap();
        return rules.contains(&format!("| {case} |"));
    };
    let file = core.join("tests").join(path.replace("::", "/")).with_extension("rs");
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
    assert!(count > 35, "{count} lines");
    assert!(!exists("tokens::no_such_test") && !exists("TOKEN-99"));
}
