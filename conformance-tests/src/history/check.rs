//! All checks of a history.

use std::collections::BTreeSet;

use super::{Answer, Entry, Findings, Violation, fence, life, value};

/// An entry, and whether it was recorded while confirmed changes may be lost.
pub(super) struct Step<'a> {
    pub(super) entry: &'a Entry,
    pub(super) in_window: bool,
}

/// What the checks of the parts have found.
#[derive(Default)]
pub(super) struct Found {
    violations: Vec<Violation>,
    /// A change that is seen to be gone twice is gone once.
    lost: BTreeSet<(String, Option<u64>)>,
}

impl Found {
    pub(super) fn violates(&mut self, violation: Violation) {
        if !self.violations.contains(&violation) {
            self.violations.push(violation);
        }
    }

    /// A confirmed change is not there.
    pub(super) fn gone(&mut self, name: &str, version: Option<u64>, confirmed_in_window: bool) {
        if confirmed_in_window {
            self.lost.insert((name.to_owned(), version));
        } else {
            self.violates(Violation::Lost(name.to_owned(), version));
        }
    }
}

pub(super) fn all(entries: &[Entry]) -> Findings {
    let mut in_window = false;
    let mut steps = Vec::new();
    for entry in entries {
        match entry {
            Entry::LossBegins => in_window = true,
            Entry::LossEnds => in_window = false,
            _ => steps.push(Step { entry, in_window }),
        }
    }
    let mut found = Found::default();
    value::check(&steps, &mut found);
    life::check(&steps, &mut found);
    fence::check(&steps, &mut found);

    let answers = entries.iter().filter_map(|entry| match entry {
        Entry::Wrote { answer, .. } | Entry::Began { answer, .. } | Entry::Ended { answer, .. } => {
            Some(*answer)
        }
        _ => None,
    });
    let (confirmed, failed): (Vec<_>, Vec<_>) = answers.partition(|answer| *answer == Answer::Done);
    Findings {
        violations: found.violations,
        lost: found.lost.len(),
        confirmed: confirmed.len(),
        failed: failed.len(),
    }
}
