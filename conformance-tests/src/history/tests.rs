//! Histories that are right, and one that is wrong in each way.

use stanchion::{Effect, Error, ErrorKind};

use super::Answer::{Done, NotApplied, Unknown};
use super::{Answer, Findings, History, Violation};

fn found(record: impl FnOnce(&History)) -> Findings {
    let history = History::new();
    record(&history);
    history.check()
}

fn violations(record: impl FnOnce(&History)) -> Vec<Violation> {
    found(record).violations
}

#[test]
fn what_errors_say_is_what_was_answered() {
    let failed = |effect| Err(Error::new(ErrorKind::Unavailable, "away").with_effect(effect));
    assert_eq!(Answer::of(&Ok(())), Done);
    assert_eq!(Answer::of::<()>(&failed(Effect::NotApplied)), NotApplied);
    assert_eq!(Answer::of::<()>(&failed(Effect::Unknown)), Unknown);
}

#[test]
fn what_is_in_doubt_may_be_there_or_not() {
    for last in [1, 2, 4] {
        let right = found(|history| {
            history.wrote("a", 1, Done);
            history.wrote("a", 2, Unknown);
            history.wrote("a", 3, NotApplied);
            history.wrote("a", 4, Unknown);
            history.read("a", Some(last));
        });
        assert_eq!((right.violations, right.lost, right.confirmed, right.failed), (vec![], 0, 1, 3));
    }
    for alive in [true, false] {
        let right = violations(|history| {
            history.began("s", Done);
            history.ended("s", Unknown);
            history.seen("s", alive);
        });
        assert_eq!(right, []);
    }
}

#[test]
fn a_confirmed_write_that_is_gone() {
    let lost = |version| Violation::Lost("a".to_owned(), Some(version));
    for (read, wrong) in [(None, vec![lost(1), lost(2)]), (Some(1), vec![lost(2)]), (Some(2), vec![])] {
        let seen = violations(|history| {
            history.wrote("a", 1, Done);
            history.wrote("b", 7, Done);
            history.wrote("a", 2, Done);
            history.read("a", read);
        });
        assert_eq!(seen, wrong, "{read:?}");
    }
    // One in doubt that is older takes the place of none that is confirmed.
    let seen = violations(|history| {
        history.wrote("a", 1, Unknown);
        history.wrote("a", 2, Done);
        history.read("a", Some(1));
    });
    assert_eq!(seen, [lost(2)]);
}

#[test]
fn a_window_excuses_what_was_confirmed_in_it_and_nothing_else() {
    let history = |from: u64, to: u64, read: Option<u64>| {
        found(|history| {
            for version in 1..=4 {
                if version == from {
                    history.loss_begins();
                }
                history.wrote("a", version, Done);
                if version == to {
                    history.loss_ends();
                }
            }
            history.read("a", read);
            history.read("a", read);
        })
    };
    let all = history(3, 4, Some(2));
    assert_eq!((all.violations, all.lost), (vec![], 2));
    let older = history(3, 4, Some(1));
    assert_eq!((older.violations, older.lost), (vec![Violation::Lost("a".to_owned(), Some(2))], 2));
    let later = history(2, 3, Some(1));
    assert_eq!((later.violations, later.lost), (vec![Violation::Lost("a".to_owned(), Some(4))], 2));
    // While it is open, an old master may be read.
    let meanwhile = found(|history| {
        history.wrote("a", 1, Done);
        history.wrote("a", 2, Done);
        history.loss_begins();
        history.read("a", Some(1));
        history.loss_ends();
        history.read("a", Some(2));
    });
    assert_eq!((meanwhile.violations, meanwhile.lost), (vec![], 0));
}

#[test]
fn a_write_that_was_not_applied_and_is_there() {
    let seen = violations(|history| {
        history.wrote("a", 1, Done);
        history.wrote("a", 2, NotApplied);
        history.read("a", Some(2));
        history.read("a", Some(9));
    });
    let applied = |version| Violation::Applied("a".to_owned(), Some(version));
    assert_eq!(seen, [applied(2), applied(9)]);
    let seen = violations(|history| {
        history.began("s", NotApplied);
        history.seen("s", true);
    });
    assert_eq!(seen, [Violation::Applied("s".to_owned(), None)]);
}

#[test]
fn an_end_that_is_undone() {
    let revived = [Violation::Revived("s".to_owned())];
    let seen = violations(|history| {
        history.began("s", Done);
        history.ended("s", Done);
        history.seen("s", false);
        history.loss_begins();
        history.seen("s", true);
    });
    assert_eq!(seen, revived, "an end from before the window, whenever it is seen");
    let lost = found(|history| {
        history.began("s", Done);
        history.loss_begins();
        history.ended("s", Done);
        history.loss_ends();
        history.seen("s", true);
        history.seen("s", true);
    });
    assert_eq!((lost.violations, lost.lost), (vec![], 1), "one that replication may lose is counted");
    let seen = violations(|history| {
        history.began("s", Done);
        history.loss_begins();
        history.ended("s", Done);
        history.loss_ends();
        history.ended("s", Done);
        history.seen("s", true);
    });
    assert_eq!(seen, revived, "it was ended once more, by the new master");
}

#[test]
fn a_session_that_nobody_has_ended_and_is_gone() {
    let lost = [Violation::Lost("s".to_owned(), None)];
    for end in [None, Some(NotApplied)] {
        let seen = violations(|history| {
            history.began("s", Done);
            if let Some(answer) = end {
                history.ended("s", answer);
            }
            history.seen("s", false);
        });
        assert_eq!(seen, lost, "{end:?}");
    }
    let excused = found(|history| {
        history.loss_begins();
        history.began("s", Done);
        history.loss_ends();
        history.seen("s", false);
    });
    assert_eq!((excused.violations, excused.lost), (vec![], 1));
}

#[test]
fn a_fence_that_goes_back() {
    let went_back = |lock: &str, before, after| Violation::FenceWentBack(lock.to_owned(), before, after);
    let seen = violations(|history| {
        history.granted("a", 5);
        history.granted("b", 1);
        history.granted("a", 6);
        history.loss_begins();
        history.granted("a", 6);
        history.loss_ends();
        history.granted("a", 4);
        history.granted("a", 7);
    });
    assert_eq!(seen, [went_back("a", 6, 6), went_back("a", 6, 4)], "no window excuses it");
    assert_eq!(seen[1].to_string(), "the fence of a went from 6 to 4");
}
