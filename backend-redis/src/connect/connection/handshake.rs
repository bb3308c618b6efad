//! The first requests on a new connection.

use redis::{Cmd, ConnectionAddr, Pipeline, Value};
use stanchion::{Error, ErrorKind, Result};

use crate::connect::server_info::Mode;
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

/// Asks which server it is.
pub(super) fn info() -> Cmd {
    redis::cmd("INFO").arg("server").take()
}

/// Authenticates a connection that lives by other credentials.
pub(super) fn auth(credentials: &Credentials) -> Cmd {
    let mut auth = redis::cmd("AUTH");
    auth.arg(credentials.user()).arg(credentials.secret());
    auth
}

/// Reads the reply to `HELLO`.
pub(super) fn check(reply: Value) -> Result<Value> {
    if let Value::ServerError(refusal) = &reply
        && refusal.details().is_some_and(|details| details.starts_with("unknown command"))
    {
        return Err(error::no_resp3());
    }
    // In RESP3 it is a map. This one knows the command, a proxy say, and goes on in RESP2.
    if matches!(reply, Value::Array(_)) {
        return Err(error::no_resp3());
    }
    reply::checked(reply, Access::Read)
}

/// Refuses a server of another kind of deployment than the settings are for. Whether a server is a node of a Cluster is seen
/// by its reply to `CLUSTER`.
pub(super) fn check_mode(mode: Option<Mode>, cluster: bool, address: &ConnectionAddr) -> Result<()> {
    let tls = if matches!(address, ConnectionAddr::TcpTls { .. }) { "s" } else { "" };
    let why = match mode {
        Some(Mode::Cluster) if !cluster => {
            format!(
                "{address} is a node of a Cluster: write redis{tls}+cluster://{address} (RedisConfig::cluster)"
            )
        }
        Some(Mode::Sentinel) => {
            format!(
                "{address} is a sentinel: write redis{tls}+sentinel://{address}/name-of-the-master (RedisConfig::sentinel)"
            )
        }
        _ => return Ok(()),
    };
    Err(Error::new(ErrorKind::Config, why))
}

/// Refuses what is no sentinel where one should be.
pub(super) fn check_sentinel(mode: Option<Mode>, address: &ConnectionAddr) -> Result<()> {
    let tls = if matches!(address, ConnectionAddr::TcpTls { .. }) { "s" } else { "" };
    let form = match mode {
        Some(Mode::Standalone) => format!("redis{tls}://{address} (RedisConfig::standalone)"),
        Some(Mode::Cluster) => format!("redis{tls}+cluster://{address} (RedisConfig::cluster)"),
        Some(Mode::Sentinel) | None => return Ok(()),
    };
    let why = format!("it is no sentinel, but a server: write {form}, or the addresses of sentinels");
    Err(Error::new(ErrorKind::Config, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_kind_of_deployment_is_refused_with_what_to_write() {
        let tcp = ConnectionAddr::Tcp("here".to_owned(), 7000);
        let tls =
            ConnectionAddr::TcpTls { host: "here".to_owned(), port: 7000, insecure: false, tls_params: None };
        let refused = |mode, cluster, address| {
            let error = check_mode(Some(mode), cluster, address).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            error.to_string()
        };
        assert!(refused(Mode::Cluster, false, &tcp).contains("redis+cluster://here:7000"));
        assert!(refused(Mode::Cluster, false, &tls).contains("rediss+cluster://here:7000"));
        for cluster in [false, true] {
            assert!(refused(Mode::Sentinel, cluster, &tcp).contains("redis+sentinel://here:7000/"));
            check_mode(None, cluster, &tcp).unwrap();
            check_mode(Some(Mode::Standalone), cluster, &tcp).unwrap();
        }
        check_mode(Some(Mode::Cluster), true, &tcp).unwrap();
        let no_sentinel = |mode, address| check_sentinel(Some(mode), address).unwrap_err().to_string();
        assert!(no_sentinel(Mode::Standalone, &tcp).contains("redis://here:7000"));
        assert!(no_sentinel(Mode::Cluster, &tls).contains("rediss+cluster://here:7000"));
        check_sentinel(Some(Mode::Sentinel), &tcp).unwrap();
    }
}
