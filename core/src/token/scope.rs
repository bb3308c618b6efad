//! What can be revoked at once.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::key::escape;

/// A set of tokens that can be revoked at once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// Every token of the service.
    Service,
    /// Every token of one user.
    User(String),
    /// Every token of one session, by the session's public id.
    Session(String),
    /// Every token issued to one client application.
    Client(String),
    /// Every log-in of one user that has begun and not ended: see [`Tokens::begin`](super::Tokens::begin). No token belongs
    /// to it.
    LogIn(String),
}

impl Scope {
    /// The scope as it is written in a key: `service`, or `user:<escaped id>` and so on.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for an empty or overlong identifier.
    pub fn segment(&self) -> Result<String> {
        Ok(match self {
            Self::Service => "service".to_owned(),
            Self::User(id) => format!("user:{}", escape(id)?),
            Self::Session(id) => format!("session:{}", escape(id)?),
            Self::Client(id) => format!("client:{}", escape(id)?),
            Self::LogIn(id) => format!("login:{}", escape(id)?),
        })
    }
}

/// How often, so to speak, a scope was revoked: 0 if never, and after each revocation a greater number,
/// `max(previous + 1, store's time in microseconds)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(u64);

impl Epoch {
    /// Nothing in the scope was revoked within the life of any token.
    pub const NEVER: Self = Self(0);

    /// From the stored number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The stored number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
