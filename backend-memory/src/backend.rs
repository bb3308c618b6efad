//! The backend and its handles.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use stanchion::cache::{CacheCapabilities, CacheParts, CacheStore};
use stanchion::contract::Contract;
use stanchion::environment::{Environment, Health};
use stanchion::event::EventBus;
use stanchion::limit::RateLimiter;
use stanchion::lock::Locker;
use stanchion::session::SessionStore;
use stanchion::stores::{Backend, Stores};
use stanchion::time::{Monotonic, Timestamp};
use stanchion::token::TokenStore;
use stanchion::{Error, ErrorKind, Result};
use tokio::sync::watch;

use crate::config::MemoryConfig;
use crate::{cache, event, limit, lock, session, token};

/// The contract that this backend was written against.
pub(crate) const CONTRACT: Contract = Contract::V1;

/// Nothing here waits for anything: each call is answered when it is polled.
pub(crate) const NEVER_WAITS: Duration = Duration::ZERO;

/// All stores in memory. Clones are one handle; [`handle`](Self::handle) gives another.
#[derive(Clone)]
pub struct MemoryBackend(Arc<Handle>);

/// What all handles share.
pub(crate) struct Place {
    pub(crate) cache: Mutex<cache::State>,
    pub(crate) sessions: Mutex<session::State>,
    pub(crate) events: Mutex<event::State>,
    pub(crate) locks: Mutex<lock::State>,
    pub(crate) limits: Mutex<limit::State>,
    pub(crate) tokens: Mutex<token::State>,
    pub(crate) cache_capabilities: CacheCapabilities,
    pub(crate) cache_parts: CacheParts,
    next_handle: AtomicU64,
}

/// One "process" on a place.
pub(crate) struct Handle {
    pub(crate) place: Arc<Place>,
    pub(crate) environment: Environment,
    pub(crate) number: u64,
    closed: AtomicBool,
    health: watch::Sender<Health>,
}

impl MemoryBackend {
    /// An empty backend on the machine's clock.
    pub fn new() -> Self {
        Self::with(MemoryConfig::new())
    }

    /// An empty backend with these settings.
    pub fn with(config: MemoryConfig) -> Self {
        let place = Place {
            cache: Mutex::new(cache::State::new(config.max_cache_bytes)),
            sessions: Mutex::default(),
            events: Mutex::default(),
            locks: Mutex::default(),
            limits: Mutex::default(),
            tokens: Mutex::default(),
            cache_capabilities: CacheCapabilities::new(CONTRACT)
                .max_value_bytes(config.max_value_bytes)
                .max_batch(config.max_batch)
                .call_deadline(NEVER_WAITS),
            cache_parts: config.cache_parts,
            next_handle: AtomicU64::new(0),
        };
        Self::open(Arc::new(place), config.environment)
    }

    fn open(place: Arc<Place>, environment: Environment) -> Self {
        let environment = environment.with_own_tasks();
        let number = place.next_handle.fetch_add(1, Ordering::Relaxed);
        let health = watch::Sender::new(Health::Up);
        Self(Arc::new(Handle { place, environment, number, closed: AtomicBool::new(false), health }))
    }

    /// Another handle on the same data, which acts as another process: it has tasks of its own and is closed
    /// by itself.
    #[must_use]
    pub fn handle(&self) -> Self {
        Self::open(Arc::clone(&self.0.place), self.0.environment.clone())
    }

    /// One store of each kind.
    pub fn stores(&self) -> Stores {
        Stores::builder(self.0.environment.clone()).backend(Arc::new(self.clone())).build()
    }
}

impl Default for MemoryBackend {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryBackend(handle {})", self.0.number)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "memory (handle {})", self.number)
    }
}

impl Handle {
    /// Refuses what comes after the close.
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Closed, "this handle of the memory backend is closed"));
        }
        Ok(())
    }

    /// Runs an operation unless the handle is closed, and names it in its error.
    pub(crate) fn operate<T>(&self, operation: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.check_open()
            .and_then(|()| work())
            .map_err(|error| error.with_operation(operation).with_backend("memory"))
    }

    /// The time by which everything expires.
    pub(crate) fn now(&self) -> Monotonic {
        self.environment.clock.now()
    }

    /// The time that is shown, and that fences and epochs are made of.
    pub(crate) fn wall(&self) -> Timestamp {
        self.environment.clock.wall()
    }
}

/// A store's state; a panic elsewhere can't have left it half-changed, since no step of a change can panic.
pub(crate) fn locked<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Backend for MemoryBackend {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.0.health.subscribe()
    }

    async fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
        locked(&self.0.place.events).end_all_of(self.0.number);
        locked(&self.0.place.cache).end_watches_of(self.0.number);
        self.0.health.send_replace(Health::Down);
    }

    fn cache(&self) -> Option<Arc<dyn CacheStore>> {
        Some(Arc::new(cache::MemoryCache(Arc::clone(&self.0))))
    }

    fn sessions(&self) -> Option<Arc<dyn SessionStore>> {
        Some(Arc::new(session::MemorySessions(Arc::clone(&self.0))))
    }

    fn events(&self) -> Option<Arc<dyn EventBus>> {
        Some(Arc::new(event::MemoryEvents(Arc::clone(&self.0))))
    }

    fn locks(&self) -> Option<Arc<dyn Locker>> {
        Some(Arc::new(lock::MemoryLocks(Arc::clone(&self.0))))
    }

    fn limits(&self) -> Option<Arc<dyn RateLimiter>> {
        Some(Arc::new(limit::MemoryLimits(Arc::clone(&self.0))))
    }

    fn tokens(&self) -> Option<Arc<dyn TokenStore>> {
        Some(Arc::new(token::MemoryTokens(Arc::clone(&self.0))))
    }
}

#[cfg(test)]
impl MemoryBackend {
    pub(crate) fn place(&self) -> &Place {
        &self.0.place
    }

    pub(crate) fn now(&self) -> Monotonic {
        self.0.now()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use stanchion::cache::{SetOptions, SetOutcome};
    use stanchion::event::SubscribeOptions;
    use stanchion::key::{Key, Name};
    use stanchion::limit::Tier;
    use stanchion::lock::{LockRequest, LockToken};
    use stanchion::time::Ttl;

    use super::*;

    /// What one call of each store answers: the kind of its error, if any.
    async fn ask(stores: &Stores) -> Vec<Option<ErrorKind>> {
        let (service, key) = (Name::new("app").unwrap(), Key::new("app", "t", "1").unwrap());
        let tier = [Tier::new(1, Duration::from_secs(1)).unwrap()];
        let request = LockRequest::new(key.clone(), LockToken::new([1; 16]), Ttl::MAX);
        let kind = |error: Error| {
            assert_eq!(error.backend(), Some("memory"));
            assert!(error.operation().is_some());
            error.kind()
        };
        vec![
            stores.cache_store().unwrap().get(&key).await.err().map(kind),
            stores.session_store().unwrap().list(&service, "u1").await.err().map(kind),
            stores
                .event_bus()
                .unwrap()
                .subscribe(SubscribeOptions::new(service.clone()))
                .await
                .err()
                .map(kind),
            stores.locker().unwrap().acquire(&request).await.err().map(kind),
            stores.rate_limiter().unwrap().peek(&key, &tier).await.err().map(kind),
            stores.token_store().unwrap().epochs(&service, &[]).await.err().map(kind),
        ]
    }

    #[tokio::test]
    async fn a_handle_is_closed_by_itself_and_the_data_lives_on() {
        let backend = MemoryBackend::new();
        let (mine, theirs) = (backend.stores(), backend.handle().stores());
        let key = Key::new("app", "t", "1").unwrap();
        let value = Bytes::from_static(b"kept");
        let set = mine.cache_store().unwrap().set(&key, value.clone(), &SetOptions::new(Ttl::MAX)).await;
        assert_eq!(set.unwrap(), SetOutcome::Stored);

        mine.close(Duration::from_secs(1)).await.unwrap();
        assert_eq!(ask(&mine).await, [Some(ErrorKind::Closed); 6]);
        // Clones and other bundles of the same handle are the same process.
        assert_eq!(ask(&backend.clone().stores()).await, [Some(ErrorKind::Closed); 6]);
        assert_eq!(mine.health().current(), Health::Down);

        assert_eq!(ask(&theirs).await, [None; 6]);
        assert_eq!(theirs.health().current(), Health::Up);
        assert_eq!(theirs.cache_store().unwrap().get(&key).await.unwrap(), Some(value));
        // A handle of a closed one is open.
        assert_eq!(ask(&backend.handle().stores()).await, [None; 6]);
    }
}
