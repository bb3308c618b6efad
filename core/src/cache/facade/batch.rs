//! Many values at once: one trip per master for all of them.

use std::hash::Hash;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Cache;
use crate::cache::load::{InOutage, LoadError, Loaded, Served};
use crate::cache::read::Lookup;
use crate::codec::Codec;
use crate::error::Result;
use crate::key::{Identifier, Key};

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static, C: Codec> Cache<T, C> {
    /// The values, in the order of the identifiers, in one trip per master for those that are not near.
    ///
    /// # Errors
    /// As [`get`](Self::get), for all of them; `InvalidInput` for more than the backend takes in one batch, 10,000 unless set.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn get_many<I: Identifier>(&self, ids: &[I]) -> Result<Vec<Option<Arc<T>>>> {
        let keys = self.keys(ids)?;
        let found = self.0.reader.lookup_many(&keys).await?;
        found
            .into_iter()
            .map(|found| match found {
                Lookup::Fresh { value, .. } => Ok(value),
                Lookup::Unavailable(error) => Err(error),
                _ => Ok(None),
            })
            .collect()
    }

    pub(super) fn keys<I: Identifier>(&self, ids: &[I]) -> Result<Vec<Key>> {
        ids.iter().map(|id| self.key(id)).collect()
    }

    /// Sets the values, whatever is there, in one trip per master. Not one atomic step: on an error some may be set, and what
    /// is in doubt ([`Unknown`](crate::Effect::Unknown)) may be carried out later still, after a write that was begun since.
    ///
    /// # Errors
    /// Those of [every method](Cache#errors); `InvalidInput` also for more than the backend takes in one batch, 10,000 unless
    /// set. An argument that is refused is refused before anything is set.
    ///
    /// # Cancel safety
    /// Dropping the future leaves each value either set or not. What has left may be carried out later, also after a single write
    /// of the same key that was begun since: a backend may send large batches on a connection of their own. Calls that are
    /// awaited keep their order.
    pub async fn set_many<I: Identifier>(&self, values: &[(I, T)]) -> Result<()> {
        let keys = values.iter().map(|(id, _)| self.key(id)).collect::<Result<Vec<_>>>()?;
        self.0.writer.set_many(&keys, values.iter().map(|(_, value)| value)).await
    }

    /// Removes the values and says how many there were, in one trip per master.
    ///
    /// # Errors
    /// Those of [every method](Cache#errors); `InvalidInput` also for more than the backend takes in one batch, 10,000 unless
    /// set. On another error some may be removed; removing again does no harm.
    ///
    /// # Cancel safety
    /// Dropping the future leaves each value either removed or not.
    pub async fn remove_many<I: Identifier>(&self, ids: &[I]) -> Result<u64> {
        self.0.writer.remove(&self.keys(ids)?).await
    }

    /// The values, in the order of the identifiers; what is missing is loaded by one call of the loader, for all of it,
    /// and stored. The loader answers what it has, in any order; what it does not answer is `None`, and is remembered as
    /// absent where there is a [`negative_ttl`](crate::cache::CacheBuilder::negative_ttl).
    ///
    /// A value that another process is loading at the same time is loaded here too, and not stored. One that can't be
    /// stored, as it is too large, say, is served all the same, and spoils none of the others. If the loader fails, stale
    /// values are served where there is one for each that is missing ([`fail_safe`](crate::cache::CacheBuilder::fail_safe)).
    /// Nothing is loaded ahead of its end ([`eager`](crate::cache::CacheBuilder::eager)), and a batch has no timeout but its
    /// caller's.
    ///
    /// # Errors
    /// The loader's, or why the call could not be made at all.
    ///
    /// # Cancel safety
    /// Dropping the future drops the load, and gives its leases back.
    pub async fn get_or_load_many<I, E, V, F, L>(
        &self,
        ids: &[I],
        load: L,
    ) -> Result<Vec<Option<Arc<T>>>, LoadError<E>>
    where
        I: Identifier + Clone + Eq + Hash,
        L: FnOnce(Vec<I>) -> F,
        F: Future<Output = Result<Vec<(I, V)>, E>>,
        V: Into<Loaded<T>>,
    {
        let served = self.serve_many(ids, load).await?;
        Ok(served.into_iter().map(|served| served.map(|served| served.value)).collect())
    }

    /// As [`get_or_load_many`](Self::get_or_load_many), and tells of each whether it is stale.
    ///
    /// # Errors
    /// As [`get_or_load_many`](Self::get_or_load_many).
    ///
    /// # Cancel safety
    /// As [`get_or_load_many`](Self::get_or_load_many).
    pub async fn serve_many<I, E, V, F, L>(
        &self,
        ids: &[I],
        load: L,
    ) -> Result<Vec<Option<Served<T>>>, LoadError<E>>
    where
        I: Identifier + Clone + Eq + Hash,
        L: FnOnce(Vec<I>) -> F,
        F: Future<Output = Result<Vec<(I, V)>, E>>,
        V: Into<Loaded<T>>,
    {
        let keys = self.keys(ids)?;
        Ok(self.0.loader.serve_many(ids, &keys, load, InOutage::Load).await?.values)
    }
}
