//! What is compared: answers without what may differ.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use stanchion::{Effect, Error, ErrorKind};

use super::session::Name;

/// The answer to one step. Times are rounded, ids and tokens are named by the steps that made them, and fences and
/// epochs by which one of their kind they are.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "named like the outcomes of the stores")]
pub enum Answer {
    Done,
    Failed(ErrorKind, Effect),
    Value(Option<Bytes>),
    Values(Vec<Option<Bytes>>),
    Truth(bool),
    Count(u64),
    Sum(i64),
    Life(Option<Rounded>),
    Created {
        session: Session,
        evicted: Vec<Option<Name>>,
        replaced: Option<Name>,
    },
    Moved(Option<Name>),
    LimitReached,
    IdTaken,
    Sessions(Vec<Session>),
    Listed(Vec<Listed>),
    Version {
        saved: bool,
        version: u64,
    },
    Gone,
    Ended(Vec<Option<Name>>),
    Ranks(Vec<Rank>),
    Verdict(String),
    Decision {
        allowed: bool,
        waits: Option<(usize, Rounded)>,
        tiers: Vec<(u32, Rounded, Rounded)>,
    },
    CostExceedsCapacity(usize),
    Granted(u32, Vec<(u32, Rounded, Rounded)>),
    Added(u32),
    Acquired(Rank),
    Busy(Rounded),
    Held(Vec<bool>),
    Holder(Option<(Rank, Rounded)>),
    /// Of each domain, by each handle that published.
    Events(BTreeMap<(String, String), Vec<u64>>),
}

impl From<Error> for Answer {
    fn from(error: Error) -> Self {
        Self::Failed(error.kind(), error.effect())
    }
}

/// A session as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub(super) name: Option<Name>,
    pub(super) user: String,
    pub(super) data: BTreeMap<String, Bytes>,
    pub(super) version: u64,
    pub(super) expires_in: Rounded,
}

/// A session as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub(super) name: Option<Name>,
    pub(super) user: String,
    pub(super) expires_in: Rounded,
}

/// A duration in steps of five minutes. Every duration in a sequence is a multiple of a minute, less what the
/// sequence has taken so far, and never half-way between two steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rounded(u64);

impl From<Duration> for Rounded {
    fn from(duration: Duration) -> Self {
        const STEP: u64 = 5 * 60;
        Self((duration.as_secs() + STEP / 2) / STEP)
    }
}

/// Which of the growing numbers of its kind a fence or an epoch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// None of its kind was given out.
    None,
    /// The one given out at this place, from 1.
    Nth(usize),
    /// It should have been greater than all before.
    NotGreater,
    /// It was never given out.
    Unknown,
}

/// The growing numbers of one kind that were given out, in order.
#[derive(Debug, Default)]
pub(super) struct Grown(Vec<u64>);

impl Grown {
    /// Takes note of one that is given out now.
    pub(super) fn next(&mut self, number: u64) -> Rank {
        if self.0.last().is_some_and(|last| *last >= number) {
            return Rank::NotGreater;
        }
        self.0.push(number);
        Rank::Nth(self.0.len())
    }

    /// Which one this is.
    pub(super) fn rank(&self, number: u64) -> Rank {
        self.0.iter().position(|known| *known == number).map_or(Rank::Unknown, |place| Rank::Nth(place + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_loses_what_a_run_may_take() {
        let whole = Rounded::from(Duration::from_hours(1));
        assert_eq!(Rounded::from(Duration::from_hours(1) - Duration::from_mins(1)), whole);
        assert_ne!(Rounded::from(Duration::from_mins(50)), whole);
    }

    #[test]
    fn numbers_are_known_by_their_order() {
        let mut grown = Grown::default();
        assert_eq!(
            [grown.next(7), grown.next(9), grown.next(9)],
            [Rank::Nth(1), Rank::Nth(2), Rank::NotGreater]
        );
        assert_eq!([grown.rank(7), grown.rank(8)], [Rank::Nth(1), Rank::Unknown]);
    }
}
