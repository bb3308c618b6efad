//! One limit: so many in such a time, and how many at once.

use std::time::Duration;

use super::Calendar;
use crate::error::{Error, Result};

/// `burst` permits at once, which come back evenly, `limit` per `period`: within any span `t` at most
/// `burst + t × limit / period` are taken. Or a [quota](Self::quota): so many in each window of a [`Calendar`].
///
/// The time for one permit is kept as an exact fraction of a microsecond, so that no rounding adds up: three
/// in a second are three, not 3.000003.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tier {
    limit: u32,
    burst: u32,
    shape: Shape,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Shape {
    // And period / limit in lowest terms: the time for one permit.
    Rate { period_us: u64, numerator: u64, denominator: u64 },
    Quota(Calendar),
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
        if !is_count(limit) || !is_count(burst) {
            return Err(bad_count());
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
        Ok(Self { limit, burst, shape: Shape::Rate { period_us, numerator, denominator } })
    }

    /// A quota: `limit` permits in each window of a calendar, all of which are there again when the next begins. They may
    /// be taken at once; a second tier keeps them apart.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if the limit is zero or over [`Self::MAX_COUNT`].
    pub fn quota(limit: u32, calendar: Calendar) -> Result<Self> {
        if !is_count(limit) {
            return Err(bad_count());
        }
        Ok(Self { limit, burst: limit, shape: Shape::Quota(calendar) })
    }

    /// Permits per period, once the burst is used up; of a quota, in each window.
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// The period, in whole microseconds; of a quota, the longest window.
    pub const fn period(&self) -> Duration {
        match self.shape {
            Shape::Rate { period_us, .. } => Duration::from_micros(period_us),
            Shape::Quota(calendar) => Duration::from_secs(calendar.longest_secs()),
        }
    }

    /// How many may be taken at once.
    pub const fn burst(&self) -> u32 {
        self.burst
    }

    /// The time for one permit as a fraction in lowest terms: microseconds, and what divides them. A quota has none.
    pub const fn emission(&self) -> Option<(u64, u64)> {
        match self.shape {
            Shape::Rate { numerator, denominator, .. } => Some((numerator, denominator)),
            Shape::Quota(_) => None,
        }
    }

    /// The calendar of a quota.
    pub const fn calendar(&self) -> Option<Calendar> {
        match self.shape {
            Shape::Rate { .. } => None,
            Shape::Quota(calendar) => Some(calendar),
        }
    }

    /// The name of its state in a store: `limit/period in µs/burst`; of a quota [`Calendar::id`], whatever its limit.
    pub fn id(&self) -> String {
        match self.shape {
            Shape::Rate { period_us, .. } => format!("{}/{period_us}/{}", self.limit, self.burst),
            Shape::Quota(calendar) => calendar.id(),
        }
    }

    /// The tier whose state has this name, unless it is a quota.
    pub(crate) fn rate_from_id(id: &str) -> Option<Self> {
        let mut parts = id.split('/');
        let (limit, period, burst) = (parts.next()?, parts.next()?, parts.next()?);
        let period = Duration::from_micros(period.parse().ok()?);
        let tier = Self::with_burst(limit.parse().ok()?, period, burst.parse().ok()?).ok()?;
        parts.next().is_none().then_some(tier)
    }

    /// A share of it, for one of so many processes: at least one permit.
    pub(crate) fn share(self, of: u32) -> Result<Self> {
        self.exact_share(of).or_else(|_| self.round_share(of))
    }

    /// Where the share is too fine for exact arithmetic: whole microseconds for each permit, rounded up, and no more at once
    /// than fit.
    fn round_share(self, of: u32) -> Result<Self> {
        let part = |count: u32| (count / of.max(1)).max(1);
        let (limit, longest) = (u64::from(part(self.limit)), Self::MAX_PERIOD.as_micros());
        let period = u64::try_from(self.period().as_micros().min(longest)).unwrap_or(u64::MAX);
        let each = period.div_ceil(limit).min(u64::try_from(longest).unwrap_or(u64::MAX) / limit).max(1);
        let burst = u64::from(part(self.burst)).min((Self::EXACT - 1) / each);
        let burst = u32::try_from(burst).unwrap_or(Self::MAX_COUNT);
        Self::with_burst(part(self.limit), Duration::from_micros(each * limit), burst)
    }

    fn exact_share(self, of: u32) -> Result<Self> {
        let part = |count: u32| (count / of.max(1)).max(1);
        match self.shape {
            // A longer period where there is less than one permit for each, so that all together take no more; as far as
            // periods go.
            Shape::Rate { .. } if self.limit < of => {
                let period = self.period().saturating_mul(of) / self.limit;
                Self::with_burst(1, period.min(Self::MAX_PERIOD), part(self.burst))
            }
            Shape::Rate { .. } => Self::with_burst(part(self.limit), self.period(), part(self.burst)),
            Shape::Quota(calendar) => Self::quota(part(self.limit), calendar),
        }
    }
}

fn is_count(count: u32) -> bool {
    (1..=Tier::MAX_COUNT).contains(&count)
}

fn bad_count() -> Error {
    Error::invalid(format!("a limit and its burst take 1 to {} permits", Tier::MAX_COUNT))
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All shares together, in permits a period, and at once.
    fn together(tier: Tier, share: Tier, of: u32) -> (f64, f64) {
        let rate = |tier: Tier| f64::from(tier.limit()) / tier.period().as_secs_f64();
        let at_once = f64::from(share.burst()) * f64::from(of) / f64::from(tier.burst());
        (rate(share) * f64::from(of) / rate(tier), at_once)
    }

    #[test]
    fn a_share_that_is_too_fine_is_rounded() {
        let month = Tier::new(Tier::MAX_COUNT, Duration::from_hours(30 * 24)).unwrap();
        assert!(month.exact_share(7).is_err());
        let share = month.share(7).unwrap();
        assert_eq!((share.limit(), share.burst()), (142_857, 142_857));
        assert!(together(month, share, 7).0 > 0.999);
    }

    proptest! {
        // Found out during an outage, it would be an error in place of a decision.
        #[test]
        fn every_tier_has_a_share(
            limit in prop_oneof![1_u32..20, 1..=Tier::MAX_COUNT],
            burst in prop_oneof![1_u32..20, 1..=Tier::MAX_COUNT],
            period in prop_oneof![1_u64..=2_678_400_000_000, (1_u64..=31).prop_map(|days| days * 86_400_000_000)],
            of in prop_oneof![1_u32..20, 1..=u32::MAX],
        ) {
            let tier = Tier::with_burst(limit, Duration::from_micros(period), burst);
            prop_assume!(tier.is_ok());
            let tier = tier.unwrap();
            let share = tier.share(of);
            prop_assert!(share.is_ok(), "{share:?}");
            let share = share.unwrap();
            if of <= limit {
                // As far as periods go: a second in 31 days.
                prop_assert!(together(tier, share, of).0 < 1.000_001);
            }
            if of <= burst {
                prop_assert!(together(tier, share, of).1 <= 1.0);
            }
        }
    }
}
