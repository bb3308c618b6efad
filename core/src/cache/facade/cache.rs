//! Typed cached values.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::DropGuard;

use super::writer::Writer;
use crate::cache::load::{Freshness, LoadError, LoadPlan, Loaded, Loader, Served};
use crate::cache::read::{Lookup, NearHit, Reader};
use crate::cache::stats::CacheStats;
use crate::cache::store::{SetOutcome, Tag, Watch, When};
use crate::codec::{Codec, Json};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{Identifier, Key, is_plain};

/// Cached values of one type, under `cache:{kind}:{id}`. Cheap to clone; clones share everything.
///
/// Reads answer `Arc<T>`. What can't be decoded, because another version or codec wrote it, is a miss and
/// is counted in [`stats`](Self::stats).
///
/// # Errors
/// Every method that is `async` answers `InvalidInput` for an identifier that is empty or longer than 512 bytes after
/// escaping, and `Closed` once the stores are. Where the store does not answer, loads serve by their loader, unless the
/// cache is [`fail_closed`](crate::cache::CacheBuilder::fail_closed); everything else answers the store's error (`Unavailable`,
/// `Timeout`, `Throttled`, `Denied`), whose [`effect`](Error::effect) says whether a change may have happened. What sets a
/// value also answers `InvalidInput` if its bytes are over the cap ([`max_bytes`](crate::cache::CacheBuilder::max_bytes); the
/// backend's is 1 MiB unless set), and `Codec` if it can't be encoded.
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
pub struct Cache<T, C: Codec = Json>(pub(super) Arc<Inner<T, C>>);

/// What all handles of one cache share.
pub(super) struct Inner<T, C> {
    pub(super) reader: Arc<Reader<C>>,
    pub(super) loader: Arc<Loader<T, C>>,
    pub(super) writer: Writer<C>,
    /// The feeds of the near cache.
    pub(super) _watches: Vec<Watch>,
    /// Ends what follows events for this cache, when it is dropped.
    pub(super) ended: DropGuard,
}

impl<T, C: Codec> Clone for Cache<T, C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T, C: Codec> fmt::Debug for Cache<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("namespace", &self.0.reader.keys.namespace())
            .field("policy", &self.0.reader.policy)
            .finish_non_exhaustive()
    }
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static, C: Codec> Cache<T, C> {
    /// The key under which the value of this identifier is stored.
    pub fn key(&self, id: impl Identifier) -> Result<Key> {
        self.0.reader.keys.key(id)
    }

    /// The value from the near cache alone: no trip, no waiting, no allocation. `None` if there is no near cache, it
    /// does not hold the value, or it can't be trusted now; while the invalidation feed is away, a value that
    /// [`near_in_outage`](crate::cache::CacheBuilder::near_in_outage) allows.
    pub fn peek(&self, id: impl Identifier) -> Option<Arc<T>> {
        self.near(&id, true)?.value
    }

    fn near(&self, id: &impl Identifier, absence: bool) -> Option<NearHit<T>> {
        self.0.reader.near.as_ref()?;
        id.with_text(|text| {
            // A text without the escape character is its own key or none: what is escaped is never written as it is.
            if !text.as_bytes().contains(&b'%')
                && let Some(hit) = self.0.reader.near_hit(text, absence, true)
            {
                return Some(hit);
            }
            if is_plain(text) {
                return None;
            }
            let key = self.key(text).ok()?;
            self.0.reader.near_hit(self.0.reader.identifier(&key), absence, true)
        })
    }

    /// The value, or `None`. A stale one is not answered.
    ///
    /// # Errors
    /// If the store does not answer, since there is no loader to serve in its place; see [`Cache`](Cache#errors).
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn get(&self, id: impl Identifier) -> Result<Option<Arc<T>>> {
        if let Some(hit) = self.near(&id, true) {
            return Ok(hit.value);
        }
        let key = self.key(id)?;
        match self.0.reader.lookup(&key).await? {
            Lookup::Fresh { value, .. } => {
                self.0.reader.counts.store_hits.one();
                Ok(value)
            }
            Lookup::Unavailable(error) => Err(error),
            Lookup::Stale { .. } | Lookup::Missing { .. } | Lookup::NewerSchema => {
                self.0.reader.counts.misses.one();
                Ok(None)
            }
        }
    }

    /// The value, loaded and stored if it is not there.
    ///
    /// At most one load runs for a key, in this process and in the whole deployment, whatever the number of callers; on a
    /// store without [leases](crate::cache::CacheStore::leases), one in each process.
    /// It runs in a task of its own, which ends when its last caller has left. If it fails or panics, all who wait for it get
    /// its failure, in other processes too, and so does who asks within the
    /// [`failure_ttl`](crate::cache::CacheBuilder::failure_ttl). Who has waited for somebody else's load for the
    /// [`wait_timeout`](crate::cache::CacheBuilder::wait_timeout) runs its own loader, whose value is not stored. What was
    /// loaded before somebody else wrote or removed the value is served to those who asked before, and not stored. A store that can't be reached leaves the loader to
    /// serve, and is counted in [`CacheStats::store_failures`]; it is the caller's error only where the cache is
    /// [`fail_closed`](crate::cache::CacheBuilder::fail_closed).
    ///
    /// The loader answers a `T`, or a [`Loaded`] that decides its life and its tags. It may ask for other values, of this or
    /// another cache. One that asks for its own, or for one whose loader waits for its own, gets
    /// [`LoadError::Circular`] at once; where it asks in a task that it has spawned, that is not seen, and it waits until the
    /// `wait_timeout`.
    ///
    /// # Errors
    /// The error of the loader of the load that this caller waited for, its own or another caller's; that it panicked, or that
    /// the call took longer than its [`hard_timeout`](crate::cache::CacheBuilder::hard_timeout); or why the call could not be
    /// made at all. See [`LoadError`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves the load to the other callers; with none left it is aborted, and its lease given back. A
    /// caller that loads for itself, since it has waited for long enough, drops its loader.
    pub async fn get_or_load<E, V, F, L>(&self, id: impl Identifier, load: L) -> Result<Arc<T>, LoadError<E>>
    where
        L: FnOnce() -> F + Send + 'static,
        F: Future<Output = Result<V, E>> + Send + 'static,
        V: Into<Loaded<T>>,
        E: Send + Sync + 'static,
    {
        Ok(self.serve(id, load).await?.value)
    }

    /// As [`get_or_load`](Self::get_or_load), and tells whether the value is stale.
    ///
    /// # Errors
    /// As [`get_or_load`](Self::get_or_load).
    ///
    /// # Cancel safety
    /// As [`get_or_load`](Self::get_or_load).
    pub async fn serve<E, V, F, L>(&self, id: impl Identifier, load: L) -> Result<Served<T>, LoadError<E>>
    where
        L: FnOnce() -> F + Send + 'static,
        F: Future<Output = Result<V, E>> + Send + 'static,
        V: Into<Loaded<T>>,
        E: Send + Sync + 'static,
    {
        let due = match self.near(&id, false) {
            Some(NearHit { value: Some(value), due: None, unconfirmed }) => {
                return Ok(Served { value, freshness: Freshness::of_near(unconfirmed) });
            }
            hit => hit,
        };
        let key = self.key(id)?;
        let load = move || async move { load().await.map(Into::into) };
        if let Some(NearHit { value: Some(value), due: Some(until), .. }) = due {
            self.0.loader.reload_due(key, until, false, load);
            return Ok(Served { value, freshness: Freshness::Fresh });
        }
        match self.0.loader.serve(key, false, load).await? {
            (Some(value), freshness) => Ok(Served { value, freshness }),
            // A loader that answers a value is never served without one.
            (None, _) => Err(Error::new(ErrorKind::Internal, "a load ended without a value").into()),
        }
    }

    /// As [`get_or_load`](Self::get_or_load), for what may not exist. That it does not is remembered for the
    /// [`negative_ttl`](crate::cache::CacheBuilder::negative_ttl). The loader answers a `T`, or a [`Loaded`], if there is one.
    ///
    /// # Errors
    /// As [`get_or_load`](Self::get_or_load).
    ///
    /// # Cancel safety
    /// As [`get_or_load`](Self::get_or_load).
    pub async fn get_or_find<E, V, F, L>(
        &self,
        id: impl Identifier,
        find: L,
    ) -> Result<Option<Arc<T>>, LoadError<E>>
    where
        L: FnOnce() -> F + Send + 'static,
        F: Future<Output = Result<Option<V>, E>> + Send + 'static,
        V: Into<Loaded<T>>,
        E: Send + Sync + 'static,
    {
        Ok(self.serve_found(id, find).await?.0)
    }

    /// As [`get_or_find`](Self::get_or_find), and tells whether the answer is stale.
    ///
    /// # Errors
    /// As [`get_or_load`](Self::get_or_load).
    ///
    /// # Cancel safety
    /// As [`get_or_load`](Self::get_or_load).
    pub async fn serve_found<E, V, F, L>(
        &self,
        id: impl Identifier,
        find: L,
    ) -> Result<(Option<Arc<T>>, Freshness), LoadError<E>>
    where
        L: FnOnce() -> F + Send + 'static,
        F: Future<Output = Result<Option<V>, E>> + Send + 'static,
        V: Into<Loaded<T>>,
        E: Send + Sync + 'static,
    {
        let due = match self.near(&id, true) {
            Some(NearHit { value, due: None, unconfirmed }) => {
                return Ok((value, Freshness::of_near(unconfirmed)));
            }
            hit => hit,
        };
        let key = self.key(id)?;
        let find =
            move || async move { find().await.map(|found| found.map_or_else(Loaded::none, Into::into)) };
        if let Some(NearHit { value, due: Some(until), .. }) = due {
            self.0.loader.reload_due(key, until, true, find);
            return Ok((value, Freshness::Fresh));
        }
        self.0.loader.serve(key, true, find).await
    }

    /// Loads the value anew, whatever is there, and stores it; also where a load has failed a short while ago. While another
    /// process loads it, that is waited for, up to the [`wait_timeout`](crate::cache::CacheBuilder::wait_timeout).
    ///
    /// # Errors
    /// As [`get_or_load`](Self::get_or_load).
    ///
    /// # Cancel safety
    /// As [`get_or_load`](Self::get_or_load).
    pub async fn refresh<E, V, F, L>(&self, id: impl Identifier, load: L) -> Result<Arc<T>, LoadError<E>>
    where
        L: FnOnce() -> F + Send + 'static,
        F: Future<Output = Result<V, E>> + Send + 'static,
        V: Into<Loaded<T>>,
        E: Send + Sync + 'static,
    {
        let key = self.key(id)?;
        let load = move || async move { load().await.map(Into::into) };
        match self.0.loader.shared(key, LoadPlan::refresh(), load, None).await? {
            (Some(value), _) => Ok(value),
            (None, _) => Err(Error::new(ErrorKind::Internal, "a load ended without a value").into()),
        }
    }

    /// Sets the value, whatever is there.
    ///
    /// # Errors
    /// Those of [every method](Cache#errors). Setting again does no harm.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the value either set or not.
    pub async fn set(&self, id: impl Identifier, value: &T) -> Result<()> {
        // Without a condition it is stored, or makes room for who can read the newer schema that was there.
        self.0.writer.put(self.key(id)?, value, None, &[], When::Always).await.map(drop)
    }

    /// Sets the value with the life and the tags of its own that it was given.
    ///
    /// # Errors
    /// `InvalidInput` for a life of zero and for a value without a value; `Unsupported` for tags in plain mode and on a store
    /// without [tags](crate::cache::CacheStore::tags).
    ///
    /// # Cancel safety
    /// Dropping the future leaves the value either set or not.
    pub async fn put(&self, id: impl Identifier, value: Loaded<T>) -> Result<()> {
        let key = self.key(id)?;
        match &value.value {
            Some(held) if value.store => {
                self.0.writer.put(key, held, value.ttl, &value.tags, When::Always).await.map(drop)
            }
            Some(_) => Ok(()),
            None => Err(Error::invalid("there is no value to be set")),
        }
    }

    /// Sets the value only if there is none.
    ///
    /// # Errors
    /// `Throttled` if others changed the value between look and write 16 times in a row.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the value either set or not.
    pub async fn set_if_absent(&self, id: impl Identifier, value: &T) -> Result<SetOutcome> {
        self.0.writer.put_if(self.key(id)?, value, false).await
    }

    /// Sets the value only if there is one.
    ///
    /// # Errors
    /// `Throttled` if others changed the value between look and write 16 times in a row.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the value either set or not.
    pub async fn set_if_present(&self, id: impl Identifier, value: &T) -> Result<SetOutcome> {
        self.0.writer.put_if(self.key(id)?, value, true).await
    }

    /// Sets the value only if `current` is there: compare and set, on the encoded value. The encoding has to be the same
    /// each time, so not with a `HashMap` inside. Two trips.
    ///
    /// # Errors
    /// `Throttled` if others changed the value between look and write 16 times in a row.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the value either set or not.
    pub async fn replace(&self, id: impl Identifier, current: &T, value: &T) -> Result<SetOutcome> {
        self.0.writer.replace(self.key(id)?, current, value).await
    }

    /// Removes the value; `true` if there was one.
    ///
    /// # Errors
    /// Those of [every method](Cache#errors). Removing again does no harm.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the value either removed or not.
    pub async fn remove(&self, id: impl Identifier) -> Result<bool> {
        Ok(self.0.writer.remove(&[self.key(id)?]).await? > 0)
    }

    /// Invalidates the value for every process, so that it is loaded anew at the next need: [`remove`](Self::remove), for who
    /// does not care whether there was one.
    ///
    /// # Errors
    /// As [`remove`](Self::remove).
    ///
    /// # Cancel safety
    /// Dropping the future leaves the value either invalidated or not.
    pub async fn invalidate(&self, id: impl Identifier) -> Result<()> {
        self.remove(id).await.map(drop)
    }

    /// Invalidates every value of every cache that carries the tag, in one step however many there are. They are not
    /// removed, but are misses from now on.
    ///
    /// # Errors
    /// `Unsupported` in plain mode, whose values carry no tags, and on a store without [tags](crate::cache::CacheStore::tags).
    ///
    /// # Cancel safety
    /// Dropping the future leaves the values either invalidated or not.
    pub async fn invalidate_tag(&self, tag: &Tag) -> Result<()> {
        self.0.writer.invalidate_tag(tag).await
    }

    /// Invalidates every value of this cache, in one step however many there are.
    ///
    /// # Errors
    /// `Unsupported` in plain mode, and on a store without [tags](crate::cache::CacheStore::tags).
    ///
    /// # Cancel safety
    /// Dropping the future leaves the values either invalidated or not.
    pub async fn clear(&self) -> Result<()> {
        self.0.writer.clear().await
    }

    /// Gives a fresh value its whole TTL again; `false` if there is none. Two trips.
    ///
    /// # Errors
    /// Those of [every method](Cache#errors).
    ///
    /// # Cancel safety
    /// Dropping the future leaves the life either renewed or not.
    pub async fn touch(&self, id: impl Identifier) -> Result<bool> {
        self.0.writer.touch::<T>(&self.key(id)?).await
    }

    /// What this cache has counted so far, in this process.
    pub fn stats(&self) -> CacheStats {
        let mut stats = self.0.reader.counts.snapshot();
        stats.near_entries = self.0.reader.near.as_ref().map_or(0, |near| near.entries());
        stats
    }
}
