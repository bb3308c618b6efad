//! Typed cached values.

use std::fmt;
use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::flight::{Flights, Pilot, Progress};
use super::stats::Counts;
use super::wire::{Read, Stamp, Wire};
use super::{CacheStats, CacheStore, LoadError, SetEntry, SetOptions, SetOutcome, When};
use crate::codec::{Codec, Json};
use crate::error::{ErrorKind, Result};
use crate::key::{Identifier, Key, Namespace};
use crate::stores::{Stores, Tasks};
use crate::time::{Ttl, minutes};

/// Builds a [`Cache`].
#[derive(Debug)]
#[must_use = "call build()"]
pub struct CacheBuilder<T, C = Json> {
    store: Result<Arc<dyn CacheStore>>,
    tasks: Tasks,
    service: String,
    kind: String,
    ttl: Duration,
    codec: PhantomData<fn() -> (T, C)>,
}

impl<T> CacheBuilder<T> {
    /// Values of one kind in any cache store, without a bundle.
    pub fn new(store: Arc<dyn CacheStore>, tasks: Tasks, kind: &str) -> Self {
        Self::on(Ok(store), tasks, kind)
    }

    pub(crate) fn from_stores(stores: &Stores, kind: &str) -> Self {
        Self::on(stores.cache_store(), stores.environment().tasks.clone(), kind)
    }

    fn on(store: Result<Arc<dyn CacheStore>>, tasks: Tasks, kind: &str) -> Self {
        Self {
            store,
            tasks,
            service: "cache".into(),
            kind: kind.into(),
            ttl: minutes(10),
            codec: PhantomData,
        }
    }
}

impl<T, C> CacheBuilder<T, C> {
    /// How long a value lives; 10 minutes unless set.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// The first segment of the keys, `cache` unless set: a service that keeps its values to itself puts its
    /// own name.
    pub fn service(mut self, service: &str) -> Self {
        service.clone_into(&mut self.service);
        self
    }

    /// With another codec than JSON. Values of another codec are misses.
    pub fn codec<D: Codec>(self) -> CacheBuilder<T, D> {
        CacheBuilder {
            store: self.store,
            tasks: self.tasks,
            service: self.service,
            kind: self.kind,
            ttl: self.ttl,
            codec: PhantomData,
        }
    }
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static, C: Codec> CacheBuilder<T, C> {
    /// The cache.
    ///
    /// # Errors
    /// `InvalidInput` for a bad name or a TTL of zero, `Unsupported` if the stores have no cache.
    pub fn build(self) -> Result<Cache<T, C>> {
        Ok(Cache(Arc::new(Inner {
            store: self.store?,
            tasks: self.tasks,
            namespace: Namespace::new(&self.service, &self.kind)?,
            ttl: Ttl::new(self.ttl)?,
            wire: Wire { codec: C::default(), schema: 0, readable: Vec::new(), plain: false },
            flights: Arc::default(),
            counts: Counts::default(),
        })))
    }
}

/// Cached values of one type, under `cache:{kind}:{id}`. Cheap to clone; clones share everything.
///
/// Reads answer `Arc<T>`. What can't be decoded, because another version or codec wrote it, is a miss and
/// is counted in [`stats`](Self::stats).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use stanchion::prelude::*;
/// use stanchion_memory::MemoryBackend;
///
/// let stores = MemoryBackend::new().stores();
/// let names = stores.cache::<String>("name").ttl(minutes(10)).build()?;
/// let name = names.get_or_load("u123", || async { Ok::<_, std::io::Error>("Ada".to_owned()) }).await?;
/// assert_eq!(*name, "Ada");
/// # Ok(()) }
/// ```
pub struct Cache<T, C: Codec = Json>(Arc<Inner<T, C>>);

struct Inner<T, C> {
    store: Arc<dyn CacheStore>,
    tasks: Tasks,
    namespace: Namespace,
    ttl: Ttl,
    wire: Wire<C>,
    flights: Arc<Flights<T>>,
    counts: Counts,
}

impl<T, C: Codec> Clone for Cache<T, C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T, C: Codec> fmt::Debug for Cache<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("namespace", &self.0.namespace)
            .field("ttl", &self.0.ttl)
            .finish_non_exhaustive()
    }
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static, C: Codec> Cache<T, C> {
    /// The key under which the value of this identifier is stored.
    pub fn key(&self, id: impl Identifier) -> Result<Key> {
        self.0.namespace.key(id)
    }

    fn encode(&self, key: &Key, value: &T) -> Result<bytes::Bytes> {
        self.0.wire.encode(key, Some(value), Stamp::default())
    }

    /// The value, or `None`.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn get(&self, id: impl Identifier) -> Result<Option<Arc<T>>> {
        let key = self.key(id)?;
        let found = self.0.store.get(&key).await?;
        Ok(self.0.read(&key, found.as_deref()).map(Arc::new))
    }

    /// The values, in the order of the identifiers, in one round trip per master.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn get_many<I: Identifier>(&self, ids: &[I]) -> Result<Vec<Option<Arc<T>>>> {
        let keys = ids.iter().map(|id| self.key(id)).collect::<Result<Vec<_>>>()?;
        let found = self.0.store.get_many(&keys).await?;
        Ok(keys
            .iter()
            .zip(&found)
            .map(|(key, bytes)| self.0.read(key, bytes.as_deref()).map(Arc::new))
            .collect())
    }

    /// Sets the value, whatever is there.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the value either set or not.
    pub async fn set(&self, id: impl Identifier, value: &T) -> Result<()> {
        let bytes = self.encode(&self.key(&id)?, value)?;
        // Without a condition it is always stored.
        let _stored = self.0.store.set(&self.key(id)?, bytes, &SetOptions::new(self.0.ttl)).await?;
        Ok(())
    }

    /// Sets the value only if there is none.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the value either set or not.
    pub async fn set_if_absent(&self, id: impl Identifier, value: &T) -> Result<SetOutcome> {
        let bytes = self.encode(&self.key(&id)?, value)?;
        self.0.store.set(&self.key(id)?, bytes, &SetOptions::new(self.0.ttl).when(When::Absent)).await
    }

    /// Sets the value only if there is one.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the value either set or not.
    pub async fn set_if_present(&self, id: impl Identifier, value: &T) -> Result<SetOutcome> {
        let bytes = self.encode(&self.key(&id)?, value)?;
        self.0.store.set(&self.key(id)?, bytes, &SetOptions::new(self.0.ttl).when(When::Present)).await
    }

    /// Sets the value only if `current` is there: compare and set, on the encoded bytes. The encoding has to
    /// be the same each time, so not with a `HashMap` inside.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the value either set or not.
    pub async fn replace(&self, id: impl Identifier, current: &T, value: &T) -> Result<SetOutcome> {
        let current = self.encode(&self.key(&id)?, current)?;
        let bytes = self.encode(&self.key(&id)?, value)?;
        self.0
            .store
            .set(&self.key(id)?, bytes, &SetOptions::new(self.0.ttl).when(When::Equals(current)))
            .await
    }

    /// Sets the values, whatever is there, in one round trip per master. Not one atomic step: on an error
    /// some may be set.
    ///
    /// # Cancel safety
    /// Dropping the future leaves each value either set or not.
    pub async fn set_many<I: Identifier>(&self, values: &[(I, T)]) -> Result<()> {
        let entries = values
            .iter()
            .map(|(id, value)| {
                let key = self.key(id)?;
                let bytes = self.encode(&key, value)?;
                Ok(SetEntry::new(key, bytes, SetOptions::new(self.0.ttl)))
            })
            .collect::<Result<Vec<_>>>()?;
        self.0.store.set_many(&entries).await.map(drop)
    }

    /// Removes the value; `true` if there was one.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the value either removed or not.
    pub async fn remove(&self, id: impl Identifier) -> Result<bool> {
        Ok(self.0.store.remove_many(&[self.key(id)?]).await? > 0)
    }

    /// Removes the values and says how many there were, in one round trip per master.
    ///
    /// # Cancel safety
    /// Dropping the future leaves each value either removed or not.
    pub async fn remove_many<I: Identifier>(&self, ids: &[I]) -> Result<u64> {
        let keys = ids.iter().map(|id| self.key(id)).collect::<Result<Vec<_>>>()?;
        self.0.store.remove_many(&keys).await
    }

    /// Gives a value that is there its whole TTL again; `false` if there is none.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the TTL either renewed or not.
    pub async fn touch(&self, id: impl Identifier) -> Result<bool> {
        self.0.store.touch(&self.key(id)?, self.0.ttl).await
    }

    /// The value, loaded and stored if it is not there.
    ///
    /// In this process at most one load runs for a key, whatever the number of callers. The load runs in a
    /// task of its own, which ends when its last caller has left. If it fails or panics, each of the other
    /// callers tries with its own loader, one after the other. A store that can't be reached makes this load
    /// each time, and is counted in [`CacheStats::store_failures`]; it is not the caller's error.
    ///
    /// # Errors
    /// The error of this caller's own loader, or why the call could not be made at all.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the load to the other callers; with none left it is aborted.
    pub async fn get_or_load<E, F, L>(&self, id: impl Identifier, load: L) -> Result<Arc<T>, LoadError<E>>
    where
        L: FnOnce() -> F + Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
        E: Send + 'static,
    {
        let key = self.key(id)?;
        if let Some(value) = self.0.lookup(&key).await? {
            return Ok(Arc::new(value));
        }
        loop {
            let (mut seat, pilot) = self.0.flights.board(&key);
            let Some(pilot) = pilot else {
                match seat.arrival().await {
                    Some(value) => return Ok(value),
                    None if self.0.tasks.is_closing() => return Err(closed().into()),
                    None => continue,
                }
            };
            let (report, own_outcome) = oneshot::channel();
            let task = self.0.tasks.spawn(fly(Arc::clone(&self.0), key, load, pilot, report))?;
            seat.piloted_by(task.abort_handle());
            return match own_outcome.await {
                Ok(outcome) => outcome,
                // The task was cut off: the stores were closed under it.
                Err(_) => Err(closed().into()),
            };
        }
    }

    /// What this cache has counted so far, in this process.
    pub fn stats(&self) -> CacheStats {
        self.0.counts.snapshot()
    }
}

fn closed() -> crate::Error {
    crate::Error::new(ErrorKind::Closed, "the stores were closed during the load")
        .with_operation("cache.get_or_load")
}

/// The load itself, in its own task.
async fn fly<T, C, E, F, L>(
    cache: Arc<Inner<T, C>>,
    key: Key,
    load: L,
    pilot: Pilot<T>,
    report: oneshot::Sender<Result<Arc<T>, LoadError<E>>>,
) where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
    C: Codec,
    L: FnOnce() -> F + Send + 'static,
    F: Future<Output = Result<T, E>> + Send + 'static,
    E: Send + 'static,
{
    // Another flight may have landed between this caller's read and its boarding.
    let outcome = match cache.recheck(&key).await {
        Some(value) => Ok(Arc::new(value)),
        None => cache.load(&key, load).await,
    };
    pilot.land(match &outcome {
        Ok(value) => Progress::Loaded(Arc::clone(value)),
        Err(_) => Progress::Failed,
    });
    // The caller may have left; the value is stored all the same.
    let _ = report.send(outcome);
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static, C: Codec> Inner<T, C> {
    fn decode(&self, key: &Key, bytes: &[u8]) -> Result<T> {
        match self.wire.read(key, bytes) {
            Read::Entry(entry) => self.wire.body(&entry)?,
            _ => None,
        }
        .ok_or_else(|| crate::Error::new(ErrorKind::Codec, "no value"))
    }

    /// Decodes what was found, and counts.
    fn read(&self, key: &Key, found: Option<&[u8]>) -> Option<T> {
        let value = found.and_then(|bytes| match self.decode(key, bytes) {
            Ok(value) => Some(value),
            Err(error) => {
                self.counts.undecodable.one();
                tracing::debug!(namespace = %self.namespace, %error, "a cached value can't be read; taken as a miss");
                None
            }
        });
        if value.is_some() {
            self.counts.hits.one();
        } else {
            self.counts.misses.one();
        }
        value
    }

    /// A read that a failing store turns into a miss; only the caller's own mistakes are errors.
    async fn lookup(&self, key: &Key) -> Result<Option<T>> {
        match self.store.get(key).await {
            Ok(found) => Ok(self.read(key, found.as_deref())),
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Closed) => Err(error),
            Err(error) => {
                self.store_failed(&error);
                self.counts.misses.one();
                Ok(None)
            }
        }
    }

    async fn recheck(&self, key: &Key) -> Option<T> {
        self.decode(key, self.store.get(key).await.ok()??.as_ref()).ok()
    }

    async fn load<E, F, L>(&self, key: &Key, load: L) -> Result<Arc<T>, LoadError<E>>
    where
        L: FnOnce() -> F,
        F: Future<Output = Result<T, E>>,
    {
        self.counts.loads.one();
        // The call of the loader may panic as well as its future.
        let value = match AssertUnwindSafe(async { load().await }).catch_unwind().await {
            Ok(Ok(value)) => value,
            Ok(Err(error)) => {
                self.counts.load_failures.one();
                return Err(LoadError::Loader(error));
            }
            Err(_) => {
                self.counts.load_failures.one();
                return Err(LoadError::Panicked);
            }
        };
        let stored = match self.wire.encode(key, Some(&value), Stamp::default()) {
            Ok(bytes) => self.store.set(key, bytes, &SetOptions::new(self.ttl)).await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = stored {
            self.store_failed(&error);
        }
        Ok(Arc::new(value))
    }

    fn store_failed(&self, error: &crate::Error) {
        self.counts.store_failures.one();
        tracing::debug!(namespace = %self.namespace, %error, "the cache store failed; the loader serves");
    }
}
