//! What users do where their [sessions are listed](super::sessions::list): end one that they don't know, or all but their own. And
//! another secret for a session that goes on.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use stanchion::prelude::*;
use stanchion::session::{Resumed, Rotated, SessionId};

use super::Auth;
use crate::caller::{Bearer, Caller};
use crate::error::AppError;

pub(super) fn router() -> Router<Auth> {
    Router::new()
        .route("/sessions/others", delete(end_others))
        .route("/sessions/{id}", delete(end_one))
        .route("/rotate", post(rotate))
}

/// Ends one session, with the tokens that were issued within it. Somebody else's is answered like one that is not there.
async fn end_one(
    State(auth): State<Auth>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, AppError> {
    let gone = || AppError::not_found("no such session, or no longer");
    let id: SessionId = id.parse().map_err(|_| gone())?;
    match auth.sessions.destroy_id(caller.user(), &id).await? {
        DestroyOutcome::Destroyed => Ok(StatusCode::NO_CONTENT),
        _ => Err(gone()),
    }
}

/// Ends all sessions but the caller's own, as after a change of password.
async fn end_others(State(auth): State<Auth>, caller: Caller) -> Result<Json<Value>, AppError> {
    // A token that belongs to no session would end them all, and that is another route.
    let Some(own) = caller.claims.session_id() else {
        return Err(AppError::forbidden("for tokens of a session only"));
    };
    let ended = auth.sessions.destroy_all(caller.user(), Some(&own)).await?;
    Ok(Json(json!({ "ended": ended.len() })))
}

/// Another secret for the session: once in a while, and (then without a grace) after a step up of rights. What was issued under the old
/// name is revoked, so a new token comes with it.
async fn rotate(State(auth): State<Auth>, Bearer(secret): Bearer) -> Result<Json<Value>, AppError> {
    let gone = || AppError::unauthorized("no such session, or no longer");
    let token = SessionToken::parse(&secret).ok_or_else(gone)?;
    let (session, token) = match auth.sessions.rotate(&token, Patch::new(), Sessions::ROTATION_GRACE).await? {
        Rotated::Rotated { session: Resumed::User(session), token } => (session, token),
        // Another tab was first, and has the new one.
        Rotated::Superseded { .. } => return Err(AppError::conflict("it was rotated already")),
        _ => return Err(gone()),
    };
    let issued = auth.sessions.issue(&auth.tokens, &session, IssueOptions::new()).await?;
    let issued = issued.issued().ok_or_else(gone)?;
    Ok(Json(json!({ "session": token.reveal(), "token": issued.token })))
}
