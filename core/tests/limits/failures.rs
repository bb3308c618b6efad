//! The arithmetic of failed attempts.

use std::time::Duration;

use stanchion::limit::{
    AttemptOutcome, AttemptRequest, AttemptTicket, Failures, LockedBy, Lockout, Settlement,
};
use stanchion::time::{Timestamp, Ttl};

use crate::{HOUR, MINUTE};

/// Three failures in an hour lock out for a minute, then two, then four, to at most five; remembered for a day.
fn three() -> Lockout {
    Lockout::new(3, HOUR, MINUTE, 5 * MINUTE, 24 * HOUR).unwrap()
}

fn ten() -> Lockout {
    Lockout::new(10, HOUR, MINUTE, HOUR, 24 * HOUR).unwrap()
}

fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(1_750_000_000 + secs)
}

struct Account(Failures);

impl Account {
    fn begin(&mut self, source: &str, secs: u64) -> AttemptOutcome {
        let request = AttemptRequest::new(ten()).from_source(source, three());
        self.0 = Failures::from_fields(self.0.fields(), self.0.until()).unwrap();
        self.0.attempt(&request, at(secs)).0
    }

    fn admitted(&mut self, source: &str, secs: u64) -> AttemptTicket {
        match self.begin(source, secs) {
            AttemptOutcome::Admitted(ticket) => ticket,
            other => panic!("{other:?}"),
        }
    }

    fn succeed(&mut self, source: &str, ticket: AttemptTicket, secs: u64) {
        let known_for = Ttl::new(30 * 24 * HOUR).unwrap();
        self.0.settle(&Settlement::Succeeded { source: source.into(), ticket, known_for }, at(secs));
    }
}

fn locked(outcome: AttemptOutcome) -> (u64, LockedBy) {
    match outcome {
        AttemptOutcome::Locked { retry_after, by } => (retry_after.as_secs(), by),
        other => panic!("{other:?}"),
    }
}

#[test]
fn lock_outs_grow_and_are_forgotten() {
    let mut account = Account(Failures::default());
    let mut now = 0;
    for minutes in [1, 2, 4, 5, 5] {
        for _ in 0..2 {
            assert_eq!(account.admitted("a", now).locks_for, None);
        }
        assert_eq!(account.admitted("a", now).locks_for, Some(minutes * MINUTE));
        assert_eq!(locked(account.begin("a", now)), (u64::from(minutes) * 60, LockedBy::Source));
        assert_eq!(locked(account.begin("a", now + 59)).0, u64::from(minutes) * 60 - 59);
        now += u64::from(minutes) * 60;
        // Nobody else can lock this account out meanwhile.
        now += 3_600;
    }
    now += 24 * 3_600;
    for locks_for in [None, None, Some(MINUTE)] {
        assert_eq!(account.admitted("a", now).locks_for, locks_for, "a day later all is forgotten");
    }
}

#[test]
fn failures_are_forgotten_with_their_window() {
    let mut account = Account(Failures::default());
    for now in [0, 3_599] {
        assert_eq!(account.admitted("a", now).locks_for, None);
    }
    assert_eq!(account.admitted("a", 3_600).locks_for, None, "the window is over");
    assert_eq!(account.admitted("a", 3_600).locks_for, None);
    assert!(account.admitted("a", 3_600).locks_for.is_some());
}

#[test]
fn what_succeeds_counts_nowhere() {
    let mut account = Account(Failures::default());
    for now in 0..100 {
        let ticket = account.admitted("a", now);
        account.succeed("a", ticket, now);
    }
    // Also where it was the last before a lock-out, and others were being made.
    let first = account.admitted("a", 100);
    let _second = account.admitted("a", 100);
    let third = account.admitted("a", 100);
    assert!(third.locks_for.is_some());
    assert_eq!(locked(account.begin("a", 100)).1, LockedBy::Source);
    account.succeed("a", first, 100);
    assert_eq!(account.admitted("a", 100).locks_for, None);
}

#[test]
fn a_withdrawal_takes_back_only_its_own() {
    let mut account = Account(Failures::default());
    let late = account.admitted("a", 0);
    for _ in 0..2 {
        let _ = account.admitted("a", 0);
    }
    assert_eq!(locked(account.begin("a", 0)).1, LockedBy::Source);
    let withdrawn = |ticket| Settlement::Withdrawn { source: Some("a".into()), ticket };
    // The lock-out needed each of the three.
    account.0.settle(&withdrawn(late), at(0));
    let again = account.admitted("a", 0);
    assert_eq!(again.locks_for, Some(MINUTE), "and is as long as the first");
    // Of a later window it takes nothing back.
    for _ in 0..2 {
        let _ = account.admitted("a", 60);
    }
    account.0.settle(&withdrawn(again), at(61));
    assert!(account.admitted("a", 61).locks_for.is_some());
}

#[test]
fn an_account_is_locked_for_strangers_alone() {
    let mut account = Account(Failures::default());
    let ticket = account.admitted("home", 0);
    account.succeed("home", ticket, 0);
    let mut locks = None;
    for source in 0..10 {
        locks = account.admitted(&format!("bot{source}"), 1).locks_for;
    }
    assert_eq!(locks, Some(MINUTE));
    assert_eq!(locked(account.begin("bot99", 2)), (59, LockedBy::Overall));
    let from_home = account.admitted("home", 2);
    assert!(from_home.known);
    account.succeed("home", from_home, 2);
    assert_eq!(locked(account.begin("bot99", 3)).1, LockedBy::Overall, "that was no news of the others");
    // Guessing from there locks that network out.
    for _ in 0..3 {
        let _ = account.admitted("home", 4);
    }
    assert_eq!(locked(account.begin("home", 4)).1, LockedBy::Source);
    // An administrator lifts both, and the network stays known.
    account.0.settle(&Settlement::Unlocked, at(5));
    assert!(account.admitted("home", 5).known);
    assert!(!account.admitted("bot99", 5).known);
}

#[test]
fn only_known_sources_are_admitted_where_that_is_asked() {
    let mut failures = Failures::default();
    let request = AttemptRequest::new(ten()).from_source("a", three()).only_known(true);
    assert_eq!(failures.attempt(&request, at(0)), (AttemptOutcome::Unknown, false));
    assert_eq!(failures, Failures::default(), "nothing was written");
}

#[test]
fn sources_are_bounded_and_known_ones_stay() {
    let mut account = Account(Failures::default());
    let ticket = account.admitted("home", 0);
    account.succeed("home", ticket, 0);
    for source in 0..500_u64 {
        // So slowly that the account is not locked out.
        let _ = account.admitted(&format!("bot{source}"), 3_600 * (source + 1));
        assert!(account.0.fields().count() <= Failures::MAX_STRANGERS + 2);
    }
    assert!(account.admitted("home", 3_600 * 501).known);
}

#[test]
fn strangers_displace_no_known_source() {
    let mut account = Account(Failures::default());
    for source in 0..Failures::MAX_KNOWN {
        let ticket = account.admitted(&format!("home{source}"), 0);
        account.succeed(&format!("home{source}"), ticket, 0);
    }
    for stranger in 0..500_u64 {
        let _ = account.admitted(&format!("bot{stranger}"), 3_600 * (stranger + 1));
    }
    for source in 0..64 {
        let name = format!("home{source}");
        assert!(account.admitted(&name, 3_600 * (501 + source)).known, "{name}");
    }
    // One more that has succeeded takes the place of the oldest that has.
    let (now, new) = (3_600 * 600, "new home");
    let ticket = account.admitted(new, now);
    account.succeed(new, ticket, now);
    assert!(account.admitted(new, now).known);
    let known =
        (0..64).filter(|source| account.admitted(&format!("home{source}"), now + 3_600 * source).known);
    assert_eq!(known.count(), 63);
}

#[test]
fn a_clock_set_back_locks_out_no_longer_than_the_longest() {
    let mut account = Account(Failures::default());
    for _ in 0..3 {
        let _ = account.admitted("a", 1_000_000);
    }
    assert_eq!(locked(account.begin("a", 0)).0, 300);
    assert_eq!(locked(account.begin("a", 299)).0, 1);
    assert_eq!(account.admitted("a", 300).locks_for, None);
}

#[test]
fn bad_rules_are_refused() {
    let day = 24 * HOUR;
    let zero = Duration::ZERO;
    for (failures, window, first, longest, memory) in [
        (0, HOUR, MINUTE, HOUR, day),
        (1_000_001, HOUR, MINUTE, HOUR, day),
        (5, zero, MINUTE, HOUR, day),
        (5, HOUR, zero, HOUR, day),
        (5, HOUR, HOUR, MINUTE, day),
        (5, HOUR, MINUTE, HOUR, 32 * day),
    ] {
        assert!(Lockout::new(failures, window, first, longest, memory).is_err());
    }
    for text in ["", "1", "1:2:3:4:5", "1:2:3:4:5:6:7", "1:2:3:33:5:6", "a:2:3:4:5:6"] {
        assert!(Failures::from_fields([("*".into(), text.into())], at(0)).is_err(), "{text:?}");
    }
}

#[test]
fn what_others_have_stored_ends_nothing() {
    let most = format!("{}:1750000000000000:0:32:9007199254740991:0", u32::MAX);
    let fields = [("*".to_owned(), most.clone()), ("@a".to_owned(), most.clone())];
    let mut account = Account(Failures::from_fields(fields, at(HOUR.as_secs())).unwrap());
    assert_eq!(account.admitted("a", 1).locks_for, Some(HOUR), "as long as the longest");
    // A field of another name is not all failures.
    let foreign = Failures::from_fields([("note".to_owned(), most)], at(0)).unwrap();
    assert_eq!(Account(foreign).admitted("a", 1).locks_for, None);
}
