//! What a backend is, beside its stores: a name, a state, and an end.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::cache::CacheStore;
use crate::environment::Health;
use crate::event::EventBus;
use crate::limit::RateLimiter;
use crate::lock::Locker;
use crate::session::SessionStore;
use crate::token::TokenStore;

/// A backend: its stores, and the life that they share.
#[async_trait]
pub trait Backend: fmt::Debug + Send + Sync + 'static {
    /// A short name for errors and metrics: `memory`, `redis`.
    fn name(&self) -> &'static str;

    /// The state, as it is and as it changes.
    fn health(&self) -> watch::Receiver<Health>;

    /// Closes connections and ends subscriptions; later calls of its stores answer
    /// [`Closed`](crate::ErrorKind::Closed). Idempotent.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the backend closing; call again to wait on.
    async fn close(&self);

    /// Its cached values, if it has them.
    fn cache(&self) -> Option<Arc<dyn CacheStore>>;

    /// Its sessions, if it has them.
    fn sessions(&self) -> Option<Arc<dyn SessionStore>>;

    /// Its event bus, if it has one.
    fn events(&self) -> Option<Arc<dyn EventBus>>;

    /// Its locks, if it has them.
    fn locks(&self) -> Option<Arc<dyn Locker>>;

    /// Its rate limits, if it has them.
    fn limits(&self) -> Option<Arc<dyn RateLimiter>>;

    /// Its token revocations, if it has them.
    fn tokens(&self) -> Option<Arc<dyn TokenStore>>;
}

/// One of the areas of the library, each with a store trait of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Area {
    /// [`CacheStore`].
    Cache,
    /// [`SessionStore`].
    Sessions,
    /// [`EventBus`].
    Events,
    /// [`Locker`].
    Locks,
    /// [`RateLimiter`].
    Limits,
    /// [`TokenStore`].
    Tokens,
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cache => "cache",
            Self::Sessions => "sessions",
            Self::Events => "events",
            Self::Locks => "locks",
            Self::Limits => "rate limits",
            Self::Tokens => "tokens",
        })
    }
}
