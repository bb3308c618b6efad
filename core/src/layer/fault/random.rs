//! What happens to a call, drawn by a seed.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::{Fault, Injected, InjectedOutcome};
use crate::error::{Error, ErrorKind, Result};
use crate::layer::Call;

/// How often what happens to a call. What is left of 1 is that it is just done.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct FaultRates {
    not_done: f64,
    lost: f64,
    late: f64,
    latest: Duration,
}

impl FaultRates {
    /// Nothing happens.
    #[must_use]
    pub const fn new() -> Self {
        Self { not_done: 0.0, lost: 0.0, late: 0.0, latest: Duration::ZERO }
    }

    /// How often a call is not made, from 0 to 1: answered `Unavailable` and `NotApplied`.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for what is no probability, or more than 1 with the others.
    pub fn not_done(self, rate: f64) -> Result<Self> {
        Self { not_done: rate, ..self }.checked()
    }

    /// How often a call is made and its reply is lost, from 0 to 1: answered `Unavailable`, and `Unknown` if it may have changed
    /// something.
    ///
    /// # Errors
    /// As [`not_done`](Self::not_done).
    pub fn lost(self, rate: f64) -> Result<Self> {
        Self { lost: rate, ..self }.checked()
    }

    /// How often a call is late, from 0 to 1, and by how much at most, by the clock of the environment: half of them are made
    /// late, the others answered late. Where a caller does not wait for so long, one has not been made, and the other has.
    ///
    /// # Errors
    /// As [`not_done`](Self::not_done).
    pub fn late(self, rate: f64, by_at_most: Duration) -> Result<Self> {
        Self { late: rate, latest: by_at_most, ..self }.checked()
    }

    fn checked(self) -> Result<Self> {
        let rates = [self.not_done, self.lost, self.late];
        // Not the sum alone: a negative one would hide in it, and NaN is neither.
        if rates.iter().all(|rate| (0.0..=1.0).contains(rate)) && rates.iter().sum::<f64>() <= 1.0 {
            return Ok(self);
        }
        Err(Error::invalid(format!("rates of faults are from 0 to 1, all together too, got {rates:?}")))
    }
}

/// The rates, and how far the drawing has come.
#[derive(Debug)]
pub(super) struct Seeded {
    seed: u64,
    rates: HashMap<String, FaultRates>,
    /// How many calls there were of each operation.
    calls: HashMap<&'static str, u64>,
    injected: VecDeque<Injected>,
}

impl Seeded {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, rates: HashMap::new(), calls: HashMap::new(), injected: VecDeque::new() }
    }

    pub(super) fn rate(&mut self, of: &str, rates: FaultRates) {
        self.rates.insert(of.to_owned(), rates);
    }

    pub(super) fn clear(&mut self) {
        self.rates.clear();
    }

    pub(super) fn injected(&self) -> Vec<Injected> {
        self.injected.iter().copied().collect()
    }

    /// What happens to the next call of this operation.
    pub(super) fn draw(&mut self, call: Call) -> Option<Fault> {
        let number = self.calls.entry(call.operation).or_default();
        *number += 1;
        let number = *number;
        let rates = [call.operation, call.area(), "*"].into_iter().find_map(|of| self.rates.get(of))?;
        // Of this call alone, so that other calls beside it change nothing.
        let mut numbers = Numbers::of(self.seed, call.operation, number);
        let (at, when) = (numbers.fraction(), numbers.fraction());
        let (outcome, fault) = if at < rates.not_done {
            let error = Error::new(ErrorKind::Unavailable, "the call was not made, on purpose");
            (InjectedOutcome::NotDone, Fault::Fail(error))
        } else if at < rates.not_done + rates.lost {
            (InjectedOutcome::Lost, Fault::LoseReply)
        } else if at < rates.not_done + rates.lost + rates.late {
            let by = rates.latest.mul_f64(numbers.fraction());
            if when < 0.5 {
                (InjectedOutcome::Late(by), Fault::Delay(by))
            } else {
                (InjectedOutcome::LateReply(by), Fault::DelayReply(by))
            }
        } else {
            return None;
        };
        if self.injected.len() == Injected::KEPT {
            self.injected.pop_front();
        }
        self.injected.push_back(Injected::new(call.operation, number, outcome));
        Some(fault)
    }
}

/// Numbers that look like random ones: SplitMix64 (Steele, Lea and Flood, 2014).
struct Numbers(u64);

impl Numbers {
    fn of(seed: u64, operation: &str, number: u64) -> Self {
        let mut numbers = Self(seed);
        for byte in operation.bytes() {
            numbers.0 ^= u64::from(byte);
            numbers.0 = numbers.next();
        }
        numbers.0 ^= number;
        numbers.0 = numbers.next();
        numbers
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to less than 1.
    fn fraction(&mut self) -> f64 {
        // As many bits as an `f64` holds.
        f64::from(u32::try_from(self.next() >> 32).unwrap_or_default()) / (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> FaultRates {
        let rates = FaultRates::new().not_done(0.2).unwrap().lost(0.3).unwrap();
        rates.late(0.4, Duration::from_secs(10)).unwrap()
    }

    fn drawn(seed: u64, calls: impl IntoIterator<Item = Call>) -> Vec<Injected> {
        let mut seeded = Seeded::new(seed);
        seeded.rate("*", all());
        for call in calls {
            drop(seeded.draw(call));
        }
        seeded.injected()
    }

    #[test]
    fn the_same_calls_meet_the_same_faults_whatever_is_between_them() {
        let (check, get) = (Call::LIMIT_CHECK, Call::CACHE_GET);
        let of = |calls: Vec<Injected>, call: Call| -> Vec<_> {
            calls.into_iter().filter(|one| one.operation == call.operation).collect()
        };
        let (alone, mixed) = (drawn(7, [check; 100]), drawn(7, [check, get].repeat(100)));
        assert_eq!(alone, of(mixed.clone(), check));
        assert_ne!(alone, drawn(8, [check; 100]));
        assert_eq!(mixed, drawn(7, [check, get].repeat(100)));
        let numbers = |calls: Vec<Injected>| calls.iter().map(|one| one.number).collect::<Vec<_>>();
        assert_ne!(numbers(of(mixed.clone(), check)), numbers(of(mixed, get)), "each draws its own");
    }

    #[test]
    fn faults_are_as_frequent_as_their_rates() {
        let drawn = drawn(1, std::iter::repeat_n(Call::LIMIT_CHECK, 10_000));
        let count = |is: fn(&InjectedOutcome) -> bool| drawn.iter().filter(|one| is(&one.outcome)).count();
        let counts = [
            count(|outcome| matches!(outcome, InjectedOutcome::NotDone)),
            count(|outcome| matches!(outcome, InjectedOutcome::Lost)),
            count(|outcome| matches!(outcome, InjectedOutcome::Late(_))),
            count(|outcome| matches!(outcome, InjectedOutcome::LateReply(_))),
        ];
        for (count, expected) in counts.into_iter().zip([2_000_usize, 3_000, 2_000, 2_000]) {
            assert!(count.abs_diff(expected) < 200, "{counts:?}");
        }
        let late = drawn.iter().filter_map(|one| match one.outcome {
            InjectedOutcome::Late(by) | InjectedOutcome::LateReply(by) => Some(by),
            _ => None,
        });
        let (soon, later): (Vec<_>, Vec<_>) = late.partition(|by| *by < Duration::from_secs(5));
        assert!(soon.len().abs_diff(later.len()) < 300 && later.iter().all(|by| by.as_secs() < 10));
    }

    #[test]
    fn the_narrower_rate_counts_and_what_is_injected_is_bounded() {
        let mut seeded = Seeded::new(1);
        seeded.rate("*", FaultRates::new().not_done(1.0).unwrap());
        seeded.rate("limit", FaultRates::new().lost(1.0).unwrap());
        seeded.rate("limit.peek", FaultRates::new());
        assert!(matches!(seeded.draw(Call::CACHE_GET), Some(Fault::Fail(_))));
        assert!(matches!(seeded.draw(Call::LIMIT_CHECK), Some(Fault::LoseReply)));
        assert!(seeded.draw(Call::LIMIT_PEEK).is_none());
        for _ in 0..Injected::KEPT {
            seeded.draw(Call::LIMIT_CHECK);
        }
        let injected = seeded.injected();
        assert_eq!((injected.len(), injected[0].number), (Injected::KEPT, 2));
        assert_eq!(format!("{:?}", injected[0]), "limit.check no. 2: Lost");
        seeded.clear();
        assert!(seeded.draw(Call::CACHE_GET).is_none());
    }

    #[test]
    fn what_is_no_probability_is_refused() {
        for rate in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert_eq!(FaultRates::new().lost(rate).unwrap_err().kind(), ErrorKind::InvalidInput, "{rate}");
        }
        let most = FaultRates::new().lost(0.6).unwrap().not_done(0.4).unwrap();
        assert!(most.late(0.1, Duration::ZERO).is_err());
    }
}
