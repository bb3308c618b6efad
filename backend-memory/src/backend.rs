//! The backend: holds the data, and puts the stores of each handle together.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use stanchion::cache::{CacheCapabilities, CacheParts, CacheStore};
use stanchion::environment::{Environment, Health};
use stanchion::event::EventBus;
use stanchion::limit::RateLimiter;
use stanchion::lock::Locker;
use stanchion::session::SessionStore;
use stanchion::stores::{Backend, Stores};
use stanchion::token::TokenStore;
use tokio::sync::watch;

use crate::config::MemoryConfig;
use crate::shared::{CONTRACT, Handle, NEVER_WAITS, locked};
use crate::{cache, event, limit, lock, session, token};

/// All stores in memory. Clones are one handle; [`handle`](Self::handle) gives another.
#[derive(Clone)]
pub struct MemoryBackend(Arc<Opened>);

/// What all handles share: the state of each store.
struct Data {
    cache: Arc<Mutex<cache::State>>,
    sessions: Arc<Mutex<session::State>>,
    events: Arc<Mutex<event::State>>,
    locks: Arc<Mutex<lock::State>>,
    limits: Arc<Mutex<limit::State>>,
    tokens: Arc<Mutex<token::State>>,
    cache_capabilities: CacheCapabilities,
    cache_parts: CacheParts,
    next_handle: AtomicU64,
}

/// A handle on the data.
struct Opened {
    handle: Arc<Handle>,
    data: Arc<Data>,
}

impl MemoryBackend {
    /// An empty backend on the machine's clock.
    pub fn new() -> Self {
        Self::with(MemoryConfig::new())
    }

    /// An empty backend with these settings.
    pub fn with(config: MemoryConfig) -> Self {
        let data = Data {
            cache: Arc::new(Mutex::new(cache::State::new(config.max_cache_bytes))),
            sessions: Arc::default(),
            events: Arc::default(),
            locks: Arc::default(),
            limits: Arc::default(),
            tokens: Arc::default(),
            cache_capabilities: CacheCapabilities::new(CONTRACT)
                .max_value_bytes(config.max_value_bytes)
                .max_batch(config.max_batch)
                .call_deadline(NEVER_WAITS),
            cache_parts: config.cache_parts,
            next_handle: AtomicU64::new(0),
        };
        Self::open(Arc::new(data), config.environment)
    }

    fn open(data: Arc<Data>, environment: Environment) -> Self {
        let number = data.next_handle.fetch_add(1, Ordering::Relaxed);
        let handle = Handle::new(environment.with_own_tasks(), number);
        Self(Arc::new(Opened { handle, data }))
    }

    /// Another handle on the same data, which acts as another process: it has tasks of its own and is closed
    /// by itself.
    #[must_use]
    pub fn handle(&self) -> Self {
        Self::open(Arc::clone(&self.0.data), self.0.handle.environment.clone())
    }

    /// One store of each kind.
    pub fn stores(&self) -> Stores {
        Stores::builder(self.0.handle.environment.clone()).backend(Arc::new(self.clone())).build()
    }
}

impl Default for MemoryBackend {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryBackend(handle {})", self.0.handle.number)
    }
}

#[async_trait]
impl Backend for MemoryBackend {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.0.handle.health()
    }

    async fn close(&self) {
        let Opened { handle, data } = &*self.0;
        handle.close();
        locked(&data.events).end_all_of(handle.number);
        locked(&data.cache).end_watches_of(handle.number);
        locked(&data.tokens).end_watches_of(handle.number);
        locked(&data.sessions).end_watches_of(handle.number);
        handle.go_down();
    }

    fn cache(&self) -> Option<Arc<dyn CacheStore>> {
        let Opened { handle, data } = &*self.0;
        let (capabilities, parts) = (data.cache_capabilities, data.cache_parts);
        Some(Arc::new(cache::MemoryCache::new(handle, &data.cache, capabilities, parts)))
    }

    fn sessions(&self) -> Option<Arc<dyn SessionStore>> {
        Some(Arc::new(session::MemorySessions::new(&self.0.handle, &self.0.data.sessions)))
    }

    fn events(&self) -> Option<Arc<dyn EventBus>> {
        Some(Arc::new(event::MemoryEvents::new(&self.0.handle, &self.0.data.events)))
    }

    fn locks(&self) -> Option<Arc<dyn Locker>> {
        Some(Arc::new(lock::MemoryLocks::new(&self.0.handle, &self.0.data.locks)))
    }

    fn limits(&self) -> Option<Arc<dyn RateLimiter>> {
        Some(Arc::new(limit::MemoryLimits::new(&self.0.handle, &self.0.data.limits)))
    }

    fn tokens(&self) -> Option<Arc<dyn TokenStore>> {
        Some(Arc::new(token::MemoryTokens::new(&self.0.handle, &self.0.data.tokens)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use futures_util::StreamExt;
    use stanchion::cache::{SetOptions, SetOutcome};
    use stanchion::event::SubscribeOptions;
    use stanchion::key::{Key, Name};
    use stanchion::limit::Tier;
    use stanchion::lock::{LockRequest, LockToken};
    use stanchion::time::Ttl;
    use stanchion::{Error, ErrorKind};

    use super::*;

    /// Calls each store once: the kinds of the errors, if any.
    async fn call_each(stores: &Stores) -> Vec<Option<ErrorKind>> {
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

        let options = || SubscribeOptions::new(Name::new("app").unwrap());
        let mut ended = mine.event_bus().unwrap().subscribe(options()).await.unwrap();

        mine.close(Duration::from_secs(1)).await.unwrap();
        assert!(ended.next().await.is_none());
        assert_eq!(call_each(&mine).await, [Some(ErrorKind::Closed); 6]);
        // Clones and other bundles of the same handle are the same process.
        assert_eq!(call_each(&backend.clone().stores()).await, [Some(ErrorKind::Closed); 6]);
        assert_eq!(mine.health().current(), Health::Down);
        // By the name that layers know the call by.
        let refused = mine.cache_store().unwrap().get_many_with_ttl(std::slice::from_ref(&key)).await;
        assert_eq!(refused.unwrap_err().operation(), Some("cache.get_many_with_ttl"));

        assert_eq!(call_each(&theirs).await, [None; 6]);
        assert_eq!(theirs.health().current(), Health::Up);
        assert_eq!(theirs.cache_store().unwrap().get(&key).await.unwrap(), Some(value));
        // A handle of a closed one is open.
        assert_eq!(call_each(&backend.handle().stores()).await, [None; 6]);
    }
}
