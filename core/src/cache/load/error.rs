//! Why a value could not be loaded.

use std::sync::Arc;
use std::time::Duration;

use super::failure::SharedFailure;
use crate::error::{Error, ErrorKind};
use crate::key::Key;

/// Why a value could not be loaded. Those who waited for a load that failed get its failure, and so do those who ask a
/// short while later ([`failure_ttl`](crate::cache::CacheBuilder::failure_ttl)); so the loader's error is behind an [`Arc`],
/// and this is [`Clone`] whatever the error is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError<E> {
    /// The loader failed: this caller's own, or that of the load that it waited for.
    #[error("the loader failed: {0}")]
    Loader(#[source] Arc<E>),
    /// The loader of the load that this caller waited for failed, with an error of another type than that of the caller's own.
    #[error("the load that was waited for failed, with an error of another type")]
    Shared(SharedFailure),
    /// The load of another process, that this caller waited for, failed.
    #[error("the load of another process that was waited for failed")]
    Elsewhere,
    /// The loader panicked; the panic went no further.
    #[error("the loader panicked")]
    Panicked,
    /// The call took longer than its [hard timeout](crate::cache::CacheBuilder::hard_timeout), waiting included, or its
    /// load longer than [background loads](crate::cache::CacheBuilder::background_timeout) may; it was cancelled.
    #[error("the loader took longer than its timeout of {0:?}")]
    TimedOut(Duration),
    /// A loader asked for the value of this key, whose load waits for that loader: its own, or one that waits for its own.
    #[error("a loader asked for a value that waits for its own load")]
    Circular(Key),
    /// The call could not be made: a bad key, closed stores, no runtime.
    #[error(transparent)]
    Store(#[from] Error),
}

impl<E> Clone for LoadError<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Loader(error) => Self::Loader(Arc::clone(error)),
            Self::Shared(failure) => Self::Shared(failure.clone()),
            Self::Elsewhere => Self::Elsewhere,
            Self::Panicked => Self::Panicked,
            Self::TimedOut(after) => Self::TimedOut(*after),
            Self::Circular(key) => Self::Circular(key.clone()),
            Self::Store(error) => Self::Store(error.clone()),
        }
    }
}

/// The stores were closed under a load.
pub(in crate::cache) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the stores were closed during the load")
        .with_operation("cache.get_or_load")
}
