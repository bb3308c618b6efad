//! Why a value could not be loaded.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::failure::SharedFailure;
use crate::error::{Error, ErrorKind};
use crate::key::Key;

/// Why a value could not be loaded. Those who waited for a load that failed get its failure, and so do those who ask a
/// short while later ([`failure_ttl`](crate::cache::CacheBuilder::failure_ttl)); so the loader's error is behind an [`Arc`],
/// and this is [`Clone`] whatever the error is.
///
/// It is an [`Error`](StdError) for every `E` that can be shown, so that `?` works where loaders fail with an `anyhow::Error` or
/// a `Box<dyn Error + Send + Sync>`, which are none themselves, and the caller's function does too. The loader's error is in the
/// message. Its own [`source`](StdError::source) is that of this error where `E` is such a box, an [`io::Error`] or an
/// [`Error`] of these stores; for others ask [`loader`](Self::loader).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// use stanchion::prelude::*;
/// use stanchion_memory::MemoryBackend;
///
/// type Failure = Box<dyn std::error::Error + Send + Sync>;
///
/// async fn load() -> Result<u32, Failure> {
///     Ok("7".parse()?)
/// }
///
/// let numbers = MemoryBackend::new().stores().cache::<u32>("number").build()?;
/// assert_eq!(*numbers.get_or_load("n", load).await?, 7);
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum LoadError<E> {
    /// The loader failed: this caller's own, or that of the load that it waited for.
    Loader(Arc<E>),
    /// The loader of the load that this caller waited for failed, with an error of another type than that of the caller's own.
    Shared(SharedFailure),
    /// The load of another process, that this caller waited for, failed.
    Elsewhere,
    /// The loader panicked; the panic went no further.
    Panicked,
    /// The call took longer than its [hard timeout](crate::cache::CacheBuilder::hard_timeout), waiting included, or its
    /// load longer than [background loads](crate::cache::CacheBuilder::background_timeout) may; it was cancelled.
    TimedOut(Duration),
    /// A loader asked for the value of this key, whose load waits for that loader: its own, or one that waits for its own.
    Circular(Key),
    /// The call could not be made: a bad key, closed stores, no runtime; or the store did not answer and the cache is
    /// [`fail_closed`](crate::cache::CacheBuilder::fail_closed).
    Store(Error),
}

impl<E> LoadError<E> {
    /// The loader's error, if that is what it is.
    pub fn loader(&self) -> Option<&E> {
        match self {
            Self::Loader(error) => Some(error),
            _ => None,
        }
    }

    /// The loader's error, if that is what it is. Others may hold it too; [`Arc::try_unwrap`] takes it out if none does.
    ///
    /// # Errors
    /// This error, if it is another.
    pub fn into_inner(self) -> Result<Arc<E>, Self> {
        match self {
            Self::Loader(error) => Ok(error),
            other => Err(other),
        }
    }

    /// With another error in place of the loader's.
    pub fn map<F>(self, change: impl FnOnce(Arc<E>) -> F) -> LoadError<F> {
        match self {
            Self::Loader(error) => LoadError::Loader(Arc::new(change(error))),
            Self::Shared(failure) => LoadError::Shared(failure),
            Self::Elsewhere => LoadError::Elsewhere,
            Self::Panicked => LoadError::Panicked,
            Self::TimedOut(after) => LoadError::TimedOut(after),
            Self::Circular(key) => LoadError::Circular(key),
            Self::Store(error) => LoadError::Store(error),
        }
    }

    /// Whether nothing failed but the time was over, of the call, of its load or of the store: the value may be had by who
    /// waits for longer.
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::TimedOut(_) => true,
            Self::Store(error) => error.kind() == ErrorKind::Timeout,
            _ => false,
        }
    }
}

impl<E: fmt::Display> fmt::Display for LoadError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // With all of its causes, where it is one that says them.
            Self::Loader(error) => write!(f, "the loader failed: {error:#}"),
            Self::Shared(_) => {
                f.write_str("the load that was waited for failed, with an error of another type")
            }
            Self::Elsewhere => f.write_str("the load of another process that was waited for failed"),
            Self::Panicked => f.write_str("the loader panicked"),
            Self::TimedOut(after) => write!(f, "the loader took longer than its timeout of {after:?}"),
            Self::Circular(_) => f.write_str("a loader asked for a value that waits for its own load"),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display + 'static> StdError for LoadError<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Loader(error) => source_of(&**error),
            Self::Store(error) => error.source(),
            _ => None,
        }
    }
}

/// The source of an error of which it is not known that it is one.
fn source_of<'a>(error: &'a (dyn Any + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    if let Some(error) = error.downcast_ref::<Box<dyn StdError + Send + Sync>>() {
        return error.source();
    }
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return error.source();
    }
    error.downcast_ref::<Error>()?.source()
}

impl<E> From<Error> for LoadError<E> {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
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
