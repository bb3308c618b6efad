//! Every way in which a request can fail, as an HTTP response.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use stanchion::prelude::*;

/// A response that is no success: what the client may know, and when to try again.
#[derive(Debug, Clone)]
pub(crate) struct AppError {
    status: StatusCode,
    message: String,
    retry_after: Option<Duration>,
}

impl AppError {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), retry_after: None }
    }

    pub(crate) fn bad_request(message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn unauthorized(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, message)
    }

    pub(crate) fn forbidden(message: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    pub(crate) fn not_found(message: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(crate) fn conflict(message: &str) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    pub(crate) fn too_many(retry_after: Duration) -> Self {
        let message = "too many attempts; try again later";
        Self::new(StatusCode::TOO_MANY_REQUESTS, message).retry_after(Some(retry_after))
    }

    /// The cause is logged, and is none of the client's business.
    pub(crate) fn unavailable(cause: &dyn std::fmt::Display) -> Self {
        eprintln!("503: {cause}");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "not available for now; try again")
    }

    /// The cause is logged, and is none of the client's business.
    pub(crate) fn internal(cause: &dyn std::fmt::Display) -> Self {
        eprintln!("500: {cause}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "something went wrong here")
    }

    fn retry_after(self, retry_after: Option<Duration>) -> Self {
        Self { retry_after, ..self }
    }
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(json!({ "error": self.message }))).into_response();
        if let Some(wait) = self.retry_after {
            // Whole seconds, rounded up: never too early.
            let seconds = wait.as_millis().div_ceil(1_000);
            let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// An error of a store: its kind says what to tell the client.
impl From<Error> for AppError {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::InvalidInput => Self::bad_request(&error.to_string()),
            ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Throttled | ErrorKind::Closed => {
                Self::unavailable(&error).retry_after(error.retry_after())
            }
            _ => Self::internal(&error),
        }
    }
}

/// A load that failed: the loader's own error, or why it could not be asked.
impl From<LoadError<AppError>> for AppError {
    fn from(error: LoadError<AppError>) -> Self {
        match error {
            // Shared with those who waited for the same load.
            LoadError::Loader(error) => Arc::try_unwrap(error).unwrap_or_else(|error| (*error).clone()),
            LoadError::Store(error) => error.into(),
            _ => Self::internal(&"a loader panicked"),
        }
    }
}

/// A token that is not accepted. One that could not be checked is refused too, but not the client's fault.
impl From<VerifyError> for AppError {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Unchecked(error) => error.into(),
            error => Self::unauthorized(&error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use stanchion::prelude::*;

    use super::*;

    #[test]
    fn a_store_that_is_away_is_a_503_with_its_wait_rounded_up() {
        let error = Error::new(ErrorKind::Throttled, "full").with_retry_after(Duration::from_millis(1_001));
        let response = AppError::from(error).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
    }

    #[test]
    fn a_token_that_could_not_be_checked_is_not_the_clients_fault() {
        let status = |error: VerifyError| AppError::from(error).status;
        let away = Error::new(ErrorKind::Unavailable, "away");
        assert_eq!(status(VerifyError::Unchecked(away)), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status(VerifyError::Expired), StatusCode::UNAUTHORIZED);
    }

    #[test]
    fn what_went_wrong_inside_is_not_told() {
        let error = AppError::from(Error::new(ErrorKind::Internal, "a secret of the store"));
        assert!(!error.message.contains("secret"));
        assert_eq!(AppError::from(LoadError::<AppError>::Panicked).status, StatusCode::INTERNAL_SERVER_ERROR);
    }
}
