//! The one table from the server's error codes to our errors.

use std::time::Duration;

use redis::ServerError;
use stanchion::{Error, ErrorKind};

use super::access::Access;
use super::refusal::Refusal;
use super::status::StatusCode;

/// What an error code says: kind, when to try again, and in words what to do.
///
/// All of them mean that the server did not carry out the command.
const CODES: &[(&str, ErrorKind, Option<Duration>, &str)] = &[
    ("NOAUTH", ErrorKind::Denied, None, "the server asks for a password: put user and password into the URL"),
    ("WRONGPASS", ErrorKind::Denied, None, "the server refused user or password"),
    (
        "NOPERM",
        ErrorKind::Denied,
        None,
        "the user lacks the right to this command, key or channel: extend its ACL",
    ),
    ("DENIED", ErrorKind::Denied, None, "the server is in protected mode: it takes no clients from outside"),
    ("OOM", ErrorKind::Throttled, Some(SOON), "the server is out of memory (maxmemory)"),
    ("LOADING", ErrorKind::Unavailable, Some(SOON), "the server is still loading its data"),
    ("BUSY", ErrorKind::Unavailable, Some(SOON), "the server is held up by a script"),
    ("READONLY", ErrorKind::Unavailable, Some(SOON), "the server is a replica: a failover may be under way"),
    ("MASTERDOWN", ErrorKind::Unavailable, Some(SOON), "the replica has lost its master"),
    ("CLUSTERDOWN", ErrorKind::Unavailable, Some(SOON), "the Cluster does not serve this slot"),
    ("TRYAGAIN", ErrorKind::Unavailable, Some(SOON), "the slot is being moved"),
    ("MOVED", ErrorKind::Unavailable, Some(SOON), "the slot keeps moving"),
    ("ASK", ErrorKind::Unavailable, Some(SOON), "the slot keeps moving"),
    (
        "MISCONF",
        ErrorKind::Unavailable,
        None,
        "the server can't persist and so refuses writes: look at its disk",
    ),
    ("NOREPLICAS", ErrorKind::Unavailable, Some(SOON), "the server has too few replicas to accept writes"),
    ("WRONGTYPE", ErrorKind::Codec, None, "the key holds another type than this operation reads"),
    ("NOTANUMBER", ErrorKind::Codec, None, "the key holds something that is no number"),
    ("OVERFLOW", ErrorKind::InvalidInput, None, "the counter would leave the range of i64"),
    ("NOSCRIPT", ErrorKind::Internal, None, "the server does not keep scripts"),
    ("CROSSSLOT", ErrorKind::Internal, None, "keys of one command are in several slots"),
    ("EXECABORT", ErrorKind::Internal, None, "the server discarded a transaction"),
    ("NOPROTO", ErrorKind::Config, None, "the server does not speak RESP3: Redis 6.2 or later is needed"),
];

/// What a server says of a right that is missing inside a script, which has no code of its own: up to Redis 7.0, and from
/// Redis 7.2 and Valkey 7.2 on.
const NO_RIGHT_INSIDE: &[&str] = &["The user executing the script can't", "ACL failure in script"];

pub(super) const SOON: Duration = Duration::from_secs(1);

/// An error that the server answered.
pub(crate) fn from_server(error: &ServerError, access: Access) -> Error {
    from_code(error.code(), error.details().unwrap_or_default(), access)
}

pub(super) fn from_code(code: &str, details: &str, access: Access) -> Error {
    let (code, details, in_script) = match inside_script(code, details) {
        Some((code, details)) => (code, details, true),
        None => (code, details, details.contains("user_script") || details.contains("script: ")),
    };
    if in_script && NO_RIGHT_INSIDE.iter().any(|text| details.contains(text)) {
        return denied_inside(access);
    }
    if let Some((code, kind, retry_after, what)) = CODES.iter().find(|entry| entry.0 == code) {
        if in_script && *kind == ErrorKind::Denied {
            return denied_inside(access);
        }
        let error = Error::new(*kind, format!("{what} ({code})"));
        let error = match Refusal::from_code(code, details) {
            Some(refusal) => error.with_source(refusal),
            None => error.with_source(StatusCode(code)),
        };
        return match retry_after {
            Some(wait) => error.with_retry_after(*wait),
            None => error,
        };
    }
    if details.starts_with("max number of clients") {
        return Error::new(ErrorKind::Throttled, "the server has too many clients (maxclients)")
            .with_source(StatusCode("ERR"))
            .with_retry_after(SOON);
    }
    if details.starts_with("This instance has cluster support disabled") {
        let what = "the server is no node of a Cluster: write redis:// in place of redis+cluster:// (RedisConfig::standalone)";
        return Error::new(ErrorKind::Config, what).with_source(StatusCode("ERR"));
    }
    if details.starts_with("unknown command") || details.starts_with("unknown subcommand") {
        return Error::unsupported("the server does not know a command that this operation needs")
            .with_source(StatusCode("ERR"));
    }
    // The details may quote arguments, so only the code is repeated, if it is one.
    let status = if code == "ERR" { "ERR" } else { "_OTHER" };
    let code = if is_code(code) { code } else { "no code" };
    let error = Error::new(ErrorKind::Internal, format!("the server answered an unexpected error ({code})"))
        .with_source(StatusCode(status));
    // A script that was stopped keeps what it had written.
    if in_script { error.with_effect(access.unanswered()) } else { error }
}

fn is_code(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// Before 7.0 the code of an error inside a script comes after the place in the script, once or twice, and
/// sometimes after a minus: `ERR Error running script (call to f_1): @user_script:3: @user_script: 3: -OOM …`, and
/// without the beginning where the script handed the error on.
fn inside_script<'a>(code: &'a str, details: &'a str) -> Option<(&'a str, &'a str)> {
    let (_, place) =
        if code == "@user_script:" { ("", details) } else { details.rsplit_once("@user_script:")? };
    let (inner, rest) = place.split_once(": ")?.1.split_once(' ')?;
    let inner = inner.strip_prefix('-').unwrap_or(inner);
    is_code(inner).then_some((inner, rest))
}

/// A script was stopped because its user lacks a right. Unlike the other refusals this one may come after the
/// script has written something.
fn denied_inside(access: Access) -> Error {
    let what = "the user lacks the right to a command or key that a script of this operation needs: extend its ACL (NOPERM)";
    Error::new(ErrorKind::Denied, what).with_source(StatusCode("NOPERM")).with_effect(access.unanswered())
}

#[cfg(test)]
mod tests {
    use stanchion::Effect;

    use super::*;

    #[test]
    fn every_server_error_has_its_kind() {
        use ErrorKind::{Codec, Config, Denied, Internal, InvalidInput, Throttled, Unavailable, Unsupported};
        for (code, details, kind) in [
            ("NOAUTH", "Authentication required.", Denied),
            ("WRONGPASS", "invalid username-password pair or user is disabled.", Denied),
            ("DENIED", "Redis is running in protected mode", Denied),
            ("NOPERM", "this user has no permissions to run the 'get' command", Denied),
            ("OOM", "command not allowed when used memory > 'maxmemory'.", Throttled),
            ("ERR", "max number of clients reached", Throttled),
            ("LOADING", "Redis is loading the dataset in memory", Unavailable),
            ("BUSY", "Redis is busy running a script.", Unavailable),
            ("READONLY", "You can't write against a read only replica.", Unavailable),
            ("MASTERDOWN", "Link with MASTER is down", Unavailable),
            ("CLUSTERDOWN", "Hash slot not served", Unavailable),
            ("TRYAGAIN", "Multiple keys request during rehashing of slot", Unavailable),
            ("MOVED", "1 127.0.0.1:1", Unavailable),
            ("ASK", "1 127.0.0.1:1", Unavailable),
            ("MISCONF", "Redis is configured to save RDB snapshots", Unavailable),
            ("NOREPLICAS", "Not enough good replicas to write.", Unavailable),
            ("WRONGTYPE", "Operation against a key holding the wrong kind of value", Codec),
            ("NOTANUMBER", "", Codec),
            ("OVERFLOW", "", InvalidInput),
            ("NOSCRIPT", "No matching script.", Internal),
            ("CROSSSLOT", "Keys in request don't hash to the same slot", Internal),
            ("EXECABORT", "Transaction discarded because of previous errors.", Internal),
            ("NOPROTO", "unsupported protocol version", Config),
            ("ERR", "This instance has cluster support disabled", Config),
            ("ERR", "unknown command 'FOO', with args beginning with: 'secret'", Unsupported),
            ("ERR", "something new about 'secret'", Internal),
            ("NEWCODE", "secret", Internal),
        ] {
            let error = from_code(code, details, Access::Write);
            assert_eq!(error.kind(), kind, "{code} {details}");
            assert_eq!(error.effect(), Effect::NotApplied, "{code} {details}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn an_error_inside_a_script_keeps_its_own_code() {
        // 7.0 and later, then 6.2.
        for (code, details) in [
            (
                "WRONGTYPE",
                "Operation against a key holding the wrong kind of value script: f1, on @user_script:3.",
            ),
            ("ERR", "Error running script (call to f_1): @user_script:3: WRONGTYPE Operation against a key"),
        ] {
            let error = from_code(code, details, Access::Write);
            assert_eq!((error.kind(), error.effect()), (ErrorKind::Codec, Effect::NotApplied), "{details}");
        }
        // Raised, and handed on by the script.
        for (code, details) in [
            ("OOM", "command not allowed when used memory > 'maxmemory'. script: f1, on @user_script:1."),
            (
                "ERR",
                "Error running script (call to f_1): @user_script:1: @user_script: 1: -OOM command not allowed",
            ),
            ("@user_script:", "1: -OOM command not allowed when used memory > 'maxmemory'.\r\n"),
        ] {
            let error = from_code(code, details, Access::Write);
            assert_eq!(
                (error.kind(), error.effect()),
                (ErrorKind::Throttled, Effect::NotApplied),
                "{details}"
            );
        }
        // It may have been stopped half-way.
        for (code, details) in [
            (
                "ERR",
                "The user executing the script can't run this command or subcommand script: f1, on @user_script:1.",
            ),
            (
                "ERR",
                "Error running script (call to f_1): @user_script:1: @user_script: 1: The user executing the script \
                 can't access at least one of the keys mentioned in the command arguments",
            ),
            ("NOPERM", "this user has no permissions script: f1, on @user_script:1."),
            // From 7.2 on.
            ("ERR", "ACL failure in script: No permissions to access a key script: f1, on @user_script:1."),
            (
                "ERR",
                "ACL failure in script: User svc has no permissions to run the 'set' command script: f1, on @user_script:1.",
            ),
            ("ERR", "ACL failure in script: No permissions to access a channel"),
        ] {
            let error = from_code(code, details, Access::Write);
            assert_eq!((error.kind(), error.effect()), (ErrorKind::Denied, Effect::Unknown), "{details}");
            assert_eq!(from_code(code, details, Access::Read).effect(), Effect::NotApplied, "{details}");
        }
        let stopped = from_code("ERR", "Lua error script: f1, on @user_script:9.", Access::Write);
        assert_eq!((stopped.kind(), stopped.effect()), (ErrorKind::Internal, Effect::Unknown));
        assert_eq!(
            from_code("ERR", "x script: f1, on @user_script:9.", Access::Read).effect(),
            Effect::NotApplied
        );
    }

    #[test]
    fn a_redirect_names_the_node_to_send_to() {
        let moved = from_code("MOVED", "3999 10.0.0.7:6381", Access::Write);
        assert_eq!(Refusal::of(&moved), Some(&Refusal::Moved(("10.0.0.7".into(), 6381))));
        let ask = from_code("ASK", "3999 ::1:6381", Access::Write);
        assert_eq!(Refusal::of(&ask), Some(&Refusal::Ask(("::1".into(), 6381))));
        assert_eq!(Refusal::of(&from_code("TRYAGAIN", "", Access::Write)), Some(&Refusal::TryAgain));
        assert_eq!(Refusal::of(&from_code("NOSCRIPT", "", Access::Write)), Some(&Refusal::NoScript));
        assert_eq!(Refusal::of(&from_code("MOVED", "nonsense", Access::Write)), None);
        assert_eq!(Refusal::of(&from_code("OOM", "", Access::Write)), None);
    }
}
