//! The bundle of everything a service shares, and the life of the whole.

mod environment;
mod health;
mod tasks;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

pub use self::environment::Environment;
pub use self::health::{Backend, Health};
pub use self::tasks::Tasks;
use crate::cache::{CacheBuilder, CacheStore, CountersBuilder, Mirror};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, EventBus, Topic};
use crate::key::Name;
use crate::limit::{LimitsBuilder, RateLimiter};
use crate::lock::{Locker, Locks};
use crate::session::{SessionStore, SessionsBuilder};
use crate::token::{TokenStore, TokensBuilder};

/// One store of each kind, from one backend or from several. Cheap to clone; clones share everything.
///
/// A backend makes it (`MemoryBackend::new().stores()`); [`Stores::builder`] puts one together by hand. A
/// façade taken from it keeps working for as long as the façade lives, until [`close`](Self::close).
///
/// What a bundle does not have answers [`Unsupported`](ErrorKind::Unsupported) when its façade is built.
#[derive(Clone)]
pub struct Stores {
    shared: Arc<Shared>,
    service: Name,
}

struct Shared {
    environment: Environment,
    backend: Arc<dyn Backend>,
    cache: Option<Arc<dyn CacheStore>>,
    mirror: OnceLock<Result<Arc<Mirror>>>,
    sessions: Option<Arc<dyn SessionStore>>,
    events: Option<Arc<dyn EventBus>>,
    locks: Option<Arc<dyn Locker>>,
    limits: Option<Arc<dyn RateLimiter>>,
    tokens: Option<Arc<dyn TokenStore>>,
}

/// Puts a bundle together; for backends, and for mixing them.
pub struct StoresBuilder(Shared);

impl StoresBuilder {
    /// With this cache.
    #[must_use]
    pub fn cache(mut self, store: Arc<dyn CacheStore>) -> Self {
        self.0.cache = Some(store);
        self
    }

    /// With these sessions.
    #[must_use]
    pub fn sessions(mut self, store: Arc<dyn SessionStore>) -> Self {
        self.0.sessions = Some(store);
        self
    }

    /// With this event bus.
    #[must_use]
    pub fn events(mut self, bus: Arc<dyn EventBus>) -> Self {
        self.0.events = Some(bus);
        self
    }

    /// With these locks.
    #[must_use]
    pub fn locks(mut self, locker: Arc<dyn Locker>) -> Self {
        self.0.locks = Some(locker);
        self
    }

    /// With these rate limits.
    #[must_use]
    pub fn limits(mut self, limiter: Arc<dyn RateLimiter>) -> Self {
        self.0.limits = Some(limiter);
        self
    }

    /// With these token revocations.
    #[must_use]
    pub fn tokens(mut self, store: Arc<dyn TokenStore>) -> Self {
        self.0.tokens = Some(store);
        self
    }

    /// The bundle, for a service called `app`; see [`Stores::service`].
    pub fn build(self) -> Stores {
        Stores { shared: Arc::new(self.0), service: Name::literal("app") }
    }
}

impl fmt::Debug for StoresBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoresBuilder").field("backend", &self.0.backend).finish_non_exhaustive()
    }
}

impl Stores {
    /// An empty bundle on this backend's life.
    pub fn builder(environment: Environment, backend: Arc<dyn Backend>) -> StoresBuilder {
        StoresBuilder(Shared {
            environment,
            backend,
            cache: None,
            mirror: OnceLock::new(),
            sessions: None,
            events: None,
            locks: None,
            limits: None,
            tokens: None,
        })
    }

    /// The same stores for the service of this name: its sessions and tokens are its own, its events name it
    /// as their source. Two services that share sessions use the same name for them.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) if the name is not a [`Name`].
    pub fn service(&self, name: &str) -> Result<Self> {
        Ok(Self { shared: Arc::clone(&self.shared), service: Name::new(name)? })
    }

    /// The service these stores act for.
    pub fn service_name(&self) -> &Name {
        &self.service
    }

    /// Cached values of one type, under `cache:{kind}:{id}`.
    pub fn cache<T: Serialize + DeserializeOwned + Send + Sync + 'static>(
        &self,
        kind: &str,
    ) -> CacheBuilder<T> {
        CacheBuilder::from_stores(self, kind)
    }

    /// Counters of one kind, under `counter:{kind}:{id}`.
    pub fn counters(&self, kind: &str) -> CountersBuilder {
        CountersBuilder::from_stores(self, kind)
    }

    /// The sessions of this service.
    pub fn sessions(&self) -> SessionsBuilder {
        SessionsBuilder::from_stores(self)
    }

    /// The topic of one type of event.
    pub fn topic<E: Event>(&self) -> Topic<E> {
        Topic::from_stores(self)
    }

    /// Locks, shared by all services.
    pub fn locks(&self) -> Locks {
        Locks::from_stores(self)
    }

    /// Rate limits of one kind, under `rate_limit:{kind}:{subject}`, shared by all services.
    pub fn limits(&self, kind: &str) -> LimitsBuilder {
        LimitsBuilder::from_stores(self, kind)
    }

    /// The tokens of this service.
    pub fn tokens(&self) -> TokensBuilder {
        TokensBuilder::from_stores(self)
    }

    /// The cache store itself.
    pub fn cache_store(&self) -> Result<Arc<dyn CacheStore>> {
        self.part(self.shared.cache.as_ref(), "cache")
    }

    /// The generations of tags, shared by all caches of this bundle.
    pub(crate) fn mirror(&self) -> Result<Arc<Mirror>> {
        let store = self.cache_store()?;
        self.shared.mirror.get_or_init(|| Mirror::of(store)).clone()
    }

    /// The session store itself.
    pub fn session_store(&self) -> Result<Arc<dyn SessionStore>> {
        self.part(self.shared.sessions.as_ref(), "sessions")
    }

    /// The event bus itself.
    pub fn event_bus(&self) -> Result<Arc<dyn EventBus>> {
        self.part(self.shared.events.as_ref(), "events")
    }

    /// The locker itself.
    pub fn locker(&self) -> Result<Arc<dyn Locker>> {
        self.part(self.shared.locks.as_ref(), "locks")
    }

    /// The rate limiter itself.
    pub fn rate_limiter(&self) -> Result<Arc<dyn RateLimiter>> {
        self.part(self.shared.limits.as_ref(), "rate limits")
    }

    /// The token store itself.
    pub fn token_store(&self) -> Result<Arc<dyn TokenStore>> {
        self.part(self.shared.tokens.as_ref(), "tokens")
    }

    fn part<T: ?Sized>(&self, part: Option<&Arc<T>>, what: &str) -> Result<Arc<T>> {
        part.cloned().ok_or_else(|| {
            Error::unsupported(format!("these stores have no {what}"))
                .with_backend(self.shared.backend.name())
        })
    }

    /// Clock, randomness, hashing key and tasks.
    pub fn environment(&self) -> &Environment {
        &self.shared.environment
    }

    /// The state of the connection, as it is and as it changes.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.shared.backend.health()
    }

    /// Ends everything within `deadline`: held locks are released, subscriptions and loads end, then the
    /// connections close. Later calls answer [`Closed`](ErrorKind::Closed). A second call does nothing more. What runs in
    /// its caller, as the loader of a batch does, is its caller's to end: it is served, and not stored.
    ///
    /// # Errors
    /// [`Timeout`](ErrorKind::Timeout) if something was still at work at the deadline; it was cut off.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the bundle closing; call again to wait on.
    pub async fn close(&self, deadline: Duration) -> Result<()> {
        let drained = self.shared.environment.drain(deadline).await;
        self.shared.backend.close().await;
        if drained {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::Timeout, format!("tasks were still at work {deadline:?} after close"))
                .with_operation("stores.close")
                .with_backend(self.shared.backend.name()))
        }
    }
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stores")
            .field("service", &self.service)
            .field("backend", &self.shared.backend)
            .finish_non_exhaustive()
    }
}
