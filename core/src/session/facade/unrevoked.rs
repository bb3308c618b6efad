//! What an error says of sessions that have ended and whose tokens are not revoked.

use std::fmt;

use crate::error::{Effect, Error};
use crate::token::Scope;

/// Sessions have ended, and tokens that were issued within them may still hold. It is the
/// [source](std::error::Error::source) of the error of the call that ended them.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Unrevoked {
    /// What is to be revoked, with [`Tokens::revoke_scope`](crate::token::Tokens::revoke_scope): the sessions, or the user where nobody
    /// knows which sessions they were.
    pub scopes: Vec<Scope>,
    /// Whether this process goes on trying, until it has revoked them or their tokens have expired. If not, too many are
    /// waiting already, or the stores are closed.
    pub is_retried: bool,
    cause: Error,
}

impl Unrevoked {
    /// What the error says of it, if it is about that.
    pub fn of(error: &Error) -> Option<&Self> {
        std::error::Error::source(error)?.downcast_ref()
    }

    pub(super) fn new(scopes: Vec<Scope>, is_retried: bool, cause: Error) -> Self {
        Self { scopes, is_retried, cause }
    }

    pub(super) fn into_error(self) -> Error {
        let mut error = Error::new(self.cause.kind(), self.to_string())
            .with_effect(Effect::Unknown)
            .with_operation("session.revoke");
        if let Some(backend) = self.cause.backend() {
            error = error.with_backend(backend);
        }
        if let Some(wait) = self.cause.retry_after() {
            error = error.with_retry_after(wait);
        }
        error.with_source(self)
    }
}

/// How many are named in a message. All are in the error.
const NAMED: usize = 8;

impl fmt::Display for Unrevoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sessions have ended, and their tokens are not revoked")?;
        f.write_str(if self.is_retried { " yet:" } else { ":" })?;
        for scope in self.scopes.iter().take(NAMED) {
            write!(f, " {}", scope.segment().unwrap_or_default())?;
        }
        match self.scopes.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl std::error::Error for Unrevoked {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}
