//! Registering, logging in, and what a caller sees of itself.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use stanchion::prelude::*;
use stanchion::session::Device;

use super::{Auth, refresh, sessions};
use crate::caller::Caller;
use crate::error::AppError;
use crate::profile::{Details, Profile};

pub(super) fn router(auth: Auth) -> Router {
    Router::new()
        .route("/register", post(register))
        .route("/login", post(log_in))
        .route("/token", post(sessions::renew_token))
        .route("/refresh", post(refresh::refresh))
        .route("/logout", post(sessions::log_out))
        .route("/me", get(me))
        .route("/sessions", get(sessions::list).delete(sessions::log_out_everywhere))
        .route("/stats", get(stats))
        .merge(super::devices::router())
        .with_state(auth)
}

/// Not `Debug`: it holds a password.
#[derive(Deserialize)]
struct Registration {
    login: String,
    password: String,
    #[serde(flatten)]
    details: Details,
}

/// The profile is created first: the user service decides who is the first of two with the same name.
async fn register(
    State(auth): State<Auth>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    Json(registration): Json<Registration>,
) -> Result<impl IntoResponse, AppError> {
    // An error of the limiter refuses, too: `?` fails closed.
    admit(&auth.by_address.check(client.ip()).await?)?;
    let Registration { login, password, details } = registration;
    if login.is_empty() || login.len() > 32 || !login.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(AppError::bad_request("a login is 1 to 32 letters and digits"));
    }
    if password.len() < 8 || password.len() > 256 {
        return Err(AppError::bad_request("a password has 8 to 256 bytes"));
    }
    let password_hash = auth.passwords.hash(password).await?;
    // This service speaks for itself, for as long as the request takes.
    let (claim, value) = Caller::ROLE;
    let own = IssueOptions::new().life(seconds(30)).claim(claim, value);
    let own = auth.tokens.issue(super::NAME, own).await?;
    let profile = auth.users.create(&Profile { id: login.clone(), details }, &own.token).await?;
    if !auth.accounts.insert(login, password_hash) {
        return Err(AppError::conflict("there is an account of this name"));
    }
    Ok((StatusCode::CREATED, Json(profile)))
}

/// Not `Debug`: it holds a password.
#[derive(Deserialize)]
struct LogIn {
    login: String,
    password: String,
    /// How the user knows the session again in a list.
    device: String,
}

/// All are secrets of the client: the token goes with every request, the session only to `/token`, the refresh token only to
/// `/refresh`. For a browser, the session would be an `HttpOnly` cookie; an app that has no cookies keeps the refresh token. Not `Debug`.
#[derive(Serialize)]
struct LoggedIn {
    #[serde(flatten)]
    pair: refresh::Pair,
    session: String,
}

async fn log_in(
    State(auth): State<Auth>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    Json(log_in): Json<LogIn>,
) -> Result<Json<LoggedIn>, AppError> {
    admit(&auth.by_address.check(client.ip()).await?)?;
    // Before the password is checked: whoever logs in with the old one, while it is changed, is not let in.
    let attempt = auth.sessions.begin(&log_in.login).await?;
    // Counts as failed from here on, until it is said to have succeeded.
    let guess = match auth.attempts.begin(&log_in.login, client.ip()).await? {
        Begun::Admitted(attempt) => attempt,
        Begun::Locked { retry_after, .. } => return Err(AppError::too_many(retry_after)),
    };
    let stored = auth.accounts.password_hash(&log_in.login);
    match auth.passwords.verify(log_in.password, stored).await {
        Ok(true) => guess.succeeded().await?,
        Ok(false) => {
            guess.failed().await?;
            return Err(AppError::unauthorized("wrong login or password"));
        }
        // The password was not looked at.
        Err(error) => {
            guess.withdrawn().await?;
            return Err(error);
        }
    }
    let fields = Patch::new().device(Device::new().label(log_in.device).address(client.ip()));
    let opened = match auth.sessions.create_for(&attempt, fields).await? {
        OpenOutcome::Opened(opened) => opened,
        OpenOutcome::LimitReached => return Err(AppError::conflict("too many sessions")),
        _ => return Err(AppError::unauthorized("all sessions were ended meanwhile: log in again")),
    };
    let issued = auth.sessions.issue_pair(&auth.tokens, &opened.session, IssueOptions::new()).await?;
    let issued = issued.issued().ok_or_else(|| AppError::unauthorized("the session was ended meanwhile"))?;
    Ok(Json(LoggedIn { pair: issued.into(), session: opened.token.reveal() }))
}

fn admit(decision: &Decision) -> Result<(), AppError> {
    match decision {
        Decision::Allowed { .. } => Ok(()),
        Decision::Denied { retry_after, .. } => Err(AppError::too_many(*retry_after)),
        Decision::CostExceedsCapacity { .. } => Err(AppError::internal(&"a limit of less than one")),
    }
}

async fn me(State(auth): State<Auth>, caller: Caller) -> Result<Json<Profile>, AppError> {
    Ok(Json(Profile::clone(&*auth.profiles.of(&caller).await?)))
}

async fn stats(State(auth): State<Auth>) -> Json<Value> {
    Json(json!({ "profiles": auth.profiles.stats(), "events": auth.followed.to_json() }))
}
