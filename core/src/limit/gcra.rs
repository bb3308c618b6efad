//! The generic cell rate algorithm in exact whole numbers.

use std::time::Duration;

use super::Tier;
use crate::error::{Error, ErrorKind, Result};
use crate::time::Timestamp;

/// The state of one tier that is no quota: the theoretical arrival time (TAT) of the next permit, as whole microseconds and
/// a rest in the tier's fractions ([`Tier::emission`]).
///
/// What is *used* of the tier is the time from now to the TAT. Taking `n` permits adds `n` emission
/// intervals to it, time takes it away, and a request is allowed while it stays within `burst` intervals. [`Usage`](super::Usage)
/// does that for all tiers of a subject; a backend that can't run it (a script) must do the same arithmetic, and the suite
/// compares them.
///
/// More than the burst can't be used. A time that is further ahead was stored before the clock was set back; it is as good as
/// one a burst ahead, and becomes that with the next check or refund, whatever that decides. So nobody waits longer for a
/// clock than for a limit that is spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gcra {
    micros: u64,
    rest: u64,
}

impl Gcra {
    /// The first time that can't be stored: 2^53 µs, in the year 2255. From there on, numbers of Lua and of JavaScript
    /// are not exact.
    const TOO_LATE: u64 = 1 << 53;

    /// The theoretical arrival time as it is stored: whole microseconds of the clock that the backend counts by, and a rest
    /// in fractions of a microsecond, whose denominator is that of the tier's [`emission`](Tier::emission) and which is
    /// less than it.
    #[must_use]
    pub const fn parts(self) -> (u64, u64) {
        (self.micros, self.rest)
    }

    /// A state that was stored as its [`parts`](Self::parts). They say nothing of their tier: keep them under its
    /// [`id`](Tier::id), since those of one tier mean something else for another.
    ///
    /// Any time below 2^53 µs is taken, also one that is long over (a full tier) or further ahead than a burst takes (the
    /// clock has gone back), which counts as a tier that is spent. A rest of the tier's denominator or more counts as the whole microseconds that it makes, and is stored as
    /// such with the next change.
    ///
    /// # Errors
    /// [`Codec`](crate::ErrorKind::Codec) for what no tier can have stored: a time of 2^53 µs or later, a rest of
    /// [`Tier::MAX_COUNT`] or more.
    pub fn from_parts(micros: u64, rest: u64) -> Result<Self> {
        if micros >= Self::TOO_LATE || rest >= u64::from(Tier::MAX_COUNT) {
            return Err(Error::new(ErrorKind::Codec, "what is stored is no state of a rate limit"));
        }
        Ok(Self { micros, rest })
    }

    /// What is used, in fractions of the tier's emission interval's microseconds, at most its capacity; and whether more was
    /// stored, because the clock was set back since.
    pub(super) fn used(self, rate: Rate, now: Timestamp) -> (u64, bool) {
        let ahead = match self.micros.checked_sub(now.as_micros()) {
            Some(ahead) => ahead.saturating_mul(rate.denominator).saturating_add(self.rest),
            None => 0,
        };
        (ahead.min(rate.capacity), ahead > rate.capacity)
    }

    pub(super) fn after(rate: Rate, now: Timestamp, used: u64) -> Self {
        Self { micros: now.as_micros() + used / rate.denominator, rest: used % rate.denominator }
    }
}

/// The numbers of a tier that is no quota.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    /// The time for one permit is `each / denominator` microseconds.
    pub(super) each: u64,
    pub(super) denominator: u64,
    /// All of the tier, in fractions.
    pub(super) capacity: u64,
}

impl Rate {
    pub(super) fn of(tier: &Tier) -> Option<Self> {
        let (each, denominator) = tier.emission()?;
        Some(Self { each, denominator, capacity: each * u64::from(tier.burst()) })
    }

    /// Fractions as microseconds, rounded up: a wait is never too short.
    pub(super) const fn micros(self, fractions: u64) -> Duration {
        Duration::from_micros(fractions.div_ceil(self.denominator))
    }

    /// The same number of permits as `used` of another rate, rounded up, and at most the capacity.
    pub(super) fn converted(self, used: u64, of: Self) -> u64 {
        let exact = (u128::from(used) * u128::from(self.each)).div_ceil(u128::from(of.each));
        u64::try_from(exact).unwrap_or(u64::MAX).min(self.capacity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_tier_can_have_stored_is_refused() {
        let latest = (Gcra::TOO_LATE - 1, u64::from(Tier::MAX_COUNT) - 1);
        assert_eq!(Gcra::from_parts(latest.0, latest.1).unwrap().parts(), latest);
        for (micros, rest) in [(latest.0 + 1, 0), (u64::MAX, 0), (0, latest.1 + 1), (0, u64::MAX)] {
            assert_eq!(Gcra::from_parts(micros, rest).unwrap_err().kind(), ErrorKind::Codec);
        }
        assert_eq!(Gcra::from_parts(0, 0).unwrap(), Gcra::default());
    }

    #[test]
    fn as_many_permits_are_as_many_whatever_they_cost() {
        let rate = |limit, burst| {
            Rate::of(&Tier::with_burst(limit, Duration::from_hours(1), burst).unwrap()).unwrap()
        };
        let (ten, twenty, seven) = (rate(10, 10), rate(20, 20), rate(7, 7));
        for used in 0..=10 {
            assert_eq!(twenty.converted(used * ten.each, ten), used * twenty.each);
            assert_eq!(ten.converted(used * twenty.each, twenty), used * ten.each);
            assert_eq!(seven.converted(used * ten.each, ten), used.min(7) * seven.each);
        }
        // A part of a permit is rounded up to the next fraction.
        assert_eq!(seven.converted(1, ten), (seven.each).div_ceil(ten.each));
        assert_eq!(ten.converted(20 * twenty.each, twenty), ten.capacity);
    }
}
