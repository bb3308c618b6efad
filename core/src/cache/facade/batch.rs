//! Many values at once: one trip per master for all of them.

use std::hash::Hash;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Cache;
#[cfg(doc)]
use crate::cache::load::Loaded;
use crate::cache::load::{BatchResult, Found, InOutage, LeftOut, LoadError, Served};
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
        let found = self.0.reader.lookup_many(&keys, true).await?;
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

    /// The values, in the order of the identifiers; what is missing is loaded by one call of the loader, and stored. The
    /// loader answers what it has, in any order: for each identifier a value (a `T` or a [`Loaded`]), an `Option` of it, or a
    /// `Result`, see [`Found`]. What it leaves out is answered with `None`, and nothing is remembered of it; for a loader that
    /// leaves out what does not exist there is [`get_or_find_many`](Self::get_or_find_many).
    ///
    /// Each value is a load as any other ([`get_or_load`](Self::get_or_load)): at most one runs for a key in the deployment,
    /// whether it is asked for alone or in batches. What others load already is waited for, up to the
    /// [`wait_timeout`](crate::cache::CacheBuilder::wait_timeout); what has to be loaded all the same after that is loaded by
    /// a further call of the loader, which is why it is `Clone`. What may be served stale is
    /// ([`stale_while_revalidate`](crate::cache::CacheBuilder::stale_while_revalidate)), and is loaded anew in the background.
    /// One that can't be stored, as it is too large, say, is served all the same, and spoils none of the others. Nothing is
    /// loaded ahead of its end ([`eager`](crate::cache::CacheBuilder::eager)), and there is no
    /// [`soft_timeout`](crate::cache::CacheBuilder::soft_timeout): a batch is answered as a whole, with values for which there is
    /// no stale one as a rule, so that it would have to wait for its loader all the same. A
    /// [`hard_timeout`](crate::cache::CacheBuilder::hard_timeout) bounds it, and then serves what is stale. What was loaded is
    /// stored before the batch is answered.
    ///
    /// # Errors
    /// As [`get_or_load`](Self::get_or_load), if one of the values can't be had, and no stale one may be served for it
    /// ([`fail_safe`](crate::cache::CacheBuilder::fail_safe)): that of the first. The others are stored all the same;
    /// [`serve_many`](Self::serve_many) answers them.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the load to those who wait for a part of it; with none left it is aborted, and its leases
    /// are given back.
    pub async fn get_or_load_many<I, E, V, F, L>(
        &self,
        ids: &[I],
        load: L,
    ) -> Result<Vec<Option<Arc<T>>>, LoadError<E>>
    where
        I: Identifier + Clone + Eq + Hash + Send + Sync + 'static,
        L: FnOnce(Vec<I>) -> F + Clone + Send + 'static,
        F: Future<Output = Result<Vec<(I, V)>, E>> + Send + 'static,
        V: Into<Found<T, E>>,
        E: Send + Sync + 'static,
    {
        values(self.many(ids, load, LeftOut::Unknown).await?)
    }

    /// As [`get_or_load_many`](Self::get_or_load_many), for what may not exist: what the loader leaves out does not, which is
    /// remembered for the [`negative_ttl`](crate::cache::CacheBuilder::negative_ttl).
    ///
    /// # Errors
    /// As [`get_or_load_many`](Self::get_or_load_many).
    ///
    /// # Cancel safety
    /// As [`get_or_load_many`](Self::get_or_load_many).
    pub async fn get_or_find_many<I, E, V, F, L>(
        &self,
        ids: &[I],
        find: L,
    ) -> Result<Vec<Option<Arc<T>>>, LoadError<E>>
    where
        I: Identifier + Clone + Eq + Hash + Send + Sync + 'static,
        L: FnOnce(Vec<I>) -> F + Clone + Send + 'static,
        F: Future<Output = Result<Vec<(I, V)>, E>> + Send + 'static,
        V: Into<Found<T, E>>,
        E: Send + Sync + 'static,
    {
        values(self.many(ids, find, LeftOut::Absent).await?)
    }

    /// As [`get_or_load_many`](Self::get_or_load_many), and answers each by itself: whether it is stale, or why it can't be
    /// had.
    ///
    /// # Errors
    /// Why the call could not be made at all.
    ///
    /// # Cancel safety
    /// As [`get_or_load_many`](Self::get_or_load_many).
    pub async fn serve_many<I, E, V, F, L>(
        &self,
        ids: &[I],
        load: L,
    ) -> Result<Vec<Result<Option<Served<T>>, LoadError<E>>>>
    where
        I: Identifier + Clone + Eq + Hash + Send + Sync + 'static,
        L: FnOnce(Vec<I>) -> F + Clone + Send + 'static,
        F: Future<Output = Result<Vec<(I, V)>, E>> + Send + 'static,
        V: Into<Found<T, E>>,
        E: Send + Sync + 'static,
    {
        Ok(self.many(ids, load, LeftOut::Unknown).await?.values)
    }

    async fn many<I, E, V, F, L>(&self, ids: &[I], load: L, left_out: LeftOut) -> Result<BatchResult<T, E>>
    where
        I: Identifier + Clone + Eq + Hash + Send + Sync + 'static,
        L: FnOnce(Vec<I>) -> F + Clone + Send + 'static,
        F: Future<Output = Result<Vec<(I, V)>, E>> + Send + 'static,
        V: Into<Found<T, E>>,
        E: Send + Sync + 'static,
    {
        let keys = self.keys(ids)?;
        let load = |ids: Vec<I>| async move { load(ids).await.map(each_found) };
        self.0.loader.serve_many(ids, &keys, load, (InOutage::Load, left_out)).await
    }
}

/// What a loader answered for each.
pub(super) fn each_found<I, T, E, V: Into<Found<T, E>>>(answers: Vec<(I, V)>) -> Vec<(I, Found<T, E>)> {
    answers.into_iter().map(|(id, answer)| (id, answer.into())).collect()
}

/// The values of a batch, or the first error.
fn values<T, E>(batch: BatchResult<T, E>) -> Result<Vec<Option<Arc<T>>>, LoadError<E>> {
    batch.values.into_iter().map(|one| Ok(one?.map(|served| served.value))).collect()
}
