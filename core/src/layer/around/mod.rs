//! One hook around every call of every store, so that a layer is written once and not for each method of six traits.

mod cache;
mod event;
mod limit;
mod lock;
mod session;
mod token;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::{Call, Layer};
use crate::cache::CacheStore;
use crate::contract::BaseCapabilities;
use crate::error::Result;
use crate::event::EventBus;
use crate::limit::RateLimiter;
use crate::lock::Locker;
use crate::session::SessionStore;
use crate::token::TokenStore;

/// What a decorated store answers, in time.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// A layer that does the same around every call, whatever its area; it is a [`Layer`].
///
/// Clones share what they count: each store of a bundle gets one.
pub trait Around: Clone + fmt::Debug + Send + Sync + 'static {
    /// Within what time a call is answered under this layer, if the store answers within `own`, or keeps no deadline
    /// (`None`). Only what is kept may be declared: a layer that waits adds its wait, or declares none.
    fn deadline(&self, own: Option<Duration>) -> Option<Duration>;

    /// Makes the call: `work` begins it, each time it is called.
    ///
    /// # Cancel safety
    /// Dropping the future must drop the call. A store keeps the promise that an operation is then either not done or
    /// wholly done.
    fn call<'a, T: Send + 'a>(
        &'a self,
        call: Call,
        work: impl FnMut() -> Answer<'a, T> + Send + 'a,
    ) -> impl Future<Output = Result<T>> + Send + 'a;
}

/// A store with a layer around it.
#[derive(Debug)]
pub(super) struct Layered<S: ?Sized, A> {
    inner: Arc<S>,
    around: A,
}

impl<S: ?Sized, A: Around> Layered<S, A> {
    fn new(inner: Arc<S>, around: &A) -> Arc<Self> {
        Arc::new(Self { inner, around: around.clone() })
    }

    fn base(&self, mut base: BaseCapabilities) -> BaseCapabilities {
        base.call_deadline = self.around.deadline(base.call_deadline);
        base
    }
}

impl<A: Around> Layer for A {
    fn cache(&self, store: Arc<dyn CacheStore>) -> Arc<dyn CacheStore> {
        Layered::new(store, self)
    }

    fn sessions(&self, store: Arc<dyn SessionStore>) -> Arc<dyn SessionStore> {
        Layered::new(store, self)
    }

    fn events(&self, bus: Arc<dyn EventBus>) -> Arc<dyn EventBus> {
        Layered::new(bus, self)
    }

    fn locks(&self, locker: Arc<dyn Locker>) -> Arc<dyn Locker> {
        Layered::new(locker, self)
    }

    fn limits(&self, limiter: Arc<dyn RateLimiter>) -> Arc<dyn RateLimiter> {
        Layered::new(limiter, self)
    }

    fn tokens(&self, store: Arc<dyn TokenStore>) -> Arc<dyn TokenStore> {
        Layered::new(store, self)
    }
}
