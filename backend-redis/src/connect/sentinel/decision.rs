//! Which server is the master, by what sentinels say.

use std::collections::HashSet;
use std::time::Duration;

use stanchion::time::Monotonic;

/// Host and port, as they were given.
pub(super) type Address = (String, u16);

/// What a sentinel says of the master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// By which a sentinel is known, whichever of its addresses it was asked at.
    pub(super) sentinel: String,
    pub(super) address: Address,
    /// Each failover has a larger one (`config-epoch`).
    pub(super) epoch: u64,
    /// How many other sentinels it knows.
    pub(super) others: usize,
}

/// The master, as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Master {
    pub(super) address: Address,
    pub(super) epoch: u64,
    /// When a sentinel said so last.
    pub(super) confirmed_at: Monotonic,
}

/// What they say is older than what is known already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stale;

/// Sentinels pass on what they know every two seconds. After so long a majority that knows of no failover has been made to
/// forget it, by whoever has set it up anew.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10);

/// Whether so many have answered that they are more than half of all that any of them knows.
pub(super) fn is_majority(answers: &[Answer]) -> bool {
    let distinct: HashSet<_> = answers.iter().map(|answer| &answer.sentinel).collect();
    let known = answers.iter().map(|answer| answer.others.saturating_add(1)).max().unwrap_or(1);
    distinct.len() > known / 2
}

/// The master of the newest epoch.
///
/// A minority is followed to what is as new as what is known, and not back: it may be cut off together with the old master,
/// which does not know either that it was replaced.
pub(super) fn decide(answers: &[Answer], known: Option<&Master>, now: Monotonic) -> Result<Master, Stale> {
    let epoch = answers.iter().map(|answer| answer.epoch).max().ok_or(Stale)?;
    if let Some(known) = known.filter(|known| known.epoch > epoch) {
        let rests = now.saturating_since(known.confirmed_at) < FORGOTTEN_AFTER;
        if rests || !is_majority(answers) {
            return Err(Stale);
        }
    }
    let newest = || answers.iter().filter(|answer| answer.epoch == epoch).map(|answer| &answer.address);
    // Some may say a name, and others an address, for the same server.
    let same = known.filter(|known| known.epoch == epoch).map(|known| &known.address);
    let votes = |address: &Address| newest().filter(|other| *other == address).count();
    let address = match same.filter(|same| newest().any(|address| address == *same)) {
        Some(same) => same,
        // Of equals the first.
        None => newest().rev().max_by_key(|address| votes(address)).ok_or(Stale)?,
    };
    Ok(Master { address: address.clone(), epoch, confirmed_at: now })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> Address {
        ("10.0.0.1".to_owned(), port)
    }

    /// Of three sentinels.
    fn says(sentinel: &str, port: u16, epoch: u64) -> Answer {
        Answer { sentinel: sentinel.to_owned(), address: at(port), epoch, others: 2 }
    }

    fn seconds(seconds: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_secs(seconds))
    }

    fn known(port: u16, epoch: u64) -> Master {
        Master { address: at(port), epoch, confirmed_at: seconds(100) }
    }

    fn decided(answers: &[Answer], known: Option<&Master>, at: u64) -> Option<u16> {
        decide(answers, known, seconds(at)).ok().map(|master| master.address.1)
    }

    #[test]
    fn the_newest_epoch_is_followed_whoever_says_it() {
        assert_eq!(decided(&[], None, 0), None);
        assert_eq!(decided(&[says("a", 1, 7)], None, 0), Some(1), "one will do where nothing is known");
        let answers = [says("a", 1, 7), says("b", 2, 8), says("c", 1, 7)];
        assert_eq!(decided(&answers, None, 0), Some(2));
        assert_eq!(decided(&answers, Some(&known(1, 7)), 100), Some(2));
        assert_eq!(decided(&answers[1..2], Some(&known(1, 7)), 100), Some(2), "a minority, to what is newer");
    }

    #[test]
    fn a_minority_leads_nobody_back() {
        let known = known(2, 8);
        assert_eq!(decided(&[says("a", 1, 7)], Some(&known), 100), None);
        assert_eq!(decided(&[says("a", 1, 7)], Some(&known), 100_000), None);
        assert_eq!(decided(&[says("a", 2, 8)], Some(&known), 100_000), Some(2));
    }

    #[test]
    fn a_majority_that_was_set_up_anew_is_followed_after_a_while() {
        let (known, answers) = (known(2, 8), [says("a", 1, 0), says("b", 1, 0)]);
        assert_eq!(decided(&answers, Some(&known), 109), None);
        assert_eq!(decided(&answers, Some(&known), 110), Some(1));
    }

    #[test]
    fn of_one_epoch_the_address_in_use_stays_and_else_that_of_the_most() {
        let answers = [says("a", 1, 7), says("b", 2, 7), says("c", 2, 7)];
        assert_eq!(decided(&answers, None, 0), Some(2));
        assert_eq!(decided(&answers, Some(&known(1, 7)), 0), Some(1));
        assert_eq!(decided(&answers, Some(&known(1, 6)), 0), Some(2), "that was an older failover");
        assert_eq!(decided(&answers, Some(&known(3, 7)), 0), Some(2));
        assert_eq!(decided(&answers[..2], None, 0), Some(1), "of equals the first");
    }

    #[test]
    fn a_majority_is_of_all_that_any_of_them_knows_and_each_is_one() {
        assert!(is_majority(&[says("a", 1, 7), says("b", 1, 7)]));
        assert!(!is_majority(&[says("a", 1, 7)]) && !is_majority(&[says("a", 1, 7), says("a", 1, 7)]));
        let alone = Answer { others: 0, ..says("a", 1, 7) };
        assert!(is_majority(std::slice::from_ref(&alone)));
        let of_five = Answer { others: 4, ..says("b", 1, 7) };
        assert!(!is_majority(&[alone, of_five]));
        assert!(!is_majority(&[]));
    }
}
