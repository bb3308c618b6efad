//! What a session backend can take.

use std::time::Duration;

use super::NewSession;
use crate::contract::{BaseCapabilities, Contract};
use crate::error::{Error, Result};
use crate::key::{bucket_of, escape};

/// The bounds of a session backend, declared and checked before a call reaches its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionCapabilities {
    /// What every store declares.
    pub base: BaseCapabilities,
    /// The largest total of field names and values of one session, in bytes, for one call.
    pub max_data_bytes: usize,
    /// The most live sessions of one user.
    pub max_per_user: u32,
}

impl SessionCapabilities {
    /// 256 KiB of data a call, 1,000 sessions a user.
    pub const fn new(contract: Contract) -> Self {
        Self { base: BaseCapabilities::new(contract), max_data_bytes: 256 * 1024, max_per_user: 1_000 }
    }

    /// With a deadline for every call.
    #[must_use]
    pub const fn call_deadline(mut self, deadline: Duration) -> Self {
        self.base = self.base.call_deadline(deadline);
        self
    }

    /// Refuses a session that no backend keeps: a bad user id, a limit of zero or over
    /// [`max_per_user`](Self::max_per_user), too much data, or an id from another user's token.
    pub fn check_new(&self, session: &NewSession) -> Result<()> {
        Self::check_user(&session.user)?;
        let count = session.limit.count();
        if count == 0 || count > self.max_per_user {
            return Err(Error::invalid(format!(
                "a session limit takes 1 to {}, got {count}",
                self.max_per_user
            )));
        }
        if session.id.bucket() != bucket_of(&session.user) {
            return Err(Error::invalid("the session id was made for another user"));
        }
        self.check_bytes(session.data.iter().map(|(name, value)| name.len() + value.len()).sum())
    }

    /// Refuses more data than one call may store.
    pub fn check_bytes(&self, bytes: usize) -> Result<()> {
        if bytes > self.max_data_bytes {
            return Err(Error::invalid(format!(
                "a session call may store {} bytes, got {bytes}; keep large data elsewhere",
                self.max_data_bytes
            )));
        }
        Ok(())
    }

    /// Refuses a user id that can't stand in a key: an empty or overlong one.
    pub fn check_user(user: &str) -> Result<()> {
        escape(user).map(drop)
    }
}
