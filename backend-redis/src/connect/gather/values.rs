//! What was read, out of the replies.

use bytes::{BufMut, Bytes, BytesMut};
use redis::Value;
use stanchion::Result;

use crate::error::{self, Access};
use crate::reply;

/// Up to so many bytes each, the values of a batch are copied into few pieces of memory. The client has taken one piece for
/// each in one thread, and their readers would give them back in others, all of them at the lock of the same heap.
const SHARED: usize = 512;
/// How large such a piece is.
const PIECE: usize = 8 * 1_024;

/// What a reply says that a key holds.
pub(in crate::connect) fn held(reply: Value) -> Result<Option<Bytes>> {
    reply::maybe_bytes(reply).ok_or_else(|| error::unexpected_reply(Access::Read))
}

/// The size of a value that was found.
pub(super) fn size(answer: &Result<Value>) -> Option<usize> {
    match answer {
        Ok(Value::BulkString(bytes)) => Some(bytes.len()),
        _ => None,
    }
}

/// The same answers, with the small values of some after the other in one piece of memory: whoever keeps one keeps that.
pub(super) fn shared(answers: Vec<Result<Value>>) -> Vec<Result<Option<Bytes>>> {
    let is_small = |bytes: usize| bytes <= SHARED;
    let mut left: usize = answers.iter().filter_map(size).filter(|bytes| is_small(*bytes)).sum();
    let mut memory = BytesMut::new();
    let share = |answer: Result<Value>| match answer? {
        Value::BulkString(bytes) if is_small(bytes.len()) => {
            if memory.capacity() < bytes.len() {
                memory = BytesMut::with_capacity(left.min(PIECE));
            }
            left -= bytes.len();
            memory.put_slice(&bytes);
            Ok(Some(memory.split().freeze()))
        }
        other => held(other),
    };
    answers.into_iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_they_were_whatever_piece_they_are_in() {
        let values: Vec<Vec<u8>> = (0..=u8::MAX)
            .cycle()
            .take(900)
            .enumerate()
            .map(|(n, byte)| vec![byte; n * 7 % (SHARED + 3)])
            .collect();
        let mut answers: Vec<_> = values.iter().cloned().map(|bytes| Ok(Value::BulkString(bytes))).collect();
        answers.insert(1, Ok(Value::Nil));
        answers.insert(300, Ok(Value::Int(1)));
        let mut shared = shared(answers);
        assert!(shared.remove(300).is_err());
        assert_eq!(shared.remove(1).unwrap(), None);
        let shared: Vec<_> = shared.into_iter().map(|answer| answer.unwrap().unwrap()).collect();
        assert_eq!(shared, values);
    }
}
