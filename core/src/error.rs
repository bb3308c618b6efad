//! One error type for every operation of every backend.
//!
//! A lost race is not an error: it is an outcome (`Ok(Conflict)`, `Ok(Busy)`, `Ok(Gone)`). `Err` means
//! that the question was not answered, and the error says three things a caller can act on: what kind of
//! trouble it was ([`Error::kind`]), whether the change may have happened all the same
//! ([`Error::effect`]), and when to try again ([`Error::retry_after`]). Messages are for people and may
//! change in any release.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The result of every store and façade operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Arc<dyn std::error::Error + Send + Sync + 'static>;

/// What kind of trouble it was. Kinds are coarse: there is one only where a caller would act differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The backend could not be reached or can't serve for now (down, loading, failing over). Passing.
    Unavailable,
    /// The operation's deadline ran out. Passing.
    Timeout,
    /// The backend refused for load or lack of room (too many clients, out of memory). Passing; see
    /// [`Error::retry_after`].
    Throttled,
    /// Credentials or rights are missing. An operator has to act.
    Denied,
    /// The caller's argument can't be accepted: an empty key, a zero TTL, a value over the size cap.
    InvalidInput,
    /// The backend does not offer this; its capabilities say so beforehand.
    Unsupported,
    /// The deployment is set up wrongly: a bad URL, another layout in the store, no runtime.
    Config,
    /// What is stored is not what this operation reads: undecodable bytes, or another type at the key.
    Codec,
    /// The handle was closed.
    Closed,
    /// A bug in a backend or in this library. Please report it.
    Internal,
}

impl ErrorKind {
    /// Whether the same call may succeed later with nothing changed by the caller.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Unavailable | Self::Timeout | Self::Throttled)
    }

    /// The kind as one word, for labels and fields: `invalid_input`. It is interface, unlike what `Display` says.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Throttled => "throttled",
            Self::Denied => "denied",
            Self::InvalidInput => "invalid_input",
            Self::Unsupported => "unsupported",
            Self::Config => "config",
            Self::Codec => "codec",
            Self::Closed => "closed",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Throttled => "throttled",
            Self::Denied => "denied",
            Self::InvalidInput => "invalid input",
            Self::Unsupported => "unsupported",
            Self::Config => "configuration",
            Self::Codec => "codec",
            Self::Closed => "closed",
            Self::Internal => "internal",
        })
    }
}

/// Whether the change that was asked for has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Certainly not: nothing in the store was changed by this call.
    NotApplied,
    /// Not known: the command was sent and its answer never came.
    Unknown,
}

/// Why an operation was not answered. Cheap to clone; the source is shared.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Debug, Clone, thiserror::Error)]
#[error("{kind}: {message}{}", Context { operation: *.operation, backend: *.backend, effect: *.effect })]
struct Inner {
    kind: ErrorKind,
    effect: Effect,
    message: String,
    operation: Option<&'static str>,
    backend: Option<&'static str>,
    retry_after: Option<Duration>,
    source: Option<Source>,
}

struct Context {
    operation: Option<&'static str>,
    backend: Option<&'static str>,
    effect: Effect,
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.operation, self.backend) {
            (Some(operation), Some(backend)) => write!(f, " ({operation} on {backend}")?,
            (Some(operation), None) => write!(f, " ({operation}")?,
            (None, Some(backend)) => write!(f, " (on {backend}")?,
            (None, None) if self.effect == Effect::Unknown => return f.write_str(" (may have been applied)"),
            (None, None) => return Ok(()),
        }
        f.write_str(match self.effect {
            Effect::Unknown => "; may have been applied)",
            Effect::NotApplied => ")",
        })
    }
}

impl Error {
    /// An error of this kind that changed nothing. Use [`with_effect`](Self::with_effect) where that is not
    /// certain.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            kind,
            effect: Effect::NotApplied,
            message: message.into(),
            operation: None,
            backend: None,
            retry_after: None,
            source: None,
        }))
    }

    /// Shorthand for [`ErrorKind::InvalidInput`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    /// Shorthand for [`ErrorKind::Unsupported`].
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    fn edit(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// Says whether the change may have happened.
    #[must_use]
    pub fn with_effect(self, effect: Effect) -> Self {
        self.edit(|e| e.effect = effect)
    }

    /// Names the operation, as `area.verb`: `cache.get`.
    #[must_use]
    pub fn with_operation(self, operation: &'static str) -> Self {
        self.edit(|e| e.operation = Some(operation))
    }

    /// Names the backend: `memory`, `redis`.
    #[must_use]
    pub fn with_backend(self, backend: &'static str) -> Self {
        self.edit(|e| e.backend = Some(backend))
    }

    /// Says how long to wait before trying again.
    #[must_use]
    pub fn with_retry_after(self, wait: Duration) -> Self {
        self.edit(|e| e.retry_after = Some(wait))
    }

    /// Keeps the underlying error as [`source`](std::error::Error::source).
    #[must_use]
    pub fn with_source(self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.edit(|e| e.source = Some(Arc::new(source)))
    }

    /// What kind of trouble it was.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the change that was asked for may have happened. For an operation that only reads this is
    /// always [`Effect::NotApplied`].
    pub fn effect(&self) -> Effect {
        self.0.effect
    }

    /// How long the backend asked to wait, where it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The operation that failed, as `area.verb`.
    pub fn operation(&self) -> Option<&'static str> {
        self.0.operation
    }

    /// The backend that failed.
    pub fn backend(&self) -> Option<&'static str> {
        self.0.backend
    }

    /// Whether the same call may be made again: the kind is transient, and either nothing was applied or
    /// the operation is `idempotent`.
    pub fn is_retryable(&self, idempotent: bool) -> bool {
        self.kind().is_transient() && (idempotent || self.effect() == Effect::NotApplied)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_operation_backend_and_doubt() {
        let error = Error::new(ErrorKind::Unavailable, "connection lost")
            .with_effect(Effect::Unknown)
            .with_operation("cache.set")
            .with_backend("redis");
        assert_eq!(
            error.to_string(),
            "unavailable: connection lost (cache.set on redis; may have been applied)"
        );
    }

    #[test]
    fn only_a_transient_error_is_retryable_and_only_if_nothing_is_done_twice() {
        let down = Error::new(ErrorKind::Unavailable, "down");
        assert!(down.is_retryable(false));
        let doubtful = down.with_effect(Effect::Unknown);
        assert!(!doubtful.is_retryable(false));
        assert!(doubtful.is_retryable(true));
        assert!(!Error::invalid("empty key").is_retryable(true));
    }

    #[test]
    fn the_source_survives_a_clone() {
        let error =
            Error::new(ErrorKind::Codec, "bad bytes").with_source(std::io::Error::other("cause")).clone();
        assert_eq!(std::error::Error::source(&error).map(ToString::to_string).as_deref(), Some("cause"));
    }
}
