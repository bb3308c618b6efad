//! What came of a refresh token.

use std::fmt;
use std::time::Duration;

use super::secret::RefreshToken;
use crate::error::Error;
use crate::session::SessionId;
use crate::token::{FamilyId, IssuedToken, Reason};

/// An access token, and the refresh token for the next one.
#[derive(Clone)]
#[non_exhaustive]
pub struct IssuedPair {
    /// The signed access token, and what it says.
    pub access: IssuedToken,
    /// The secret for the client. It can't be had again.
    pub refresh: RefreshToken,
    /// For how long the refresh token works, if nothing ends it.
    pub refresh_expires_in: Duration,
}

impl fmt::Debug for IssuedPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedPair")
            .field("access", &self.access)
            .field("family", &self.refresh.family())
            .field("refresh_expires_in", &self.refresh_expires_in)
            .finish()
    }
}

/// A family that was ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EndedFamily {
    /// Its public name.
    pub family: FamilyId,
    /// Whose it was.
    pub user: String,
    /// The session that it belonged to, for [`Sessions::destroy_id`](crate::session::Sessions::destroy_id).
    pub session: Option<SessionId>,
    /// Why its access tokens could not be revoked, if so: they may hold until they expire.
    /// [`revoke_scope`](crate::token::Tokens::revoke_scope) of the session, or [`revoke_user`](crate::token::Tokens::revoke_user), ends them.
    pub unrevoked: Option<Error>,
}

/// What came of a refresh token.
#[derive(Debug, Clone)]
#[must_use = "a refresh token that is not rotated must not be answered with tokens"]
#[non_exhaustive]
pub enum Refreshed {
    /// It was used up, and here is what takes its place. Of any number of uses at once this is answered to one.
    Rotated(IssuedPair),
    /// It was used up a moment ago, within the [grace](super::RefreshPolicy::grace): its successor once more, and an access token.
    Repeated(IssuedPair),
    /// It had been used up before: two have it, and one of them should not. Its family has ended, for both, and the access tokens
    /// of its session, or of the family, are revoked. The user logs in again.
    Reused(EndedFamily),
    /// The user, the session, the client or the service was revoked after the log-in. Its family has ended.
    Revoked(Reason),
    /// It is no refresh token, or of a family that has ended or has never been, or whose session has ended. The user logs in again.
    Gone,
}

impl Refreshed {
    /// The tokens for the client, if there are any.
    pub fn pair(self) -> Option<IssuedPair> {
        match self {
            Self::Rotated(pair) | Self::Repeated(pair) => Some(pair),
            _ => None,
        }
    }
}
