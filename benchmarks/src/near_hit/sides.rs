//! What is read: the cache in both its ways, and the bare engines.

use std::hash::RandomState;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::policy::EvictionPolicy;
use quick_cache::UnitWeighter;
use quick_cache::sync::DefaultLifecycle;
use stanchion::cache::{Cache, NearEngine};
use stanchion::clock::{Clock, SystemClock};
use stanchion::time::Monotonic;
use stanchion_memory::MemoryBackend;

use super::{ENTRIES, KEYS};
use crate::Failure;

/// A side that can be read.
pub(super) trait Read: Clone + Send + Sync + 'static {
    /// Reads all of these, and says how many there were.
    fn all(
        &self,
        ids: &[String],
        walk: impl Iterator<Item = usize> + Send,
    ) -> impl Future<Output = usize> + Send;
}

/// A cache whose near cache holds every value.
pub(super) async fn filled(near: impl NearEngine, ids: &[String]) -> Result<Cache<String>, Failure> {
    let stores = MemoryBackend::new().stores();
    let cache = stores.cache::<String>("bench").ttl(Duration::from_hours(1)).near(near).build()?;
    for (n, id) in ids.iter().enumerate() {
        cache.set(id, &value(n)).await?;
        cache.get(id).await?;
    }
    Ok(cache)
}

/// A distinct one for each key: with a shared one the threads fight over its reference count.
fn value(n: usize) -> String {
    format!("{n:0100}")
}

#[derive(Clone)]
pub(super) struct Get(pub(super) Cache<String>);

impl Read for Get {
    async fn all(&self, ids: &[String], walk: impl Iterator<Item = usize> + Send) -> usize {
        let before = self.0.stats().near_hits;
        for index in walk {
            let _read = std::hint::black_box(self.0.get(ids[index].as_str()).await);
        }
        // With those of another thread that reads meanwhile.
        usize::try_from(self.0.stats().near_hits - before).unwrap_or_default()
    }
}

#[derive(Clone)]
pub(super) struct Peek(pub(super) Cache<String>);

impl Read for Peek {
    async fn all(&self, ids: &[String], walk: impl Iterator<Item = usize> + Send) -> usize {
        walk.filter(|index| std::hint::black_box(self.0.peek(ids[*index].as_str())).is_some()).count()
    }
}

#[derive(Clone)]
pub(super) struct BareMoka(moka::sync::Cache<Box<str>, Arc<String>>);

impl BareMoka {
    pub(super) fn filled(ids: &[String]) -> Self {
        let builder = moka::sync::Cache::builder().max_capacity(ENTRIES);
        let cache = builder.eviction_policy(EvictionPolicy::lru()).build();
        for (n, id) in ids.iter().enumerate() {
            cache.insert(id.as_str().into(), Arc::new(value(n)));
        }
        Self(cache)
    }
}

impl Read for BareMoka {
    async fn all(&self, ids: &[String], walk: impl Iterator<Item = usize> + Send) -> usize {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        walk.filter(|index| {
            std::hint::black_box(clock.now());
            std::hint::black_box(self.0.get(ids[*index].as_str())).is_some()
        })
        .count()
    }
}

#[derive(Clone)]
struct Held {
    value: Arc<String>,
    fresh_until: Monotonic,
}

type Quick = quick_cache::sync::Cache<Box<str>, Held, UnitWeighter, RandomState>;

#[derive(Clone)]
pub(super) struct BareQuick {
    cache: Arc<Quick>,
    hits: Arc<AtomicU64>,
}

impl BareQuick {
    pub(super) fn filled(ids: &[String]) -> Self {
        let (hasher, lifecycle) = (RandomState::new(), DefaultLifecycle::default());
        let cache = Quick::with(2 * KEYS, ENTRIES, UnitWeighter, hasher, lifecycle);
        let fresh_until = SystemClock.now().saturating_add(Duration::from_hours(1));
        for (n, id) in ids.iter().enumerate() {
            cache.insert(id.as_str().into(), Held { value: Arc::new(value(n)), fresh_until });
        }
        Self { cache: Arc::new(cache), hits: Arc::default() }
    }
}

impl Read for BareQuick {
    async fn all(&self, ids: &[String], walk: impl Iterator<Item = usize> + Send) -> usize {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        walk.filter(|index| {
            let held = self.cache.get(ids[*index].as_str()).filter(|held| clock.now() < held.fresh_until);
            if held.is_some() {
                self.hits.fetch_add(1, Ordering::Relaxed);
            }
            std::hint::black_box(held.map(|held| held.value)).is_some()
        })
        .count()
    }
}
