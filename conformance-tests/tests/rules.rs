//! The table of rules is what the suite checks, and everything in it has a name of its own.

use std::collections::BTreeSet;
use std::path::Path;

use stanchion_conformance::{cases, report};

#[test]
fn rules_md_is_the_table_of_the_suite() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("RULES.md");
    if std::env::var_os("STANCHION_BLESS").is_some() {
        std::fs::write(&path, report::rules()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == report::rules(),
        "RULES.md is not the table of the suite: STANCHION_BLESS=1 cargo test -p stanchion-conformance --test rules"
    );
}

#[test]
fn rule_ids_and_case_names_are_unique() {
    let (mut ids, mut names) = (BTreeSet::new(), BTreeSet::new());
    for (area, rules) in cases::ALL {
        for rule in *rules {
            assert!(ids.insert(rule.id), "{} twice", rule.id);
            let prefix = format!("{}-", area.name().to_uppercase());
            assert!(rule.id.starts_with(&prefix), "{} is in the area {}", rule.id, area.name());
            assert!(!rule.cases.is_empty(), "{} has no case", rule.id);
            for case in rule.cases {
                let name = format!("{}::{}", area.name(), case.name);
                assert!(names.insert(name.clone()), "{name} twice");
                // Every area that is not offered has a case of this name.
                assert_ne!(case.name, "refused");
            }
        }
    }
}
