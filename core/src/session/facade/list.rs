//! A user's sessions, for a page of devices and for administrators.

use super::Sessions;
use crate::error::Result;
use crate::session::{SessionLimit, SessionSummary};
use crate::time::Timestamp;

/// All that there is to see of a user's sessions without being the user.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct UserSessions {
    /// The live ones, the newest first.
    pub sessions: Vec<SessionSummary>,
    /// How many the service allows a user, unless it was created with another limit.
    pub limit: SessionLimit,
}

impl UserSessions {
    /// How many are live.
    pub fn count(&self) -> usize {
        self.sessions.len()
    }

    /// When the user was last seen, to the interval in which uses are recorded; `None` without a live session.
    pub fn last_used_at(&self) -> Option<Timestamp> {
        self.sessions.iter().map(|session| session.last_used_at).max()
    }
}

impl Sessions {
    /// The user's live sessions without their fields, the newest first: when each was created and last used, and what the
    /// application has said of its device. What has ended is cleared away on the way.
    ///
    /// # Errors
    /// Those of [every method](Sessions#errors).
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn list(&self, user: &str) -> Result<Vec<SessionSummary>> {
        self.0.store.list(&self.0.service, user).await
    }

    /// How many live sessions the user has.
    ///
    /// # Errors
    /// Those of [every method](Sessions#errors).
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn count(&self, user: &str) -> Result<usize> {
        self.list(user).await.map(|live| live.len())
    }

    /// What an administrator sees of a user: the live sessions, and how many are allowed. They are ended by
    /// [`destroy_id`](Self::destroy_id) and [`destroy_all`](Self::destroy_all).
    ///
    /// # Errors
    /// Those of [every method](Sessions#errors).
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn of_user(&self, user: &str) -> Result<UserSessions> {
        Ok(UserSessions { sessions: self.list(user).await?, limit: self.0.limit })
    }
}
