//! What a plain value has behind its JSON: nothing, or for how long the store keeps it after its life.
//!
//! JSON may be followed by any blank space, which every reader of JSON passes over. So the grace of a value is written there as
//! a line feed and forty blanks and tabs: its milliseconds in binary, the highest digit first, a blank for 0 and a tab for 1.
//! A value without it is fresh for as long as it is there, whoever wrote it.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

/// Enough for the longest TTL.
const DIGITS: usize = 40;

/// The JSON of a value with its grace behind it.
pub(super) fn marked(json: &[u8], grace: Duration) -> Bytes {
    let millis = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX).min((1 << DIGITS) - 1);
    let mut bytes = BytesMut::with_capacity(json.len() + 1 + DIGITS);
    bytes.put_slice(json);
    if millis > 0 {
        bytes.put_u8(b'\n');
        let digit = |place| if millis >> place & 1 == 1 { b'\t' } else { b' ' };
        (0..DIGITS).rev().for_each(|place| bytes.put_u8(digit(place)));
    }
    bytes.freeze()
}

/// What is stored without the grace behind it, and the grace.
pub(super) fn unmarked(bytes: &[u8]) -> (&[u8], Duration) {
    let Some((json, [b'\n', digits @ ..])) = bytes.split_last_chunk::<{ DIGITS + 1 }>() else {
        return (bytes, Duration::ZERO);
    };
    let mut millis = 0;
    for digit in digits {
        millis = millis << 1
            | match digit {
                b' ' => 0,
                b'\t' => 1,
                _ => return (bytes, Duration::ZERO),
            };
    }
    (json, Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Ttl;

    #[test]
    fn a_grace_is_read_back_and_is_no_part_of_the_json() {
        for grace in
            [Duration::ZERO, Duration::from_millis(1), Duration::from_secs(90), Ttl::MAX.as_duration()]
        {
            let bytes = marked(br#"{"a": " "}"#, grace);
            assert_eq!(unmarked(&bytes), (&br#"{"a": " "}"#[..], grace));
            let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(value, serde_json::json!({ "a": " " }));
        }
        assert_eq!(
            &marked(b"1", Duration::from_millis(5))[..],
            b"1\n                                     \t \t"
        );
        assert_eq!(marked(b"1", Duration::ZERO), Bytes::from_static(b"1"));
    }

    #[test]
    fn what_others_wrote_is_as_they_wrote_it() {
        let blanks = " ".repeat(DIGITS);
        for text in ["", "1", "1\n", &format!("1{blanks}"), &format!("1\n{}x", &blanks[1..])] {
            assert_eq!(unmarked(text.as_bytes()), (text.as_bytes(), Duration::ZERO), "{text:?}");
        }
    }
}
