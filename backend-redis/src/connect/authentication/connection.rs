//! What is authenticated.

use futures_util::future::BoxFuture;
use stanchion::Result;

use crate::credentials::Credentials;

/// A connection, which this does not keep alive.
pub(in crate::connect) trait Authenticated: Send + Sync + 'static {
    /// Whether it is still in use.
    fn is_alive(&self) -> bool;

    /// Authenticates it by these credentials, in order with the commands of callers.
    fn authenticate<'a>(&'a self, credentials: &'a Credentials) -> BoxFuture<'a, Result<()>>;

    /// Nobody uses it any more, and another is made.
    fn give_up(&self);
}
