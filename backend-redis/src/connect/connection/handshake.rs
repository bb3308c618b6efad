//! The first requests on a new connection.

use redis::{Cmd, Pipeline, Value};
use stanchion::Result;

use crate::credentials::Credentials;
use crate::error::{self, Access};
use crate::reply;

/// Asks for RESP3, as this user, under this name.
pub(super) fn hello(credentials: Option<&Credentials>, name: &str) -> Cmd {
    let mut hello = redis::cmd("HELLO");
    hello.arg(3);
    if let Some(credentials) = credentials {
        hello.arg("AUTH").arg(credentials.user()).arg(credentials.secret());
    }
    hello.arg("SETNAME").arg(name);
    hello
}

/// Says which library this is. Servers before 7.2 refuse it, and so does the ACL of a user without the right to: neither
/// matters.
pub(super) fn library() -> Pipeline {
    let mut pipeline = Pipeline::with_capacity(2);
    for (field, value) in [("LIB-NAME", "stanchion"), ("LIB-VER", env!("CARGO_PKG_VERSION"))] {
        pipeline.cmd("CLIENT").arg("SETINFO").arg(field).arg(value);
    }
    pipeline
}

/// Authenticates a connection that lives by other credentials.
pub(super) fn auth(credentials: &Credentials) -> Cmd {
    let mut auth = redis::cmd("AUTH");
    auth.arg(credentials.user()).arg(credentials.secret());
    auth
}

/// Reads the reply to `HELLO`.
pub(super) fn check(reply: Value) -> Result<()> {
    if let Value::ServerError(refusal) = &reply
        && refusal.details().is_some_and(|details| details.starts_with("unknown command"))
    {
        return Err(error::no_resp3());
    }
    // In RESP3 it is a map. This one knows the command, a proxy say, and goes on in RESP2.
    if matches!(reply, Value::Array(_)) {
        return Err(error::no_resp3());
    }
    reply::checked(reply, Access::Read).map(drop)
}
