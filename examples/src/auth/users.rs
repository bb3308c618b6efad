//! The user service, over HTTP.

use axum::http::StatusCode;
use reqwest::{Client, RequestBuilder};

use crate::error::AppError;
use crate::profile::Profile;
use crate::service::BoxError;

#[derive(Clone)]
pub(super) struct UserService {
    http: Client,
    url: String,
}

impl UserService {
    pub(super) fn at(url: String) -> Result<Self, BoxError> {
        // Services talk to each other directly.
        let http = Client::builder().no_proxy().timeout(std::time::Duration::from_secs(5)).build()?;
        Ok(Self { http, url })
    }

    /// Creates a profile; a conflict if there is one of this id.
    pub(super) async fn create(&self, profile: &Profile, token: &str) -> Result<Profile, AppError> {
        ask(self.http.post(format!("{}/users", self.url)).bearer_auth(token).json(profile)).await
    }

    pub(super) async fn profile(&self, id: &str, token: &str) -> Result<Profile, AppError> {
        ask(self.http.get(format!("{}/users/{id}", self.url)).bearer_auth(token)).await
    }
}

async fn ask(request: RequestBuilder) -> Result<Profile, AppError> {
    // The error names the URL, which holds no secret.
    let away = |error: reqwest::Error| AppError::unavailable(&error);
    let response = request.send().await.map_err(away)?;
    match response.status() {
        status if status.is_success() => response.json().await.map_err(away),
        StatusCode::UNAUTHORIZED => Err(AppError::unauthorized("the user service refuses the token")),
        StatusCode::NOT_FOUND => Err(AppError::not_found("there is no such user")),
        StatusCode::CONFLICT => Err(AppError::conflict("there is a user of this name")),
        status => Err(AppError::unavailable(&format!("the user service answered {status}"))),
    }
}
