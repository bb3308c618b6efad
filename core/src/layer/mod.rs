//! Layers: decorators that go around the stores of a bundle.

mod around;
mod budget;
mod call;
pub(crate) mod deadline;
#[cfg(feature = "test-util")]
mod fault;
#[cfg(feature = "metrics")]
mod metrics;
mod outcome;
mod retry;
mod trace;

use std::sync::Arc;

pub use self::around::{Answer, Around};
pub use self::call::Call;
pub use self::deadline::Deadline;
#[cfg(feature = "test-util")]
pub use self::fault::{Fault, Faults};
#[cfg(feature = "metrics")]
pub use self::metrics::Metrics;
pub use self::retry::Retry;
pub use self::trace::Trace;
use crate::cache::CacheStore;
use crate::event::EventBus;
use crate::limit::RateLimiter;
use crate::lock::Locker;
use crate::session::SessionStore;
use crate::token::TokenStore;

/// A decorator of every store trait: takes a store, and answers one that does something around its calls.
///
/// Most layers do the same whatever the area: write an [`Around`], which is a `Layer`. Implement this trait where areas
/// differ; an area that is left alone answers the store it was given.
pub trait Layer {
    /// Around cached values.
    fn cache(&self, store: Arc<dyn CacheStore>) -> Arc<dyn CacheStore>;

    /// Around sessions.
    fn sessions(&self, store: Arc<dyn SessionStore>) -> Arc<dyn SessionStore>;

    /// Around an event bus.
    fn events(&self, bus: Arc<dyn EventBus>) -> Arc<dyn EventBus>;

    /// Around locks.
    fn locks(&self, locker: Arc<dyn Locker>) -> Arc<dyn Locker>;

    /// Around rate limits.
    fn limits(&self, limiter: Arc<dyn RateLimiter>) -> Arc<dyn RateLimiter>;

    /// Around token revocations.
    fn tokens(&self, store: Arc<dyn TokenStore>) -> Arc<dyn TokenStore>;
}
