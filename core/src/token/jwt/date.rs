//! Times in claims: numbers of seconds since 1970, which may have fractions (RFC 7519, NumericDate).

use serde_json::Value;

use super::error::Invalid;

/// The end of the year 9999: no time is later.
const LATEST: f64 = 253_402_300_799.0;

/// A time, as the whole second before it and the one after it; the same twice for a whole one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Date {
    /// For when something ends or was issued: rounded so that it is over sooner, and revoked rather.
    pub(super) floor: u64,
    /// For when something begins.
    pub(super) ceil: u64,
}

impl Date {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and the year 9999, and whole"
    )]
    pub(super) fn of(value: &Value, claim: &'static str) -> Result<Self, Invalid> {
        let seconds = value.as_f64().ok_or(Invalid::Malformed(claim))?;
        if !(0.0..=LATEST).contains(&seconds) {
            return Err(Invalid::Malformed(claim));
        }
        Ok(Self { floor: seconds.floor() as u64, ceil: seconds.ceil() as u64 })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_date_is_a_number_whole_or_not() {
        let date = |value: Value| Date::of(&value, "exp").ok().map(|date| (date.floor, date.ceil));
        assert_eq!(date(json!(1_750_000_000)), Some((1_750_000_000, 1_750_000_000)));
        assert_eq!(date(json!(1_750_000_600.5)), Some((1_750_000_600, 1_750_000_601)));
        assert_eq!(date(serde_json::from_str("1.7500006e9").unwrap()), Some((1_750_000_600, 1_750_000_600)));
        assert_eq!(date(json!(0)), Some((0, 0)));
        for bad in [
            json!(-1),
            json!(-0.5),
            json!(1e300),
            json!(u64::MAX),
            json!("1750000000"),
            Value::Null,
            json!([1]),
            json!(true),
        ] {
            assert_eq!(date(bad.clone()), None, "{bad}");
        }
    }
}
