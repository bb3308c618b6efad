//! What an error is called in telemetry.

use stanchion::Error;

use super::refusal::Refusal;

/// The code of an error that the server replied with. It is the source of the error, unless that is a [`Refusal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the code of the server's error is {0}")]
pub(super) struct StatusCode(pub(super) &'static str);

/// The code of the server's error behind this one, if it is one.
pub(crate) fn status_code(error: &Error) -> Option<&'static str> {
    match Refusal::of(error) {
        Some(Refusal::Moved(_)) => Some("MOVED"),
        Some(Refusal::Ask(_)) => Some("ASK"),
        Some(Refusal::TryAgain) => Some("TRYAGAIN"),
        Some(Refusal::NoScript) => Some("NOSCRIPT"),
        None => std::error::Error::source(error)?.downcast_ref().map(|StatusCode(code)| *code),
    }
}

/// Whether the server has said that it is a replica: it takes no writes, or no requests at all while its master is away.
pub(crate) fn is_of_replica(error: &Error) -> bool {
    matches!(status_code(error), Some("READONLY" | "MASTERDOWN"))
}

#[cfg(test)]
mod tests {
    use super::super::Access;
    use super::super::codes::from_code;
    use super::*;

    #[test]
    fn the_code_of_a_server_error_is_kept_and_nothing_else_of_it() {
        for (code, details, status) in [
            ("WRONGTYPE", "Operation against a key", "WRONGTYPE"),
            ("MOVED", "1 10.0.0.7:6381", "MOVED"),
            ("ASK", "1 10.0.0.7:6381", "ASK"),
            ("TRYAGAIN", "", "TRYAGAIN"),
            ("NOSCRIPT", "No matching script", "NOSCRIPT"),
            ("MOVED", "nonsense", "MOVED"),
            ("ERR", "max number of clients reached", "ERR"),
            ("ERR", "unknown command 'FOO', with args beginning with: 'secret'", "ERR"),
            ("ERR", "something new about 'secret'", "ERR"),
            ("SECRET", "secret", "_OTHER"),
            ("ERR", "Error running script (call to f_1): @user_script:3: WRONGTYPE Operation", "WRONGTYPE"),
            ("NOPERM", "this user has no permissions script: f1, on @user_script:1.", "NOPERM"),
        ] {
            let error = from_code(code, details, Access::Write);
            assert_eq!(status_code(&error), Some(status), "{code} {details}");
            assert!(!is_of_replica(&error), "{code} {details}");
        }
        for (code, details) in [
            ("READONLY", "You can't write against a read only replica."),
            ("READONLY", "You can't write against a read only replica. script: f1, on @user_script:1."),
            (
                "ERR",
                "Error running script (call to f_1): @user_script:1: @user_script: 1: -READONLY You can't write",
            ),
            ("MASTERDOWN", "Link with MASTER is down"),
        ] {
            assert!(is_of_replica(&from_code(code, details, Access::Write)), "{code} {details}");
        }
        assert_eq!(status_code(&Error::invalid("x")), None);
    }
}
