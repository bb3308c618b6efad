//! A session that is rotated in steps (see [`split`](super::split)), between the one in which its old id becomes a pointer and the
//! one in which it lives under the new id. Whoever comes by then asks again, since it is neither there nor gone.

use redis::Value;
use stanchion::random::jittered;
use stanchion::time::Monotonic;
use stanchion::{Error, ErrorKind, Result};

use super::split::PAUSE;
use super::stored::field;
use crate::command::Call;
use crate::shared::Shared;

/// Whether a script says that the session is about to go on under this id: in so many words, or by its fields.
pub(super) fn is_between(reply: &Value) -> bool {
    let Value::Array(items) = reply else {
        return false;
    };
    match items.as_slice() {
        [Value::BulkString(outcome)] => outcome == b"between",
        [_, Value::Array(fields)] => !matches!(field(fields, "beside"), None | Some(Value::Nil)),
        _ => false,
    }
}

/// The pauses of one call, for as long as that has time.
pub(super) struct Pauses<'a> {
    shared: &'a Shared,
    until: Monotonic,
}

impl<'a> Pauses<'a> {
    pub(super) fn of(shared: &'a Shared, call: Call) -> Self {
        let deadline = || shared.context.environment.clock.now().saturating_add(shared.deadline);
        Self { shared, until: call.until.unwrap_or_else(deadline) }
    }

    /// The next one; an error where the call is over after it. It comes in time, so that the caller reads that nothing was done.
    pub(super) async fn next(&self) -> Result<()> {
        let environment = &self.shared.context.environment;
        let pause = jittered(&*environment.random, PAUSE);
        if environment.clock.now().saturating_add(2 * pause) >= self.until {
            let message = "the session is just being given another id";
            return Err(Error::new(ErrorKind::Unavailable, message).with_retry_after(PAUSE));
        }
        environment.sleep(pause).await;
        Ok(())
    }
}
