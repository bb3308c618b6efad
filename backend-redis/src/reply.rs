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
}
