//! The first request on a new connection.

use redis::{Cmd, RedisConnectionInfo, Value};
use stanchion::Result;

use crate::error::{self, Access};
use crate::reply;

/// Asks for RESP3, with user and password.
pub(super) fn hello(settings: &RedisConnectionInfo) -> Cmd {
    let mut hello = redis::cmd("HELLO");
    hello.arg(3);
    if let Some(password) = settings.password() {
        hello.arg("AUTH").arg(settings.username().unwrap_or("default")).arg(password);
    }
    hello
}

/// Reads the reply to it.
pub(super) fn check(reply: Value) -> Result<()> {
    if let Value::ServerError(refusal) = &reply
        && refusal.details().is_some_and(|details| details.starts_with("unknown command"))
    {
        return Err(error::no_resp3());
    }
    reply::checked(reply, Access::Read).map(drop)
}
