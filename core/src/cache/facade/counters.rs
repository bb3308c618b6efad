//! Counters that any number of processes add to.

use std::sync::Arc;
use std::time::Duration;

use crate::cache::store::CacheStore;
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{Identifier, Namespace};
use crate::layer::deadline::bounded;
use crate::time::{Ttl, days};

/// Builds [`Counters`].
#[derive(Debug)]
#[must_use = "call build()"]
pub struct CountersBuilder {
    store: Result<Arc<dyn CacheStore>>,
    kind: String,
    ttl: Duration,
}

impl CountersBuilder {
    /// Counters of one kind in any cache store, without a bundle.
    pub fn new(store: Arc<dyn CacheStore>, environment: &Environment, kind: &str) -> Self {
        Self::on(Ok(bounded(store, environment)), kind)
    }

    pub(crate) fn on(store: Result<Arc<dyn CacheStore>>, kind: &str) -> Self {
        Self { store, kind: kind.into(), ttl: days(1) }
    }

    /// How long a counter lives from its first addition; 1 day unless set.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// The counters.
    ///
    /// # Errors
    /// `InvalidInput` for a bad name or a TTL of zero, `Unsupported` if the stores have no cache, or its store no
    /// [counters](CacheStore::counters).
    pub fn build(self) -> Result<Counters> {
        let store = self.store?;
        if store.counters().is_none() {
            return Err(no_counters());
        }
        Ok(Counters { store, namespace: Namespace::new("counter", &self.kind)?, ttl: Ttl::new(self.ttl)? })
    }
}

fn no_counters() -> Error {
    Error::unsupported("this cache store has no counters")
}

/// Counters of one kind, under `counter:{kind}:{id}`. A counter lives for one window from its first addition,
/// then starts at zero again. Like everything in a cache it may vanish earlier.
#[derive(Debug, Clone)]
pub struct Counters {
    store: Arc<dyn CacheStore>,
    namespace: Namespace,
    ttl: Ttl,
}

impl Counters {
    /// Adds, and answers the new value.
    ///
    /// # Errors
    /// `InvalidInput` if the sum is outside `i64`; the counter keeps its value. `Unavailable` or `Timeout`
    /// with [`Effect::Unknown`](crate::Effect::Unknown) if the answer was lost: adding again may add twice.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the addition either done or not.
    pub async fn add(&self, id: impl Identifier, delta: i64) -> Result<i64> {
        let counters = self.store.counters().ok_or_else(no_counters)?;
        counters.add(&self.namespace.key(id)?, delta, self.ttl).await
    }

    /// The value, zero if there is no counter.
    ///
    /// # Errors
    /// `Codec` if the key holds something that is no number; `InvalidInput` for an identifier that is empty or too long; the
    /// store's where it does not answer.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn get(&self, id: impl Identifier) -> Result<i64> {
        let Some(bytes) = self.store.get(&self.namespace.key(id)?).await? else {
            return Ok(0);
        };
        std::str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok()).ok_or_else(|| {
            Error::new(ErrorKind::Codec, "the counter's key holds something that is no number")
                .with_operation("cache.get")
        })
    }

    /// Removes the counter; `true` if there was one.
    ///
    /// # Errors
    /// `InvalidInput` for an identifier that is empty or too long; the store's where it does not answer. Resetting again does
    /// no harm, but to what was added in between.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the counter either removed or not.
    pub async fn reset(&self, id: impl Identifier) -> Result<bool> {
        Ok(self.store.remove_many(&[self.namespace.key(id)?]).await? > 0)
    }
}
