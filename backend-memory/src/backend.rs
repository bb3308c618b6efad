//! The backend: holds the data, and puts the stores of each handle together.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use stanchion::cache::CacheCapabilities;
use stanchion::stores::{Backend, Environment, Health, Stores};
use tokio::sync::watch;

use crate::config::MemoryConfig;
use crate::shared::{Handle, locked};
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
            cache_capabilities: config.cache,
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
        let Opened { handle, data } = &*self.0;
        let cache = cache::MemoryCache::new(handle, &data.cache, data.cache_capabilities);
        Stores::builder(handle.environment.clone(), Arc::clone(&self.0) as Arc<dyn Backend>)
            .cache(Arc::new(cache))
            .sessions(Arc::new(session::MemorySessions::new(handle, &data.sessions)))
            .events(Arc::new(event::MemoryEvents::new(handle, &data.events)))
            .locks(Arc::new(lock::MemoryLocks::new(handle, &data.locks)))
            .limits(Arc::new(limit::MemoryLimits::new(handle, &data.limits)))
            .tokens(Arc::new(token::MemoryTokens::new(handle, &data.tokens)))
            .build()
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

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.fmt(f)
    }
}

#[async_trait]
impl Backend for Opened {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.handle.health()
    }

    async fn close(&self) {
        self.handle.close();
        locked(&self.data.events).end_all_of(self.handle.number);
        locked(&self.data.cache).end_watches_of(self.handle.number);
        self.handle.go_down();
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
        assert_eq!(*mine.health().borrow(), Health::Down);

        assert_eq!(call_each(&theirs).await, [None; 6]);
        assert_eq!(*theirs.health().borrow(), Health::Up);
        assert_eq!(theirs.cache_store().unwrap().get(&key).await.unwrap(), Some(value));
        // A handle of a closed one is open.
        assert_eq!(call_each(&backend.handle().stores()).await, [None; 6]);
    }
}
