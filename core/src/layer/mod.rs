//! Layers: decorators that go around the stores of a bundle.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> stanchion::Result<()> {
//! use std::time::Duration;
//!
//! use stanchion::layer::{Deadline, Retry, Trace};
//! use stanchion_memory::MemoryBackend;
//!
//! let stores = MemoryBackend::new().stores();
//! let environment = stores.environment();
//! let stores = stores
//!     .layer(Deadline::new(Duration::from_millis(500), environment)?)
//!     .layer(Retry::new(environment))
//!     .layer(Trace::new());
//! let logins = stores.limits("login").per_minute(5).build()?;
//! logins.check("203.0.113.7").await?;
//! # Ok(()) }
//! ```
//!
//! A layer takes an `Arc<dyn Store>` of each area and answers another that does something around its calls. Façades that are
//! taken from the layered bundle go through it; those that were taken before don't.
//!
//! | layer | what it does around a call | default |
//! |---|---|---|
//! | [`Deadline`] | ends it as `Timeout` | 5 s around each store that declares no deadline; else not put on |
//! | [`Retry`] | repeats it after a passing error, if that does no harm | not put on; 3 attempts, back-off from 20 ms to 1 s, budget of 10 % |
//! | `Metrics`, with the feature `metrics` | counts it by its outcome, and records how long it took | not put on |
//! | [`Trace`] | opens a span | not put on |
//! | `Faults`, with the feature `test-util` | makes it fail, for tests: as planned, or at random by a seed | not put on |
//!
//! # Order
//! The last one that is put on is the outermost. `Deadline`, then `Retry`, bounds each attempt; `Retry`, then `Deadline`,
//! bounds all of them together. `Metrics` and `Trace` see calls if they are put on after `Retry`, and attempts if before.
//!
//! # Cost
//! A layer that is not put on costs nothing, and neither does the default deadline on a store that keeps its own. One that is
//! put on costs a boxed future for each call. A near hit is no call.
//!
//! # What passes by
//! What a store knows by itself ([capabilities](crate::contract), its time), the invalidation feed and the stream of a
//! subscription are passed on. Capabilities change in one respect: each layer
//! [declares](crate::contract::BaseCapabilities::call_deadline) within what time calls are answered under it.
//!
//! # A layer of one's own
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> stanchion::Result<()> {
//! use std::time::Duration;
//!
//! use stanchion::layer::{Answer, Around, Call};
//! use stanchion::prelude::*;
//! use stanchion::Result;
//! use stanchion_memory::MemoryBackend;
//!
//! /// Refuses every change, during maintenance.
//! #[derive(Debug, Clone)]
//! struct ReadOnly;
//!
//! impl Around for ReadOnly {
//!     fn deadline(&self, own: Option<Duration>) -> Option<Duration> {
//!         own
//!     }
//!
//!     async fn call<'a, T: Send + 'a>(
//!         &'a self,
//!         call: Call,
//!         mut work: impl FnMut() -> Answer<'a, T> + Send + 'a,
//!     ) -> Result<T> {
//!         if call.changes {
//!             return Err(Error::new(ErrorKind::Unavailable, "maintenance").with_operation(call.operation));
//!         }
//!         work().await
//!     }
//! }
//!
//! let limits = MemoryBackend::new().stores().layer(ReadOnly).limits("login").per_minute(5).build()?;
//! assert!(limits.check("u1").await.is_err());
//! assert!(limits.peek("u1").await.is_ok());
//! # Ok(()) }
//! ```

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
pub use self::fault::{Fault, FaultRates, Faults, Injected, InjectedOutcome};
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
