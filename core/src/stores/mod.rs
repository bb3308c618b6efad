//! The bundle of everything a service shares, and the life of the whole.
//!
//! This stands on top of everything: it knows every area, and no area knows it.

mod backend;
mod builder;
mod layered;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::backend::{Area, Backend};
pub use self::builder::StoresBuilder;
use self::builder::{LazyTags, Parts};
use crate::attempts::AttemptsBuilder;
use crate::cache::{CacheBuilder, CacheStore, CountersBuilder, GenerationCache};
use crate::environment::{Environment, HealthWatch};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, EventBus, Topic};
use crate::key::Name;
use crate::layer::Deadline;
use crate::limit::{InFlightBuilder, LimitsBuilder, RateLimiter};
use crate::lock::{Locker, Locks};
use crate::session::{SessionStore, SessionsBuilder};
use crate::token::{TokenStore, TokensBuilder};

/// One store of each area, from one backend or from several. Cheap to clone; clones share everything.
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
    backends: Vec<Arc<dyn Backend>>,
    parts: Parts,
    call_deadline: Duration,
    tags: LazyTags,
}

impl Stores {
    /// An empty bundle; its façades run their tasks in this environment.
    pub fn builder(environment: Environment) -> StoresBuilder {
        let call_deadline = Deadline::DEFAULT;
        StoresBuilder { environment, backends: Vec::new(), parts: Parts::default(), call_deadline }
    }

    fn of(builder: StoresBuilder) -> Self {
        let StoresBuilder { environment, backends, parts, call_deadline } = builder;
        let parts = parts.bounded(&Deadline::of(call_deadline, &environment));
        let shared = Shared { environment, backends, parts, call_deadline, tags: LazyTags::new() };
        Self { shared: Arc::new(shared), service: Name::literal("app") }
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
        let store = self.cache_store();
        let tags = store.is_ok().then(|| self.generations());
        CacheBuilder::on(store, tags, self.event_bus(), self.environment().clone(), kind)
            .source(self.service.as_str())
    }

    /// Counters of one kind, under `counter:{kind}:{id}`.
    pub fn counters(&self, kind: &str) -> CountersBuilder {
        CountersBuilder::on(self.cache_store(), kind)
    }

    /// The sessions of this service.
    pub fn sessions(&self) -> SessionsBuilder {
        let (environment, service) = (self.environment().clone(), self.service.clone());
        SessionsBuilder::on(self.session_store(), self.event_bus(), environment, service)
    }

    /// The topic of one type of event.
    ///
    /// # Errors
    /// `Unsupported` if the stores have no events, `InvalidInput` if [`Event::TYPE`] is not two or more names joined by
    /// dots.
    pub fn topic<E: Event>(&self) -> Result<Topic<E>> {
        Topic::new(self.event_bus()?, self.environment().clone(), self.service.as_str())
    }

    /// Locks, shared by all services.
    ///
    /// # Errors
    /// `Unsupported` if the stores have no locks.
    pub fn locks(&self) -> Result<Locks> {
        Ok(Locks::new(self.locker()?, self.environment().clone()))
    }

    /// Rate limits of one kind, under `rate_limit:{kind}:{subject}`, shared by all services.
    pub fn limits(&self, kind: &str) -> LimitsBuilder {
        LimitsBuilder::on(self.rate_limiter(), self.environment(), kind)
    }

    /// At most so many of a subject in flight at once, under `rate_limit:{kind}:{subject}:in_flight`, shared by all services.
    pub fn in_flight(&self, kind: &str, most: u32) -> InFlightBuilder {
        InFlightBuilder::on(self.rate_limiter(), self.environment(), kind, most)
    }

    /// Failed attempts of one kind, under `attempts:{kind}`, shared by all services.
    pub fn attempts(&self, kind: &str) -> AttemptsBuilder {
        AttemptsBuilder::on(
            self.rate_limiter(),
            self.event_bus(),
            self.environment(),
            self.service.as_str(),
            kind,
        )
    }

    /// The tokens of this service.
    pub fn tokens(&self) -> TokensBuilder {
        TokensBuilder::on(
            self.token_store(),
            self.event_bus(),
            self.environment().clone(),
            self.service.clone(),
        )
    }

    /// The cache store itself.
    pub fn cache_store(&self) -> Result<Arc<dyn CacheStore>> {
        self.part(self.shared.parts.cache.as_ref(), Area::Cache)
    }

    /// The generations of tags, shared by all caches of this bundle.
    fn generations(&self) -> Result<Arc<GenerationCache>> {
        let store = self.cache_store()?;
        self.shared.tags.get_or_init(|| GenerationCache::of(store)).clone()
    }

    /// The session store itself.
    pub fn session_store(&self) -> Result<Arc<dyn SessionStore>> {
        self.part(self.shared.parts.sessions.as_ref(), Area::Sessions)
    }

    /// The event bus itself.
    pub fn event_bus(&self) -> Result<Arc<dyn EventBus>> {
        self.part(self.shared.parts.events.as_ref(), Area::Events)
    }

    /// The locker itself.
    pub fn locker(&self) -> Result<Arc<dyn Locker>> {
        self.part(self.shared.parts.locks.as_ref(), Area::Locks)
    }

    /// The rate limiter itself.
    pub fn rate_limiter(&self) -> Result<Arc<dyn RateLimiter>> {
        self.part(self.shared.parts.limits.as_ref(), Area::Limits)
    }

    /// The token store itself.
    pub fn token_store(&self) -> Result<Arc<dyn TokenStore>> {
        self.part(self.shared.parts.tokens.as_ref(), Area::Tokens)
    }

    fn part<T: ?Sized>(&self, part: Option<&Arc<T>>, area: Area) -> Result<Arc<T>> {
        part.cloned().ok_or_else(|| {
            let error = Error::unsupported(format!("these stores have no {area}"));
            // With several backends none of them is to blame.
            match self.shared.backends.as_slice() {
                [backend] => error.with_backend(backend.name()),
                _ => error,
            }
        })
    }

    /// Clock, randomness, hashing key and tasks.
    pub fn environment(&self) -> &Environment {
        &self.shared.environment
    }

    /// The state of the connections, as it is and as it changes: the worst of the bundle's backends.
    pub fn health(&self) -> HealthWatch {
        HealthWatch::worst_of(self.shared.backends.iter().map(|backend| backend.health()).collect())
    }

    /// Ends everything within `deadline`: held locks are released, subscriptions and loads end, then the
    /// connections of every backend close. Later calls answer [`Closed`](ErrorKind::Closed). A second call does nothing
    /// more. What runs in its caller, as the loader of a batch does, is its caller's to end: it is served, and not stored.
    ///
    /// # Errors
    /// [`Timeout`](ErrorKind::Timeout) if something was still at work at the deadline; it was aborted. Backends have what is left
    /// of the deadline to close their connections, and a second at least.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the bundle closing; call again to wait on.
    pub async fn close(&self, deadline: Duration) -> Result<()> {
        // For connections, also where tasks have used the deadline up.
        const AT_LEAST: Duration = Duration::from_secs(1);
        let environment = &self.shared.environment;
        let began_at = environment.clock.now();
        let drained = environment.drain(deadline).await;
        let closing = join_all(self.shared.backends.iter().map(|backend| backend.close()));
        let left = deadline.saturating_sub(environment.clock.now().saturating_since(began_at)).max(AT_LEAST);
        let closed = tokio::select! {
            biased;
            _ = closing => true,
            () = environment.sleep(left) => false,
        };
        let late = match (drained, closed) {
            (true, true) => return Ok(()),
            (false, _) => format!("tasks were still at work {deadline:?} after close"),
            (true, false) => "a backend is still closing".to_owned(),
        };
        Err(Error::new(ErrorKind::Timeout, late).with_operation("stores.close"))
    }
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stores")
            .field("service", &self.service)
            .field("backends", &self.shared.backends)
            .finish_non_exhaustive()
    }
}
