//! Sessions and tokens: what begins, and what has ended for good.

use std::collections::BTreeMap;

use super::check::{Found, Step};
use super::{Answer, Entry, Violation};

/// How far a change has come, by its answers.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// It was not asked for, or was not applied.
    #[default]
    No,
    /// Nobody knows.
    Perhaps,
    /// It is confirmed: in a window of loss, or outside.
    Confirmed { in_window: bool },
}

impl Change {
    /// After another try. A confirmation outside of the window is the strongest.
    fn and(self, answer: Answer, in_window: bool) -> Self {
        match (self, answer) {
            (Self::Confirmed { in_window: false }, _) | (_, Answer::NotApplied) => self,
            (_, Answer::Done) => Self::Confirmed { in_window },
            (Self::No, Answer::Unknown) => Self::Perhaps,
            (known, Answer::Unknown) => known,
        }
    }
}

#[derive(Default)]
struct Life {
    began: Change,
    ended: Change,
}

pub(super) fn check(steps: &[Step<'_>], found: &mut Found) {
    let mut lives: BTreeMap<&str, Life> = BTreeMap::new();
    for step in steps {
        match step.entry {
            Entry::Began { id, answer } => {
                let life = lives.entry(id).or_default();
                life.began = life.began.and(*answer, step.in_window);
            }
            Entry::Ended { id, answer } => {
                let life = lives.entry(id).or_default();
                life.ended = life.ended.and(*answer, step.in_window);
            }
            Entry::Seen { id, alive } => {
                let life = lives.entry(id).or_default();
                if *alive { seen_alive(id, life, found) } else { seen_gone(id, life, step.in_window, found) }
            }
            _ => {}
        }
    }
}

fn seen_alive(id: &str, life: &Life, found: &mut Found) {
    if life.began == Change::No {
        found.violates(Violation::Applied(id.to_owned(), None));
    }
    match life.ended {
        Change::Confirmed { in_window: false } => found.violates(Violation::Revived(id.to_owned())),
        // The end is what is lost.
        Change::Confirmed { in_window: true } => found.gone(id, None, true),
        Change::No | Change::Perhaps => {}
    }
}

fn seen_gone(id: &str, life: &Life, seen_in_window: bool, found: &mut Found) {
    // A replica that has not got it yet may be asked in the window, when it has become the master.
    if let (Change::Confirmed { in_window }, Change::No, false) = (life.began, life.ended, seen_in_window) {
        found.gone(id, None, in_window);
    }
}
