//! Reads the replies of the cache's scripts; `None` for a form that is not known.

use std::time::Duration;

use bytes::Bytes;
use redis::Value;
use stanchion::cache::{Fetched, FillOutcome, Generation, SetOutcome};
use stanchion::time::Ttl;

use super::verdict::Reading;
use crate::reply;

pub(super) fn set(reply: Value) -> Option<SetOutcome> {
    match reply::count(reply)? {
        0 => Some(SetOutcome::NotStored),
        1 => Some(SetOutcome::Stored),
        2 => Some(SetOutcome::Newer),
        _ => None,
    }
}

/// The rest of a time to live, in ms. Somebody else's key without an expiry (-1) lives as long as anything can; an entry with
/// less than a whole millisecond left is there still.
pub(super) fn life(millis: i64) -> Option<Ttl> {
    match millis {
        -1 => Some(Ttl::MAX),
        0.. => Ttl::from_millis(millis.max(1)).ok(),
        _ => None,
    }
}

#[expect(clippy::option_option, reason = "the outer one says whether the form is known, as everywhere here")]
pub(super) fn value_with_ttl(reply: Value) -> Option<Option<(Bytes, Ttl)>> {
    if reply == Value::Nil {
        return Some(None);
    }
    let mut parts = reply::array(reply)?.into_iter();
    let (value, left) = (reply::bytes(parts.next()?)?, reply::integer(parts.next()?)?);
    Some(Some((value, life(left)?)))
}

pub(super) fn fetched(reply: Value) -> Option<Fetched> {
    let mut parts = reply::array(reply)?.into_iter();
    let (what, millis) = (reply::count(parts.next()?)?, reply::count(parts.next()?)?);
    // A script's last nil may be left out.
    let current = reply::maybe_bytes(parts.next().unwrap_or(Value::Nil))?;
    match what {
        0 => current.map(Fetched::Hit),
        1 => Some(Fetched::Leased { current }),
        2 => Some(Fetched::Busy { remaining: Duration::from_millis(millis), current }),
        3 => Some(Fetched::Failed { remaining: Duration::from_millis(millis), current }),
        _ => None,
    }
}

pub(super) fn filled(reply: Value) -> Option<FillOutcome> {
    match reply::count(reply)? {
        0 => Some(FillOutcome::Fenced),
        1 => Some(FillOutcome::Filled),
        _ => None,
    }
}

pub(super) fn generation(reply: Value) -> Option<Generation> {
    reply::count(reply).map(Generation::new)
}

/// A generation and its age.
pub(super) fn dated_generation(reply: Value) -> Option<(Generation, Duration)> {
    let mut parts = reply::array(reply)?.into_iter();
    Some((generation(parts.next()?)?, Duration::from_micros(reply::count(parts.next()?)?)))
}

/// What a copy of a generation says.
pub(super) fn reading(reply: Value) -> Option<Reading> {
    let mut parts = reply::array(reply)?.into_iter();
    Some(Reading { generation: reply::count(parts.next()?)?, now: reply::count(parts.next()?)? })
}

/// Whether a copy of a generation was raised.
pub(super) fn raised(reply: Value) -> Option<bool> {
    match reply::count(reply::array(reply)?.into_iter().next()?)? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn an_unknown_form_is_none_and_no_panic() {
        let odd = [Value::Okay, Value::Int(7), Value::Int(-1), Value::Array(vec![]), text("x")];
        for reply in &odd {
            assert_eq!(set(reply.clone()), None, "{reply:?}");
            assert_eq!(filled(reply.clone()), None, "{reply:?}");
            assert_eq!(fetched(reply.clone()), None, "{reply:?}");
            assert_eq!(value_with_ttl(reply.clone()), None, "{reply:?}");
            assert_eq!(raised(reply.clone()), None, "{reply:?}");
            assert_eq!(reading(reply.clone()), None, "{reply:?}");
        }
        assert_eq!(generation(Value::Int(-1)), None);
        // A hit without a value.
        assert_eq!(fetched(Value::Array(vec![Value::Int(0), Value::Int(0), Value::Nil])), None);
        assert_eq!(dated_generation(Value::Int(7)), None);
    }

    #[test]
    fn a_time_to_live_is_distinct_from_no_expiry() {
        assert_eq!(
            [life(-2), life(-1), life(0), life(5)].map(|ttl| ttl.map(Ttl::as_millis)),
            [None, Some(Ttl::MAX.as_millis()), Some(1), Some(5)]
        );
        let pair = Value::Array(vec![text("v"), Value::Int(5)]);
        assert_eq!(
            value_with_ttl(pair),
            Some(Some((Bytes::from_static(b"v"), Ttl::from_millis(5).unwrap())))
        );
        assert_eq!(value_with_ttl(Value::Nil), Some(None));
    }

    #[test]
    fn what_is_current_may_be_left_out() {
        let busy =
            |rest: &[Value]| fetched(Value::Array([&[Value::Int(2), Value::Int(9)], rest].concat())).unwrap();
        let remaining = Duration::from_millis(9);
        assert_eq!(busy(&[]), Fetched::Busy { remaining, current: None });
        assert_eq!(busy(&[Value::Nil]), Fetched::Busy { remaining, current: None });
        let current = Some(Bytes::from_static(b"v"));
        assert_eq!(busy(&[text("v")]), Fetched::Busy { remaining, current });
    }
}
