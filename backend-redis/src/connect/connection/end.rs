//! Why a connection ends, and what that means for its requests.

use std::time::Duration;

use redis::RedisError;
use stanchion::{Error, ErrorKind};

use crate::error::{self, Access};

/// Why a connection ends.
#[derive(Debug)]
pub(super) enum End {
    /// All its handles are dropped.
    Unwanted,
    Closed,
    Broken(RedisError),
    /// The task has panicked.
    Panicked,
}

impl End {
    /// The error of a request, of which something was sent or not.
    pub(super) fn error(&self, access: Access, sent: bool) -> Error {
        match self {
            // Also where the system says that a connection was refused, which was there.
            Self::Broken(failure) if sent => {
                error::from_client(failure, access).with_effect(access.unanswered())
            }
            end => end.code().error(access, sent),
        }
    }

    pub(super) fn code(&self) -> Ended {
        match self {
            Self::Unwanted | Self::Closed => Ended::Closed,
            Self::Broken(_) => Ended::Broken,
            Self::Panicked => Ended::Panicked,
        }
    }
}

/// As much of that as fits into an atomic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Ended {
    Not,
    Closed,
    Broken,
    Panicked,
    /// The runtime has dropped the task: it is shut down.
    WithRuntime,
}

impl Ended {
    pub(super) fn from_code(code: u8) -> Self {
        [Self::Not, Self::Closed, Self::Broken, Self::Panicked, Self::WithRuntime]
            .into_iter()
            .find(|ended| *ended as u8 == code)
            .unwrap_or(Self::Not)
    }

    /// As [`End::error`].
    pub(super) fn error(self, access: Access, sent: bool) -> Error {
        let access = if sent { access } else { Access::Read };
        match self {
            Self::Closed => closed(access),
            Self::WithRuntime => error::runtime_ended(access),
            Self::Panicked if sent => panicked(access),
            Self::Not | Self::Broken if sent => {
                Error::new(ErrorKind::Unavailable, "the connection broke before the answer came")
                    .with_effect(access.unanswered())
            }
            _ => never_sent(),
        }
    }
}

pub(super) fn never_sent() -> Error {
    Error::new(ErrorKind::Unavailable, "the connection broke before the request was sent; reconnecting")
        .with_retry_after(Duration::from_millis(100))
}

fn closed(access: Access) -> Error {
    Error::new(ErrorKind::Closed, "the backend was closed before the answer came")
        .with_effect(access.unanswered())
}

fn panicked(access: Access) -> Error {
    Error::new(ErrorKind::Internal, "the task that drives the connection has ended unexpectedly")
        .with_effect(access.unanswered())
}

#[cfg(test)]
mod tests {
    use stanchion::Effect;

    use super::*;

    #[test]
    fn what_was_not_sent_is_not_applied_however_it_ends() {
        let broken = || End::Broken(RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe)));
        for (end, unsent, sent) in [
            (End::Unwanted, ErrorKind::Closed, ErrorKind::Closed),
            (End::Closed, ErrorKind::Closed, ErrorKind::Closed),
            (broken(), ErrorKind::Unavailable, ErrorKind::Unavailable),
            (End::Panicked, ErrorKind::Unavailable, ErrorKind::Internal),
        ] {
            let facts = |error: Error| (error.kind(), error.effect());
            assert_eq!(facts(end.error(Access::Write, false)), (unsent, Effect::NotApplied), "{end:?}");
            assert_eq!(facts(end.error(Access::Write, true)), (sent, Effect::Unknown), "{end:?}");
            assert_eq!(facts(end.error(Access::Read, true)), (sent, Effect::NotApplied), "{end:?}");
            let code = Ended::from_code(end.code() as u8);
            assert_eq!(facts(code.error(Access::Write, true)), (sent, Effect::Unknown), "{end:?}");
        }
        let code = Ended::from_code(Ended::WithRuntime as u8);
        assert_eq!(code.error(Access::Write, true).kind(), ErrorKind::Config);
    }
}
