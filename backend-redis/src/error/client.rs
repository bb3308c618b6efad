//! Failures of the connection, and replies that never came or can't be read.

use std::time::Duration;

use redis::RedisError;
use stanchion::{Error, ErrorKind};

use super::access::Access;
use super::codes::{SOON, from_code};

/// The connection failed, or what came over it can't be read.
pub(crate) fn from_client(error: &RedisError, access: Access) -> Error {
    #[cfg(feature = "tls")]
    if let Some(refused) = super::tls::refused_handshake(error, access) {
        return refused;
    }
    match error.kind() {
        _ if error.is_connection_refusal() => {
            Error::new(ErrorKind::Unavailable, "the connection was refused").with_retry_after(SOON)
        }
        // What the system says of a connection quotes nothing that was sent over it.
        redis::ErrorKind::Io => Error::new(ErrorKind::Unavailable, format!("the connection failed: {error}"))
            .with_effect(access.unanswered())
            .with_source(error.clone()),
        _ => Error::new(
            ErrorKind::Internal,
            format!("what the server answers can't be read: {}", error.category()),
        )
        .with_effect(access.unanswered()),
    }
}

/// The server does not know `HELLO`.
pub(crate) fn no_resp3() -> Error {
    from_code("NOPROTO", "", Access::Read)
}

/// The deadline has passed after the command was sent.
pub(crate) fn timed_out(deadline: Duration, access: Access) -> Error {
    Error::new(ErrorKind::Timeout, format!("no answer within {deadline:?}")).with_effect(access.unanswered())
}

/// The deadline has passed of an operation of which something was sent, or not. If not, a task that was to send it may not have
/// been run.
pub(crate) fn late(deadline: Duration, access: Access, sent: bool, not_run: bool) -> Error {
    if sent {
        return timed_out(deadline, access);
    }
    let why = if not_run {
        "the task that drives the connection did not run: its tokio runtime, in which the backend was connected, is not \
         driven (a runtime of one thread runs its tasks only within `block_on`), or is blocked"
    } else {
        "nothing was sent"
    };
    Error::new(ErrorKind::Timeout, format!("no answer within {deadline:?}; {why}"))
}

/// The runtime has ended on which the tasks of the backend were run, and with it all its connections.
pub(crate) fn runtime_ended(access: Access) -> Error {
    Error::new(
        ErrorKind::Config,
        "the tokio runtime in which the backend was connected has ended: connect it inside the runtime that lives for as \
         long as it is used (each `#[tokio::test]` has a runtime of its own: one backend for each, or one runtime for all)",
    )
    .with_effect(access.unanswered())
}

/// The reply is not of the form that the command has.
pub(crate) fn unexpected_reply(access: Access) -> Error {
    Error::new(ErrorKind::Internal, "the server's reply has an unexpected form")
        .with_effect(access.unanswered())
}

#[cfg(test)]
mod tests {
    use stanchion::Effect;

    use super::*;

    #[test]
    fn a_lost_reply_is_in_doubt_only_for_writes() {
        let lost = RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!(from_client(&lost, Access::Write).effect(), Effect::Unknown);
        assert_eq!(from_client(&lost, Access::Read).effect(), Effect::NotApplied);
        assert_eq!(from_client(&lost, Access::Read).kind(), ErrorKind::Unavailable);
        let refused = RedisError::from(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
        assert_eq!(from_client(&refused, Access::Write).effect(), Effect::NotApplied);
        assert_eq!(timed_out(SOON, Access::Write).effect(), Effect::Unknown);
        assert_eq!(timed_out(SOON, Access::Read).kind(), ErrorKind::Timeout);
    }

    #[cfg(feature = "tls")]
    #[test]
    fn a_handshake_that_can_not_succeed_is_for_the_operator() {
        use std::io;

        use rustls::{AlertDescription, CertificateError};

        let failed = |why: rustls::Error| RedisError::from(io::Error::new(io::ErrorKind::InvalidData, why));
        let untrusted = failed(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer));
        let unknown = failed(rustls::Error::AlertReceived(AlertDescription::CertificateRequired));
        let facts = |error: &RedisError| {
            let error = from_client(error, Access::Write);
            (error.kind(), error.effect())
        };
        assert_eq!(facts(&untrusted), (ErrorKind::Config, Effect::NotApplied), "before anything was sent");
        assert_eq!(facts(&unknown), (ErrorKind::Config, Effect::Unknown), "an alert may come at any time");
        // Failures that may pass by themselves.
        let disturbed = failed(rustls::Error::DecryptError);
        assert_eq!(facts(&disturbed), (ErrorKind::Unavailable, Effect::Unknown));
        let broken = RedisError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(facts(&broken), (ErrorKind::Unavailable, Effect::Unknown));
    }
}
