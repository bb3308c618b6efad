//! What a server says of itself when a connection to it opens.

use std::sync::Arc;

use redis::{Cmd, Value};

use crate::reply;

/// Which server it is, and whether it is the master. Of a node of a Cluster nothing is asked here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ServerInfo {
    /// `None` where the user may not ask.
    pub(crate) id: Option<ServerId>,
    /// `None` where no command says it.
    pub(crate) role: Option<Role>,
    /// Which command says the role.
    pub(crate) role_by: Option<RoleCommand>,
}

/// One run of one server: no two servers have the same, nor does one after a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerId(Arc<str>);

/// Whether a server takes writes, or copies another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Master,
    Replica,
}

/// Of which kind of deployment a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Standalone,
    Cluster,
    Sentinel,
}

/// The command by which a server says its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RoleCommand {
    Hello,
    Role,
}

impl ServerId {
    /// The `run_id` in the reply to `INFO server`. Some services hide it, and say zero in its place.
    pub(super) fn in_info(info: &str) -> Option<Self> {
        let id = info.lines().find_map(|line| line.strip_prefix("run_id:"))?.trim();
        let is_one = id.len() >= 16 && id.bytes().any(|byte| byte != b'0');
        is_one.then(|| Self(id.into()))
    }

    #[cfg(test)]
    pub(super) fn of(id: &str) -> Self {
        Self(id.into())
    }
}

impl Role {
    fn named(name: &str) -> Option<Self> {
        match name {
            "master" => Some(Self::Master),
            "slave" | "replica" => Some(Self::Replica),
            _ => None,
        }
    }
}

impl Mode {
    /// In the reply to `HELLO`.
    pub(super) fn in_hello(reply: &Value) -> Option<Self> {
        match field(reply, "mode")?.as_str() {
            "standalone" => Some(Self::Standalone),
            "cluster" => Some(Self::Cluster),
            "sentinel" => Some(Self::Sentinel),
            _ => None,
        }
    }
}

impl RoleCommand {
    /// On a connection that has RESP3 already, where `HELLO` changes nothing.
    pub(super) fn command(self) -> Cmd {
        match self {
            Self::Hello => redis::cmd("HELLO").arg(3).take(),
            Self::Role => redis::cmd("ROLE"),
        }
    }

    /// The role in the reply; `None` in an error, and in what is not understood.
    pub(super) fn role_in(self, reply: &Value) -> Option<Role> {
        let name = match self {
            Self::Hello => field(reply, "role"),
            Self::Role => reply::array(reply.clone()).into_iter().flatten().next().and_then(reply::text),
        };
        Role::named(&name?)
    }
}

/// A field of the reply to `HELLO`.
fn field(reply: &Value, name: &str) -> Option<String> {
    let Value::Map(fields) = reply else { return None };
    let (_, value) = fields.iter().find(|(key, _)| reply::text(key.clone()).as_deref() == Some(name))?;
    reply::text(value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Value {
        redis::parse_redis_value(text.replace('\n', "\r\n").as_bytes()).unwrap()
    }

    #[test]
    fn role_and_mode_are_in_the_reply_to_hello() {
        let hello = parsed(
            "%4\n$6\nserver\n$5\nredis\n$2\nid\n:7\n$4\nmode\n$10\nstandalone\n$4\nrole\n$7\nreplica\n",
        );
        assert_eq!(RoleCommand::Hello.role_in(&hello), Some(Role::Replica));
        assert_eq!(Mode::in_hello(&hello), Some(Mode::Standalone));
        let sentinel = parsed("%2\n$4\nmode\n$8\nsentinel\n$2\nid\n:7\n");
        assert_eq!(
            (RoleCommand::Hello.role_in(&sentinel), Mode::in_hello(&sentinel)),
            (None, Some(Mode::Sentinel))
        );
        for odd in
            ["+OK\n", "%0\n", "*0\n", "_\n", "%1\n$4\nrole\n*0\n", "%1\n$4\nrole\n$3\nxyz\n", "-NOPERM x\n"]
        {
            assert_eq!(RoleCommand::Hello.role_in(&parsed(odd)), None, "{odd}");
            assert_eq!(Mode::in_hello(&parsed(odd)), None, "{odd}");
        }
    }

    #[test]
    fn role_says_it_in_its_first_word() {
        let of = |text| RoleCommand::Role.role_in(&parsed(text));
        assert_eq!(of("*3\n$6\nmaster\n:0\n*0\n"), Some(Role::Master));
        assert_eq!(of("*5\n$5\nslave\n$9\n127.0.0.1\n:1\n$7\nconnect\n:-1\n"), Some(Role::Replica));
        for odd in ["*2\n$8\nsentinel\n*0\n", "*0\n", "+master\n", "-NOPERM x\n"] {
            assert_eq!(of(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_server_is_known_by_its_run_unless_that_is_hidden() {
        let info = |id: &str| format!("# Server\r\nredis_version:7.0.15\r\nrun_id:{id}\r\ntcp_port:1\r\n");
        let id = "9ab4a8b4c8d0e1f29ab4a8b4c8d0e1f29ab4a8b4";
        assert_eq!(ServerId::in_info(&info(id)), Some(ServerId::of(id)));
        for hidden in ["", "0", &"0".repeat(40)] {
            assert_eq!(ServerId::in_info(&info(hidden)), None, "{hidden}");
        }
        assert_eq!(ServerId::in_info("redis_version:7\r\n"), None);
    }
}
