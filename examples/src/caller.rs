//! Who makes a request: extractors for `Authorization: Bearer …`.

use axum::extract::{FromRef, FromRequestParts};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use stanchion::prelude::*;

use crate::error::AppError;

/// The bearer's text, whatever it is. Not `Debug`: it is a secret.
pub(crate) struct Bearer(pub(crate) String);

impl<S: Sync> FromRequestParts<S> for Bearer {
    type Rejection = AppError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, AppError> {
        let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        match header.and_then(|header| header.split_once(' ')) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Self(token.to_owned())),
            _ => Err(AppError::unauthorized("send Authorization: Bearer <token>")),
        }
    }
}

/// A caller with a token that is genuine, alive and not revoked. A service whose state has [`Tokens`] asks for
/// one by naming it in a handler.
pub(crate) struct Caller {
    pub(crate) claims: Claims,
    pub(crate) token: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller
where
    Tokens: FromRef<S>,
{
    type Rejection = AppError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, AppError> {
        let Bearer(token) = Bearer::from_request_parts(parts, state).await?;
        let claims = Tokens::from_ref(state).verify(&token).await?;
        Ok(Self { claims, token })
    }
}

impl Caller {
    /// The claim with which the auth service's own tokens say what they are; no user's token has it.
    pub(crate) const ROLE: (&str, &str) = ("role", "service");

    /// Whose token it is.
    pub(crate) fn user(&self) -> &str {
        &self.claims.sub
    }

    /// Refuses everybody but this user.
    pub(crate) fn must_be(&self, user: &str) -> Result<(), AppError> {
        if self.user() == user && !self.is_service() {
            return Ok(());
        }
        Err(AppError::forbidden("this is somebody else's"))
    }

    /// Refuses everybody but the auth service itself.
    pub(crate) fn must_be_service(&self) -> Result<(), AppError> {
        if self.is_service() { Ok(()) } else { Err(AppError::forbidden("for services only")) }
    }

    fn is_service(&self) -> bool {
        let (claim, value) = Self::ROLE;
        self.claims.extra.get(claim).is_some_and(|role| role == value)
    }
}
