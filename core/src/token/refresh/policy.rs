//! How long families of refresh tokens live.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::time::{Ttl, days, seconds};

/// How long refresh tokens live, and for how long one that was rotated is still answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "hand it to TokensBuilder::refreshing"]
pub struct RefreshPolicy {
    absolute: Duration,
    idle: Duration,
    grace: Duration,
}

impl RefreshPolicy {
    /// The most that [`grace`](Self::grace) takes.
    pub const MAX_GRACE: Duration = seconds(60);

    /// A family lives for 30 days after its log-in, ends when it was not used for 7, and the grace is 10 seconds.
    pub const fn new() -> Self {
        Self { absolute: days(30), idle: days(7), grace: seconds(10) }
    }

    /// How long a family lives at most, however often it is used: after that the user logs in again. Revocations of users and
    /// clients are kept for as long.
    pub const fn absolute_timeout(mut self, absolute: Duration) -> Self {
        self.absolute = absolute;
        self
    }

    /// How long a family lives without being used.
    pub const fn idle_timeout(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// For how long a token that was rotated is answered once more, with the same successor: for two tabs that refresh at once,
    /// and for a client that has not got the reply. Only the last one that was rotated, and only until its successor is. Used
    /// later, or with a grace of zero used at all, it ends the family. At most [`MAX_GRACE`](Self::MAX_GRACE).
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    pub(super) fn checked(self) -> Result<Checked> {
        if self.grace > Self::MAX_GRACE {
            return Err(Error::invalid(format!(
                "the grace of refresh tokens is at most {:?}",
                Self::MAX_GRACE
            )));
        }
        Ok(Checked { absolute: Ttl::new(self.absolute)?, idle: Ttl::new(self.idle)?, grace: self.grace })
    }
}

impl Default for RefreshPolicy {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Checked {
    pub(super) absolute: Ttl,
    pub(super) idle: Ttl,
    pub(super) grace: Duration,
}
