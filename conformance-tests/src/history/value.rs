//! Values, by their versions.

use std::collections::BTreeMap;

use super::check::{Found, Step};
use super::{Answer, Entry, Violation};

/// What is known of a version that was written.
struct Written {
    answer: Answer,
    in_window: bool,
}

pub(super) fn check(steps: &[Step<'_>], found: &mut Found) {
    let mut keys: BTreeMap<&str, BTreeMap<u64, Written>> = BTreeMap::new();
    for step in steps {
        match step.entry {
            Entry::Wrote { key, version, answer } => {
                let written = Written { answer: *answer, in_window: step.in_window };
                keys.entry(key).or_default().insert(*version, written);
            }
            Entry::Read { key, version } => {
                let versions = keys.entry(key).or_default();
                read(key, *version, versions, step.in_window, found);
            }
            _ => {}
        }
    }
}

fn read(
    key: &str,
    version: Option<u64>,
    versions: &BTreeMap<u64, Written>,
    in_window: bool,
    found: &mut Found,
) {
    if let Some(version) = version
        && versions.get(&version).is_none_or(|written| written.answer == Answer::NotApplied)
    {
        found.violates(Violation::Applied(key.to_owned(), Some(version)));
    }
    // A master that has been replaced and does not know it yet may be read in the window: nothing is lost by that.
    if in_window {
        return;
    }
    let newer = versions.range(version.map_or(0, |version| version.saturating_add(1))..);
    for (version, written) in newer.filter(|(_, written)| written.answer == Answer::Done) {
        found.gone(key, Some(*version), written.in_window);
    }
}
