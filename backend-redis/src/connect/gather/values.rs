//! What was read, out of the replies.

use bytes::{BufMut, Bytes, BytesMut};
use redis::Value;
use stanchion::Result;

use crate::error::{self, Access};
use crate::reply;

/// Up to so many bytes each, the values of a batch are copied into one piece of memory. The client has taken one piece for
/// each in one thread, and their readers would give them back in others, all of them at the lock of the same heap.
const SHARED: usize = 512;

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

/// The same answers, with the small values in one piece of memory.
pub(super) fn shared(answers: Vec<Result<Value>>) -> Vec<Result<Option<Bytes>>> {
    let room = answers.iter().filter_map(size).filter(|size| *size <= SHARED).sum();
    let mut memory = BytesMut::with_capacity(room);
    let share = |answer: Result<Value>| match answer? {
        Value::BulkString(bytes) if bytes.len() <= SHARED => {
            memory.put_slice(&bytes);
            Ok(Some(memory.split().freeze()))
        }
        other => held(other),
    };
    answers.into_iter().map(share).collect()
}
