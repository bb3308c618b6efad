//! Why a value could not be loaded.

use std::time::Duration;

use crate::error::{Error, ErrorKind};

/// Why a value could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError<E> {
    /// The caller's own loader failed.
    #[error("the loader failed: {0}")]
    Loader(#[source] E),
    /// The caller's own loader panicked; the panic went no further.
    #[error("the loader panicked")]
    Panicked,
    /// The caller's own loader took longer than its hard timeout, and was cancelled.
    #[error("the loader took longer than its timeout of {0:?}")]
    TimedOut(Duration),
    /// The call could not be made: a bad key, closed stores, no runtime.
    #[error(transparent)]
    Store(#[from] Error),
}

/// The stores were closed under a load.
pub(in crate::cache) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the stores were closed during the load")
        .with_operation("cache.get_or_load")
}

/// Why what is loaded is not stored, and so not loaded in the background.
pub(super) fn newer_schema() -> Error {
    Error::new(ErrorKind::Unsupported, "a value of a newer schema is there, which is not overwritten")
}
