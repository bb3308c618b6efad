//! What the server's and the client's errors mean to a caller: one table, and one place for each kind of failure.

mod access;
mod client;
mod codes;
mod refusal;
mod status;
#[cfg(feature = "tls")]
mod tls;

pub(crate) use self::access::Access;
pub(crate) use self::client::{from_client, late, no_resp3, runtime_ended, timed_out, unexpected_reply};
pub(crate) use self::codes::from_server;
pub(crate) use self::refusal::Refusal;
pub(crate) use self::status::{is_of_replica, status_code};
