//! What is said first on a new connection.

use redis::{RedisConnectionInfo, Value};
use stanchion::Result;

use super::Connection;
use crate::connect::unwrap;
use crate::error::{self, Access};

/// Asks for RESP3, and says who we are.
pub(super) async fn greet(connection: &Connection, settings: &RedisConnectionInfo) -> Result<()> {
    let mut hello = redis::cmd("HELLO");
    hello.arg(3);
    if let Some(password) = settings.password() {
        hello.arg("AUTH").arg(settings.username().unwrap_or("default")).arg(password);
    }
    let greeted = connection.answer(&hello, Access::Read).await?;
    if let Value::ServerError(refusal) = &greeted
        && refusal.details().is_some_and(|details| details.starts_with("unknown command"))
    {
        return Err(error::no_resp3());
    }
    unwrap(greeted, Access::Read).map(drop)
}
