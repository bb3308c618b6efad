//! New tokens for a client that has no session at hand, but the refresh token of one.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use stanchion::token::{IssuedPair, Refreshed};

use super::Auth;
use crate::caller::Bearer;
use crate::error::AppError;

/// The client keeps both, in place of those that it had. Not `Debug`: they are secrets.
#[derive(Serialize)]
pub(super) struct Pair {
    pub(super) token: String,
    pub(super) refresh: String,
}

impl From<IssuedPair> for Pair {
    fn from(pair: IssuedPair) -> Self {
        Self { token: pair.access.token, refresh: pair.refresh.reveal() }
    }
}

/// A new token, and the next refresh token; the one that was sent works no more, but for the grace. It is a use of the session.
///
/// An error is no rotation (`?`): the client tries again with the token that it has.
pub(super) async fn refresh(
    State(auth): State<Auth>,
    Bearer(secret): Bearer,
) -> Result<Json<Pair>, AppError> {
    match auth.sessions.refresh(&auth.tokens, &secret).await? {
        // Two tabs that refresh at once get the same refresh token.
        Refreshed::Rotated(pair) | Refreshed::Repeated(pair) => return Ok(Json(pair.into())),
        // Two have it, and nobody knows which of them is the user. The access tokens have ended already.
        Refreshed::Reused(ended) => {
            if let Some(session) = ended.session {
                let _ended = auth.sessions.destroy_id(&ended.user, &session).await?;
            }
        }
        _ => {}
    }
    // The same answer to everybody who has to log in again.
    Err(AppError::unauthorized("no such refresh token, or no longer"))
}
