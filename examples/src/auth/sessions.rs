//! Sessions: listed, used for new tokens, and ended.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};
use stanchion::prelude::*;

use super::Auth;
use crate::caller::{Bearer, Caller};
use crate::error::AppError;

/// A new token for a session that is alive. It is a use: the idle time starts again.
pub(super) async fn renew_token(
    State(auth): State<Auth>,
    Bearer(secret): Bearer,
) -> Result<Json<Value>, AppError> {
    let session = auth.sessions.authenticate(&secret).await?;
    let gone = || AppError::unauthorized("no such session, or no longer");
    let session = session.ok_or_else(gone)?;
    let issued = auth.sessions.issue(&auth.tokens, &session, IssueOptions::new()).await?;
    let issued = issued.issued().ok_or_else(gone)?;
    Ok(Json(json!({ "token": issued.token })))
}

/// Ends the session, and with it every token that was issued within it: the caller's own, too.
pub(super) async fn log_out(State(auth): State<Auth>, caller: Caller) -> Result<StatusCode, AppError> {
    match caller.claims.session_id() {
        Some(session) => _ = auth.sessions.destroy_id(caller.user(), &session).await?,
        None => _ = auth.tokens.revoke(&caller.claims.jti, caller.claims.expires_at()).await?,
    }
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn log_out_everywhere(
    State(auth): State<Auth>,
    caller: Caller,
) -> Result<Json<Value>, AppError> {
    let ended = auth.sessions.destroy_all(caller.user(), None).await?;
    Ok(Json(json!({ "ended": ended.len() })))
}

pub(super) async fn list(State(auth): State<Auth>, caller: Caller) -> Result<Json<Value>, AppError> {
    let own = caller.claims.session_id();
    let mut list = Vec::new();
    for session in auth.sessions.list(caller.user()).await? {
        list.push(json!({
            "id": session.id.to_string(),
            "device": session.device.label,
            "address": session.device.address,
            "since": session.created_at.to_string(),
            "last_used": session.last_used_at.to_string(),
            "this_one": Some(&session.id) == own.as_ref(),
        }));
    }
    Ok(Json(Value::Array(list)))
}
