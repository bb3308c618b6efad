//! What the copies of a generation say together.

use std::time::Duration;

use stanchion::cache::Generation;

use crate::copies::MAJORITY;

/// What one copy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    /// The generation, 0 if there is none.
    pub(super) generation: u64,
    /// The time of its server, in µs.
    pub(super) now: u64,
}

/// What those that were read say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They are too few to tell.
    Unknown,
    /// This, and how long ago it was made.
    Settled(Generation, Duration),
    /// This, once a majority holds it.
    Unsettled(Generation, Duration),
}

/// What the readings of distinct copies say.
///
/// A copy never gets less, and what was bumped is held by a majority, so that of any majority one holds it, or has lost it. A copy
/// that holds nothing may have lost anything: where less than a majority hold something, a new generation is made.
pub(super) fn verdict(readings: &[Reading]) -> Verdict {
    if readings.len() < MAJORITY {
        return Verdict::Unknown;
    }
    let greatest = greatest(readings);
    let count = |is: fn(&Reading, u64) -> bool| readings.iter().filter(|one| is(one, greatest)).count();
    if count(|one, _| one.generation > 0) < MAJORITY {
        return Verdict::Unsettled(Generation::new(next(readings)), Duration::ZERO);
    }
    // By the clock that is furthest behind: what seems too young is taken for changed.
    let age = readings.iter().map(|one| one.now.saturating_sub(greatest)).min().unwrap_or_default();
    let (generation, age) = (Generation::new(greatest), Duration::from_micros(age));
    if count(|one, greatest| one.generation == greatest) < MAJORITY {
        // A bump is under way, or has failed: nobody may be answered less after this.
        return Verdict::Unsettled(generation, age);
    }
    Verdict::Settled(generation, age)
}

/// Greater than whatever a majority of copies hold, and not less than their time.
pub(super) fn next(readings: &[Reading]) -> u64 {
    let now = readings.iter().map(|one| one.now).max().unwrap_or_default();
    now.max(greatest(readings).saturating_add(1))
}

fn greatest(readings: &[Reading]) -> u64 {
    readings.iter().map(|one| one.generation).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Generations, each read at the time 1,000.
    fn of(generations: &[u64]) -> Verdict {
        verdict(
            &generations
                .iter()
                .map(|generation| Reading { generation: *generation, now: 1_000 })
                .collect::<Vec<_>>(),
        )
    }

    fn settled(generation: u64) -> Verdict {
        Verdict::Settled(Generation::new(generation), Duration::from_micros(1_000 - generation))
    }

    fn unsettled(generation: u64, age: u64) -> Verdict {
        Verdict::Unsettled(Generation::new(generation), Duration::from_micros(age))
    }

    #[test]
    fn what_a_majority_holds_is_so() {
        assert_eq!(of(&[7, 7]), settled(7));
        assert_eq!(of(&[7, 7, 7]), settled(7));
        assert_eq!(of(&[7, 7, 5]), settled(7));
        assert_eq!(of(&[7, 7, 0]), settled(7), "one was lost");
    }

    #[test]
    fn what_one_holds_is_written_to_others_first() {
        assert_eq!(of(&[5, 7]), unsettled(7, 993));
        assert_eq!(of(&[5, 7, 5]), unsettled(7, 993));
        assert_eq!(of(&[5, 7, 0]), unsettled(7, 993));
    }

    #[test]
    fn what_may_have_been_lost_is_made_anew() {
        assert_eq!(of(&[0, 0, 0]), unsettled(1_000, 0));
        assert_eq!(
            of(&[7, 0]),
            unsettled(1_000, 0),
            "the third may hold more, and did so with the one that lost it"
        );
        assert_eq!(of(&[7, 0, 0]), unsettled(1_000, 0));
        assert_eq!(of(&[2_000, 0]), unsettled(2_001, 0), "the clocks are behind");
    }

    #[test]
    fn one_alone_says_nothing() {
        assert_eq!(of(&[7]), Verdict::Unknown);
        assert_eq!(of(&[]), Verdict::Unknown);
    }

    #[test]
    fn the_age_is_by_the_clock_that_is_furthest_behind() {
        let reading = |now| Reading { generation: 100, now };
        assert_eq!(
            verdict(&[reading(150), reading(120)]),
            Verdict::Settled(Generation::new(100), Duration::from_micros(20))
        );
        assert_eq!(
            verdict(&[reading(150), reading(90)]),
            Verdict::Settled(Generation::new(100), Duration::ZERO)
        );
        assert_eq!(next(&[reading(150), reading(90)]), 150);
    }
}
