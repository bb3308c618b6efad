//! Reading replies without trusting them: what reads a form answers `None` for one that it does not know.

use bytes::Bytes;
use redis::Value;
use stanchion::Result;

use crate::error::{self, Access};

/// The value of a reply. An error that the server answered comes as a value, and is an error from here on.
pub(crate) fn checked(value: Value, access: Access) -> Result<Value> {
    match value {
        Value::ServerError(error) => Err(error::from_server(&error, access)),
        value => Ok(value),
    }
}

/// What the reply to a `GET` says that the key holds.
pub(crate) fn read_value(reply: Value) -> Result<Option<Bytes>> {
    maybe_bytes(reply).ok_or_else(|| error::unexpected_reply(Access::Read))
}

/// A bulk string, or what RESP3 sends in its place.
pub(crate) fn bytes(value: Value) -> Option<Bytes> {
    match value {
        Value::BulkString(bytes) => Some(bytes.into()),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => {
            Some(Bytes::from(text.into_bytes()))
        }
        Value::Okay => Some(Bytes::from_static(b"OK")),
        _ => None,
    }
}

/// A bulk string or nil.
#[expect(clippy::option_option, reason = "the outer one says whether the form is known, as everywhere here")]
pub(crate) fn maybe_bytes(value: Value) -> Option<Option<Bytes>> {
    match value {
        Value::Nil => Some(None),
        value => bytes(value).map(Some),
    }
}

/// UTF-8 text.
pub(crate) fn text(value: Value) -> Option<String> {
    String::from_utf8(bytes(value)?.into()).ok()
}

/// An integer, or its decimal text: scripts answer large numbers as text.
pub(crate) fn integer(value: Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(number),
        value => text(value)?.parse().ok(),
    }
}

/// An integer that is not negative.
pub(crate) fn count(value: Value) -> Option<u64> {
    integer(value)?.try_into().ok()
}

/// The items of an array.
pub(crate) fn array(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(items) | Value::Set(items) => Some(items),
        _ => None,
    }
}

/// First and last slot, and host and port of their master.
pub(crate) type SlotRange = (u16, u16, (String, u16));

/// The ranges of `CLUSTER SLOTS`. An empty host is that of the node that replied.
pub(crate) fn slot_ranges(value: &Value, node_host: &str) -> Option<Vec<SlotRange>> {
    let ranges = array(value.clone())?.into_iter().map(|range| {
        let mut parts = array(range)?.into_iter();
        let first = u16::try_from(count(parts.next()?)?).ok()?;
        let last = u16::try_from(count(parts.next()?)?).ok().filter(|last| *last < 16_384)?;
        let mut master = array(parts.next()?)?.into_iter();
        let host = match master.next()? {
            Value::Nil => String::new(),
            host => text(host)?,
        };
        let port = u16::try_from(count(master.next()?)?).ok()?;
        let host = if host.is_empty() || host == "?" { node_host.to_owned() } else { host };
        Some((first, last, (host, port)))
    });
    ranges.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_form_is_none_and_no_panic() {
        assert_eq!(integer(Value::BulkString(b"12".to_vec())), Some(12));
        assert_eq!(integer(Value::BulkString(b"x".to_vec())), None);
        assert_eq!(count(Value::Int(-1)), None);
        assert_eq!(text(Value::BulkString(vec![0xFF])), None);
        assert_eq!(maybe_bytes(Value::Nil), Some(None));
        assert_eq!(maybe_bytes(Value::Int(1)), None);
        assert_eq!(array(Value::Int(1)), None);
    }

    #[test]
    fn slot_ranges_read_hosts_and_refuse_nonsense() {
        let node = |host: &str| {
            Value::Array(vec![Value::BulkString(host.as_bytes().to_vec()), Value::Int(7000), Value::Nil])
        };
        let range = |host| Value::Array(vec![Value::Int(0), Value::Int(16_383), node(host)]);
        let read = slot_ranges(&Value::Array(vec![range("10.0.0.1")]), "replied").unwrap();
        assert_eq!(read, [(0, 16_383, ("10.0.0.1".to_owned(), 7000))]);
        assert_eq!(slot_ranges(&Value::Array(vec![range("")]), "replied").unwrap()[0].2.0, "replied");
        let beyond = Value::Array(vec![Value::Int(0), Value::Int(16_384), node("h")]);
        for bad in [Value::Int(1), Value::Array(vec![Value::Int(1)]), Value::Array(vec![beyond])] {
            assert_eq!(slot_ranges(&bad, "h"), None);
        }
    }
}
