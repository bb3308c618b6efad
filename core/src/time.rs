//! Points in time and lengths of life.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A point on a clock that never goes back. Only comparable with others of the same [`Clock`](crate::clock::Clock).
///
/// Whole nanoseconds; the end of time is 584 years after the clock's origin.
// A number, and not a `Duration`, which is twice as large: every entry of a near cache has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Monotonic(u64);

/// All of it, up to the end of time.
const fn nanos(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000_000).saturating_add(time.subsec_nanos() as u64)
}

impl Monotonic {
    /// A point this long after the clock's own origin.
    pub const fn from_origin(elapsed: Duration) -> Self {
        Self(nanos(elapsed))
    }

    /// How long after the clock's origin this is.
    pub const fn since_origin(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// How long after `earlier` this is; zero if it is not after.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This point moved by `by`, stopping at the end of time.
    #[must_use]
    pub const fn saturating_add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(nanos(by)))
    }
}

/// A wall-clock time: whole microseconds since the Unix epoch, UTC.
///
/// Microseconds fit the 53 bits that Lua and JSON numbers hold exactly until the year 2255.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From microseconds since the Unix epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// From seconds since the Unix epoch, as JWT claims count.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000
    }

    /// How long after `earlier` this is; zero if it is not after.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// This time moved on by `by`, stopping at the largest value.
    #[must_use]
    pub fn saturating_add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC, with microseconds where there are any.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match i64::try_from(self.0).ok().and_then(|us| jiff::Timestamp::from_microsecond(us).ok()) {
            Some(time) => write!(f, "{time}"),
            None => write!(f, "{}us", self.0),
        }
    }
}

impl std::str::FromStr for Timestamp {
    type Err = Error;

    /// Reads RFC 3339; a time before 1970 is refused.
    fn from_str(text: &str) -> Result<Self> {
        let time: jiff::Timestamp = text
            .parse()
            .map_err(|e| Error::invalid(format!("not an RFC 3339 time: {text:?}")).with_source(e))?;
        u64::try_from(time.as_microsecond())
            .map(Self)
            .map_err(|_| Error::invalid(format!("a time before 1970: {text:?}")))
    }
}

/// A length of life that every backend can keep: between 1 ms and [`Ttl::MAX`], in whole milliseconds.
///
/// | asked for | kept |
/// |---|---|
/// | zero | refused, [`InvalidInput`](crate::ErrorKind::InvalidInput) |
/// | a negative number of milliseconds ([`Ttl::from_millis`]) | refused |
/// | a part of a millisecond | rounded up to the next whole one |
/// | more than ten years, such as `Duration::MAX` | [`Ttl::MAX`], ten years |
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ttl(u64);

impl Ttl {
    /// The longest life: 3,650 days.
    pub const MAX: Self = Self(3_650 * 24 * 60 * 60 * 1_000);

    /// The shortest life.
    pub const MIN: Self = Self(1);

    /// Checks and rounds a duration, by the table above.
    pub fn new(life: Duration) -> Result<Self> {
        if life.is_zero() {
            return Err(Error::invalid("a TTL must be longer than zero; remove the entry instead"));
        }
        let millis = life.as_nanos().div_ceil(1_000_000);
        Ok(Self(u64::try_from(millis).unwrap_or(u64::MAX).min(Self::MAX.0)))
    }

    /// From a signed number of milliseconds, as other programs hand them over.
    pub fn from_millis(millis: i64) -> Result<Self> {
        match u64::try_from(millis) {
            Ok(millis) => Self::new(Duration::from_millis(millis)),
            Err(_) => Err(Error::invalid(format!("a TTL must be longer than zero, got {millis} ms"))),
        }
    }

    /// The life that ends at `deadline`, or `None` if that is not in the future of `now`.
    pub fn until(deadline: Timestamp, now: Timestamp) -> Option<Self> {
        Self::new(deadline.saturating_since(now)).ok()
    }

    /// Whole milliseconds, at least 1.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// As a duration.
    pub const fn as_duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl TryFrom<Duration> for Ttl {
    type Error = Error;

    fn try_from(life: Duration) -> Result<Self> {
        Self::new(life)
    }
}

/// A number of seconds.
pub const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A number of minutes.
pub const fn minutes(n: u64) -> Duration {
    Duration::from_secs(n.saturating_mul(60))
}

/// A number of hours.
pub const fn hours(n: u64) -> Duration {
    Duration::from_secs(n.saturating_mul(3_600))
}

/// A number of days of 24 hours.
pub const fn days(n: u64) -> Duration {
    Duration::from_secs(n.saturating_mul(86_400))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_is_refused_rounded_or_capped() {
        assert!(Ttl::new(Duration::ZERO).is_err());
        assert!(Ttl::from_millis(-5).is_err());
        assert!(Ttl::from_millis(0).is_err());
        assert_eq!(Ttl::new(Duration::from_nanos(1)).map(Ttl::as_millis).ok(), Some(1));
        assert_eq!(Ttl::new(Duration::from_micros(1_001)).map(Ttl::as_millis).ok(), Some(2));
        assert_eq!(Ttl::new(Duration::MAX).ok(), Some(Ttl::MAX));
    }

    #[test]
    fn a_timestamp_reads_what_it_writes() {
        let time = Timestamp::from_micros(1_790_000_000_123_456);
        assert_eq!(time.to_string().parse::<Timestamp>().ok(), Some(time));
        assert!("1969-12-31T23:59:59Z".parse::<Timestamp>().is_err());
        assert!("yesterday".parse::<Timestamp>().is_err());
    }
}
