//! Users are created by the auth service, read by everybody who is logged in, and changed by themselves.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use stanchion::event::standard::{UserCreated, UserUpdated};
use stanchion::prelude::*;

use super::Users;
use crate::caller::Caller;
use crate::error::AppError;
use crate::profile::{Details, Profile};

pub(super) fn router(users: Users) -> Router {
    Router::new()
        .route("/users", get(list).post(create))
        .route("/users/{id}", get(read).put(update))
        .route("/jobs/digest", post(write_digest))
        .route("/stats", get(stats))
        .with_state(users)
}

async fn create(
    State(users): State<Users>,
    caller: Caller,
    Json(profile): Json<Profile>,
) -> Result<impl IntoResponse, AppError> {
    caller.must_be_service()?;
    if !users.database.insert(profile.clone()) {
        return Err(AppError::conflict("there is a user of this id"));
    }
    announce(&users.created, &UserCreated { user_id: profile.id.clone() }).await;
    Ok((StatusCode::CREATED, Json(profile)))
}

async fn update(
    State(users): State<Users>,
    caller: Caller,
    Path(id): Path<String>,
    Json(details): Json<Details>,
) -> Result<Json<Profile>, AppError> {
    caller.must_be(&id)?;
    let before = users.database.update(&id, details.clone()).ok_or_else(unknown)?;
    let changed = details.changed(&before);
    if !changed.is_empty() {
        announce(&users.updated, &UserUpdated { user_id: id.clone(), changed }).await;
    }
    Ok(Json(Profile { id, details }))
}

/// The change is made; that it can't be announced is no reason to tell the caller that it failed. Copies elsewhere are
/// stale then until their TTL is over: where that is too long, write the event into the database with the change, and
/// publish it from there.
async fn announce<E: Event + Sync>(topic: &Topic<E>, event: &E) {
    if let Err(error) = topic.publish(event).await {
        eprintln!("{} could not be published: {error}", E::TYPE);
    }
}

async fn read(
    State(users): State<Users>,
    _: Caller,
    Path(id): Path<String>,
) -> Result<Json<Profile>, AppError> {
    users.database.find(&id).map(Json).ok_or_else(unknown)
}

async fn list(State(users): State<Users>, _: Caller) -> Result<Json<Vec<Profile>>, AppError> {
    Ok(Json(users.list.get().await?.to_vec()))
}

#[derive(Deserialize)]
struct DigestQuery {
    /// How long the work takes.
    #[serde(default)]
    seconds: u64,
}

async fn write_digest(
    State(users): State<Users>,
    _: Caller,
    Query(query): Query<DigestQuery>,
) -> Result<Json<Value>, AppError> {
    let fence = users.digest.write(seconds(query.seconds.min(60))).await?;
    Ok(Json(json!({ "fence": fence })))
}

async fn stats(State(users): State<Users>) -> Json<Value> {
    Json(json!({
        "list": users.list.stats(),
        "events": users.followed.to_json(),
        "database": { "reads": users.database.reads() },
        "digests": users.digest.started(),
    }))
}

fn unknown() -> AppError {
    AppError::not_found("there is no such user")
}
