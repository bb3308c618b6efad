//! One limit: so many in such a time, and how many at once.

use std::time::Duration;

use crate::error::{Error, Result};

/// `burst` permits at once, which come back evenly, `limit` per `period`. So within any span `t` at most
/// `burst + t × limit / period` are taken.
///
/// The time for one permit is kept as an exact fraction of a microsecond, so that no rounding adds up: three
/// in a second are three, not 3.000003.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tier {
    limit: u32,
    period_us: u64,
    burst: u32,
    // period / limit in lowest terms: the time for one permit.
    numerator: u64,
    denominator: u64,
}

impl Tier {
    /// The longest period: 31 days.
    pub const MAX_PERIOD: Duration = Duration::from_hours(31 * 24);
    /// The most permits in a period and in a burst.
    pub const MAX_COUNT: u32 = 1_000_000;
    // Twice this is the largest product that occurs, and 2^53 is where the numbers of Lua stop being exact.
    const EXACT: u64 = 1 << 52;

    /// `limit` permits per `period`; the burst is the same number.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if the limit is zero or over [`Self::MAX_COUNT`], the
    /// period shorter than a microsecond or over [`Self::MAX_PERIOD`], or the two together too fine for
    /// exact arithmetic (such as 999,999 in 31 days; a million in 30 days is fine).
    pub fn new(limit: u32, period: Duration) -> Result<Self> {
        Self::with_burst(limit, period, limit)
    }

    /// As [`new`](Self::new), with another number that may be taken at once.
    ///
    /// # Errors
    /// As [`new`](Self::new), and if the burst is zero or over [`Self::MAX_COUNT`].
    pub fn with_burst(limit: u32, period: Duration, burst: u32) -> Result<Self> {
        if limit == 0 || limit > Self::MAX_COUNT || burst == 0 || burst > Self::MAX_COUNT {
            return Err(Error::invalid(format!(
                "a limit and its burst take 1 to {} permits",
                Self::MAX_COUNT
            )));
        }
        if period > Self::MAX_PERIOD || period < Duration::from_micros(1) {
            return Err(Error::invalid(format!(
                "a limit's period takes 1 microsecond to 31 days, got {period:?}"
            )));
        }
        let period_us = u64::try_from(period.as_micros()).unwrap_or(u64::MAX);
        let divisor = gcd(period_us, u64::from(limit));
        let (numerator, denominator) = (period_us / divisor, u64::from(limit) / divisor);
        if numerator.saturating_mul(u64::from(burst)) >= Self::EXACT {
            return Err(Error::invalid(
                "a limit's period and count are too fine together for exact arithmetic: use rounder numbers",
            ));
        }
        Ok(Self { limit, period_us, burst, numerator, denominator })
    }

    /// Permits per period, once the burst is used up.
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// The period, in whole microseconds.
    pub const fn period(&self) -> Duration {
        Duration::from_micros(self.period_us)
    }

    /// How many may be taken at once.
    pub const fn burst(&self) -> u32 {
        self.burst
    }

    /// The time for one permit as a fraction in lowest terms: microseconds, and what divides them.
    pub const fn emission(&self) -> (u64, u64) {
        (self.numerator, self.denominator)
    }

    /// How the tier is named in the store: `limit/period in µs/burst`. Another limit is another tier, and
    /// starts afresh.
    pub fn id(&self) -> String {
        format!("{}/{}/{}", self.limit, self.period_us, self.burst)
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
