//! What the settings are held to, when a backend is connected.

use std::fmt::Display;
use std::time::Duration;

use stanchion::{Error, ErrorKind, Result};

use super::settings::RedisConfig;

/// Times from here to there.
pub(super) type Times = (Duration, Duration);
/// Numbers from here to there.
pub(super) type Numbers = (usize, usize);

const HOUR: Duration = Duration::from_hours(1);

/// A call that waits for longer than an hour has no deadline to speak of.
pub(super) const DEADLINE: Times = (Duration::from_millis(1), HOUR);
/// More often than that a heartbeat would be most of the traffic.
pub(super) const PING_EVERY: Times = (Duration::from_millis(10), HOUR);
/// The last is some five hours of trying.
pub(super) const CONNECT_ATTEMPTS: Numbers = (1, 10_000);
/// What a server takes in one string, unless it is set otherwise.
pub(super) const MAX_VALUE_BYTES: Numbers = (1, 512 * 1024 * 1024);
pub(super) const MAX_BATCH: Numbers = (1, 1_000_000);

/// A setting that is out of bounds: its name, and what is wrong.
#[derive(Debug)]
pub(super) struct OutOfBounds {
    pub(super) setting: &'static str,
    pub(super) what: String,
}

impl RedisConfig {
    /// Whether every setting is within its bounds, which are in the table [above](Self). A backend is not connected otherwise;
    /// tests of a service's settings can ask beforehand.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config), naming the setting, its value and its bounds.
    pub fn check(&self) -> Result<()> {
        match self.out_of_bounds() {
            None => Ok(()),
            Some(OutOfBounds { setting, what }) => {
                Err(Error::new(ErrorKind::Config, format!("the setting `{setting}` {what}")))
            }
        }
    }

    /// The first setting that is out of bounds.
    pub(super) fn out_of_bounds(&self) -> Option<OutOfBounds> {
        let attempts = usize::try_from(self.connect_attempts).unwrap_or(usize::MAX);
        time("deadline", self.deadline, DEADLINE)
            .or_else(|| time("cache_deadline", self.cache_deadline, DEADLINE))
            .or_else(|| time("ping_every", self.ping_every, PING_EVERY))
            .or_else(|| number("connect_attempts", attempts, CONNECT_ATTEMPTS))
            .or_else(|| number("max_value_bytes", self.max_value_bytes, MAX_VALUE_BYTES))
            .or_else(|| number("max_batch", self.max_batch, MAX_BATCH))
            .or_else(|| self.sentinel_out_of_bounds())
    }
}

fn time(setting: &'static str, value: Duration, (least, most): Times) -> Option<OutOfBounds> {
    let within = least <= value && value <= most;
    (!within).then(|| outside(setting, &human(value), &human(least), &human(most)))
}

fn number(setting: &'static str, value: usize, (least, most): Numbers) -> Option<OutOfBounds> {
    let within = least <= value && value <= most;
    (!within).then(|| outside(setting, &value, &least, &most))
}

fn outside(
    setting: &'static str,
    value: &dyn Display,
    least: &dyn Display,
    most: &dyn Display,
) -> OutOfBounds {
    OutOfBounds { setting, what: format!("is {value}; it may be from {least} to {most}") }
}

/// A time as one would write it: `100 ms`, `1 h`.
pub(super) fn human(time: Duration) -> String {
    const UNITS: [(u128, &str); 4] =
        [(3_600_000_000_000, "h"), (60_000_000_000, "min"), (1_000_000_000, "s"), (1_000_000, "ms")];
    let nanos = time.as_nanos();
    match UNITS.iter().find(|(unit, _)| nanos > 0 && nanos.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{} {name}", nanos / unit),
        None => format!("{time:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_within_and_what_is_beyond_names_them() {
        let config = || RedisConfig::standalone("redis://localhost").unwrap();
        assert!(config().check().is_ok());
        for time in [DEADLINE.0, DEADLINE.1] {
            assert!(config().deadline(time).cache_deadline(time).check().is_ok());
        }
        assert!(config().ping_every(PING_EVERY.0).check().is_ok());
        let error = config().deadline(HOUR + Duration::from_nanos(1)).check().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(
            error.to_string().contains("`deadline`") && error.to_string().contains("from 1 ms to 1 h"),
            "{error}"
        );
        let error = config().max_batch(MAX_BATCH.1 + 1).check().unwrap_err();
        assert!(error.to_string().contains("`max_batch` is 1000001; it may be from 1 to 1000000"), "{error}");
    }

    #[test]
    fn times_are_written_as_people_do() {
        for (time, written) in [
            (Duration::ZERO, "0ns"),
            (Duration::from_millis(100), "100 ms"),
            (Duration::from_millis(1_500), "1500 ms"),
            (Duration::from_mins(90), "90 min"),
            (HOUR, "1 h"),
            (Duration::from_nanos(1), "1ns"),
        ] {
            assert_eq!(human(time), written);
        }
    }
}
