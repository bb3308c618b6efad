//! Puts a bundle of stores together.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::{Area, Backend, Stores};
use crate::cache::CacheStore;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::event::EventBus;
use crate::layer::deadline;
use crate::limit::RateLimiter;
use crate::lock::Locker;
use crate::session::SessionStore;
use crate::token::TokenStore;

/// The stores of a bundle, one of each area at most.
#[derive(Clone, Default)]
pub(super) struct Parts {
    pub(super) cache: Option<Arc<dyn CacheStore>>,
    pub(super) sessions: Option<Arc<dyn SessionStore>>,
    pub(super) events: Option<Arc<dyn EventBus>>,
    pub(super) locks: Option<Arc<dyn Locker>>,
    pub(super) limits: Option<Arc<dyn RateLimiter>>,
    pub(super) tokens: Option<Arc<dyn TokenStore>>,
}

/// Puts a bundle together: from one backend, from several, or with stores of one's own. Of two stores of one area the
/// one that was given last is taken.
///
/// ```
/// # fn main() -> stanchion::Result<()> {
/// use std::sync::Arc;
///
/// use stanchion::environment::Environment;
/// use stanchion::stores::{Area, Stores};
/// use stanchion_memory::MemoryBackend;
///
/// // Everything from one backend, and the cache from another.
/// let (shared, own) = (Arc::new(MemoryBackend::new()), Arc::new(MemoryBackend::new()));
/// let stores = Stores::builder(Environment::system()).backend(shared).area_of(Area::Cache, own)?.build();
/// assert!(stores.sessions().build().is_ok());
/// # Ok(()) }
/// ```
#[must_use = "call build()"]
pub struct StoresBuilder {
    pub(super) environment: Environment,
    pub(super) backends: Vec<Arc<dyn Backend>>,
    pub(super) parts: Parts,
    pub(super) call_deadline: Duration,
}

impl StoresBuilder {
    /// With every area that this backend has. The bundle's health is the worst of its backends', and closing the bundle
    /// closes all of them.
    pub fn backend(mut self, backend: Arc<dyn Backend>) -> Self {
        let Parts { cache, sessions, events, locks, limits, tokens } = &mut self.parts;
        *cache = backend.cache().or(cache.take());
        *sessions = backend.sessions().or(sessions.take());
        *events = backend.events().or(events.take());
        *locks = backend.locks().or(locks.take());
        *limits = backend.limits().or(limits.take());
        *tokens = backend.tokens().or(tokens.take());
        self.life_of(backend)
    }

    /// With one area of this backend, which shares the life of the bundle.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) if the backend does not have it.
    pub fn area_of(mut self, area: Area, backend: Arc<dyn Backend>) -> Result<Self> {
        let parts = &mut self.parts;
        let found = match area {
            Area::Cache => replace(&mut parts.cache, backend.cache()),
            Area::Sessions => replace(&mut parts.sessions, backend.sessions()),
            Area::Events => replace(&mut parts.events, backend.events()),
            Area::Locks => replace(&mut parts.locks, backend.locks()),
            Area::Limits => replace(&mut parts.limits, backend.limits()),
            Area::Tokens => replace(&mut parts.tokens, backend.tokens()),
        };
        if found {
            Ok(self.life_of(backend))
        } else {
            Err(Error::unsupported(format!("this backend has no {area}")).with_backend(backend.name()))
        }
    }

    /// With the life of this backend, and none of its stores: for decorators of stores.
    pub fn life_of(mut self, backend: Arc<dyn Backend>) -> Self {
        self.backends.push(backend);
        self
    }

    /// With this cache.
    pub fn cache(mut self, store: Arc<dyn CacheStore>) -> Self {
        self.parts.cache = Some(store);
        self
    }

    /// With these sessions.
    pub fn sessions(mut self, store: Arc<dyn SessionStore>) -> Self {
        self.parts.sessions = Some(store);
        self
    }

    /// With this event bus.
    pub fn events(mut self, bus: Arc<dyn EventBus>) -> Self {
        self.parts.events = Some(bus);
        self
    }

    /// With these locks.
    pub fn locks(mut self, locker: Arc<dyn Locker>) -> Self {
        self.parts.locks = Some(locker);
        self
    }

    /// With these rate limits.
    pub fn limits(mut self, limiter: Arc<dyn RateLimiter>) -> Self {
        self.parts.limits = Some(limiter);
        self
    }

    /// With these token revocations.
    pub fn tokens(mut self, store: Arc<dyn TokenStore>) -> Self {
        self.parts.tokens = Some(store);
        self
    }

    /// Within what time a call of a store that declares no
    /// [deadline](crate::contract::BaseCapabilities::call_deadline) ends; 5 seconds unless set. A store that declares one
    /// keeps its own.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for zero.
    pub fn call_deadline(mut self, deadline: Duration) -> Result<Self> {
        deadline::check(deadline)?;
        self.call_deadline = deadline;
        Ok(self)
    }

    /// The bundle, for a service called `app`; see [`Stores::service`].
    pub fn build(self) -> Stores {
        Stores::of(self)
    }
}

/// Takes the new one, if there is one.
fn replace<T>(place: &mut Option<T>, new: Option<T>) -> bool {
    let is_there = new.is_some();
    if is_there {
        *place = new;
    }
    is_there
}

impl fmt::Debug for StoresBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoresBuilder").field("backends", &self.backends).finish_non_exhaustive()
    }
}

/// The known generations of tags, made at the first need.
pub(super) type LazyTags = OnceLock<Result<Arc<crate::cache::GenerationCache>>>;
