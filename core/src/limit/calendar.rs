//! Windows of the calendar, for quotas.

use std::fmt;

use crate::error::{Error, Result};
use crate::time::Timestamp;

const DAY_SECS: i64 = 86_400;
const MICROS: i64 = 1_000_000;

/// How long a window of the calendar is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum CalendarUnit {
    /// From midnight to midnight.
    Day,
    /// From Monday to Monday.
    Week,
    /// From the first of a month to the first of the next.
    Month,
}

/// Windows that begin at midnight of a day, a Monday or the first of a month, at a fixed offset from UTC.
///
/// The store's clock says which window it is, and no time zone database is asked: an offset has no summer time. A service that
/// must follow one gives each half of the year its own offset; the window in which it changes is then an hour longer or
/// shorter, and counts afresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Calendar {
    unit: CalendarUnit,
    offset_minutes: i32,
}

impl Calendar {
    /// The largest offset from UTC, either way: 18 hours.
    pub const MAX_OFFSET_MINUTES: i32 = 18 * 60;

    /// Windows of this length, in UTC.
    pub const fn utc(unit: CalendarUnit) -> Self {
        Self { unit, offset_minutes: 0 }
    }

    /// Days in UTC.
    pub const fn daily() -> Self {
        Self::utc(CalendarUnit::Day)
    }

    /// Weeks in UTC.
    pub const fn weekly() -> Self {
        Self::utc(CalendarUnit::Week)
    }

    /// Months in UTC.
    pub const fn monthly() -> Self {
        Self::utc(CalendarUnit::Month)
    }

    /// The same, where clocks show so many minutes more than UTC: 60 in Central Europe in winter, -300 in New York.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) over [`MAX_OFFSET_MINUTES`](Self::MAX_OFFSET_MINUTES).
    pub fn at_offset(self, minutes: i32) -> Result<Self> {
        if minutes.abs() > Self::MAX_OFFSET_MINUTES {
            return Err(Error::invalid(format!(
                "an offset from UTC takes at most 18 hours, got {minutes} minutes"
            )));
        }
        Ok(Self { offset_minutes: minutes, ..self })
    }

    /// How long a window is.
    pub const fn unit(self) -> CalendarUnit {
        self.unit
    }

    /// How many minutes more than UTC clocks show there.
    pub const fn offset_minutes(self) -> i32 {
        self.offset_minutes
    }

    /// The window that this time falls into: its first microsecond, and that of the next window.
    pub fn window(self, at: Timestamp) -> (Timestamp, Timestamp) {
        let secs = i64::try_from(at.as_secs()).unwrap_or(i64::MAX / 2);
        let offset = i64::from(self.offset_minutes) * 60;
        let day = (secs + offset).div_euclid(DAY_SECS);
        let (first, next) = match self.unit {
            CalendarUnit::Day => (day, day + 1),
            CalendarUnit::Week => {
                // The epoch was a Thursday.
                let monday = day - (day + 3).rem_euclid(7);
                (monday, monday + 7)
            }
            CalendarUnit::Month => {
                let (year, month) = month_of(day);
                let next = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
                (first_of(year, month), first_of(next.0, next.1))
            }
        };
        let at = |day: i64| {
            let micros = (day * DAY_SECS - offset).saturating_mul(MICROS);
            Timestamp::from_micros(u64::try_from(micros).unwrap_or(0))
        };
        (at(first), at(next))
    }

    /// The length of its longest window, in seconds.
    pub(crate) const fn longest_secs(self) -> u64 {
        match self.unit {
            CalendarUnit::Day => 86_400,
            CalendarUnit::Week => 7 * 86_400,
            CalendarUnit::Month => 31 * 86_400,
        }
    }

    /// How it is named in a store: `month+0`, `day-300`.
    pub fn id(self) -> String {
        self.to_string()
    }

    pub(crate) fn from_id(id: &str) -> Option<Self> {
        let at = id.find(['+', '-'])?;
        let (unit, offset) = id.split_at(at);
        let unit = match unit {
            "day" => CalendarUnit::Day,
            "week" => CalendarUnit::Week,
            "month" => CalendarUnit::Month,
            _ => return None,
        };
        Self::utc(unit).at_offset(offset.parse().ok()?).ok()
    }

    /// How scripts are given the unit.
    pub const fn unit_name(self) -> &'static str {
        match self.unit {
            CalendarUnit::Day => "day",
            CalendarUnit::Week => "week",
            CalendarUnit::Month => "month",
        }
    }
}

impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:+}", self.unit_name(), self.offset_minutes)
    }
}

/// The year and month of a day since the epoch. Years begin in March, so that the odd day of February is their last; an
/// era has 400 of them.
fn month_of(day: i64) -> (i64, i64) {
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month)
}

/// The day since the epoch that is the first of a month.
fn first_of(year: i64, month: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_window_begins_and_ends_at_midnight() {
        for (calendar, now, first, next) in [
            (
                Calendar::monthly(),
                "2024-02-29T23:59:59.999999Z",
                "2024-02-01T00:00:00Z",
                "2024-03-01T00:00:00Z",
            ),
            (Calendar::monthly(), "2025-12-31T12:00:00Z", "2025-12-01T00:00:00Z", "2026-01-01T00:00:00Z"),
            (Calendar::monthly(), "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"),
            (Calendar::weekly(), "2026-11-29T23:00:00Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"),
            (Calendar::weekly(), "2026-11-30T00:00:00Z", "2026-11-30T00:00:00Z", "2026-12-07T00:00:00Z"),
            (Calendar::daily(), "1970-01-01T05:00:00Z", "1970-01-01T00:00:00Z", "1970-01-02T00:00:00Z"),
        ] {
            assert_eq!(calendar.window(at(now)), (at(first), at(next)), "{calendar} at {now}");
        }
    }

    #[test]
    fn an_offset_moves_the_windows() {
        let berlin = Calendar::monthly().at_offset(60).unwrap();
        assert_eq!(berlin.window(at("2026-02-28T23:00:00Z")).0, at("2026-02-28T23:00:00Z"));
        assert_eq!(berlin.window(at("2026-02-28T22:59:59Z")).1, at("2026-02-28T23:00:00Z"));
        let new_york = Calendar::daily().at_offset(-300).unwrap();
        assert_eq!(new_york.window(at("2026-01-02T04:59:59Z")).0, at("2026-01-01T05:00:00Z"));
        assert!(Calendar::daily().at_offset(1_081).is_err());
        for calendar in [berlin, new_york, Calendar::weekly()] {
            assert_eq!(Calendar::from_id(&calendar.id()), Some(calendar));
        }
        assert_eq!(Calendar::from_id("year+0"), None);
    }

    proptest! {
        // Against a calendar that knows them all.
        #[test]
        fn months_are_those_of_the_calendar(secs in 0_u64..7_000_000_000, offset in -1_080..=1_080) {
            let now = Timestamp::from_secs(secs);
            let calendar = Calendar::monthly().at_offset(offset).unwrap();
            let zone = jiff::tz::Offset::from_seconds(offset * 60).unwrap();
            let there = zone.to_datetime(jiff::Timestamp::from_second(i64::try_from(secs).unwrap()).unwrap());
            let first = there.date().first_of_month();
            let next = first.last_of_month().tomorrow().unwrap();
            let micros = |day: jiff::civil::Date| {
                let midnight = zone.to_timestamp(day.at(0, 0, 0, 0)).unwrap();
                u64::try_from(midnight.as_microsecond()).unwrap_or(0)
            };
            let window = calendar.window(now);
            prop_assert_eq!((window.0.as_micros(), window.1.as_micros()), (micros(first), micros(next)));
        }
    }
}
