//! Filling a cache ahead of use.

use std::hash::Hash;
use std::num::NonZeroUsize;

use futures_util::stream::{self, Stream, StreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Cache;
use super::batch::each_found;
use crate::cache::load::{Found, InOutage, LeftOut, LoadError};
use crate::cache::read::is_callers;
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::key::Identifier;

/// How a cache is warmed.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct WarmOptions {
    /// How many values one call of the loader is asked for; 100 unless set, and no more than the store takes in a batch.
    pub batch: NonZeroUsize,
    /// How many calls run at once; 4 unless set.
    pub concurrency: NonZeroUsize,
}

impl WarmOptions {
    /// Batches of 100, four at once.
    pub const fn new() -> Self {
        // Neither is zero.
        Self { batch: NonZeroUsize::MIN.saturating_add(99), concurrency: NonZeroUsize::MIN.saturating_add(3) }
    }

    /// With batches of this size.
    ///
    /// # Errors
    /// `InvalidInput` for zero.
    pub fn batch(mut self, values: usize) -> Result<Self> {
        self.batch =
            NonZeroUsize::new(values).ok_or_else(|| Error::invalid("a batch has at least one value"))?;
        Ok(self)
    }

    /// With this many at once.
    ///
    /// # Errors
    /// `InvalidInput` for zero.
    pub fn concurrency(mut self, calls: usize) -> Result<Self> {
        self.concurrency =
            NonZeroUsize::new(calls).ok_or_else(|| Error::invalid("at least one call runs at once"))?;
        Ok(self)
    }
}

impl Default for WarmOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// How far a warming is, and in the end what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Warmed {
    /// Identifiers that were looked at.
    pub seen: u64,
    /// Values that were there already, and are as they were.
    pub present: u64,
    /// Values that were loaded and stored.
    pub stored: u64,
    /// Identifiers for which this warming has stored nothing, without any failure: another caller or process loaded or wrote the
    /// value meanwhile, the loader said that there is none or that it is not to be stored, it is too large, or it was given
    /// twice.
    pub passed_over: u64,
    /// Identifiers that could not be loaded, or for which the store did not answer: there is nothing to be warmed.
    pub failed: u64,
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static, C: Codec> Cache<T, C> {
    /// Loads and stores what is missing of these identifiers, in batches. What is there is not touched, so that a warming
    /// that was interrupted can be begun again, and never puts an older value over a newer one. What can't be loaded is
    /// counted, once for each batch logged, and the others go on. What the loader leaves out does not exist, as for
    /// [`get_or_find_many`](Self::get_or_find_many).
    ///
    /// `progress` is called after each batch. Publishes `cache.warmed` at the end where the cache is
    /// [publishing](crate::cache::CacheBuilder::publishing).
    ///
    /// # Errors
    /// If the stores are closed, or an identifier can't be one. A loader's error is no error of the whole.
    ///
    /// # Cancel safety
    /// Dropping the future stops it; what was stored stays.
    pub async fn warm<I, E, V, F, L>(
        &self,
        ids: impl IntoIterator<Item = I>,
        options: WarmOptions,
        load: L,
        progress: impl FnMut(&Warmed),
    ) -> Result<Warmed>
    where
        I: Identifier + Clone + Eq + Hash + Send + Sync + 'static,
        L: FnOnce(Vec<I>) -> F + Clone + Send + 'static,
        F: Future<Output = Result<Vec<(I, V)>, E>> + Send + 'static,
        V: Into<Found<T, E>>,
        E: std::fmt::Display + Send + Sync + 'static,
    {
        self.warm_stream(stream::iter(ids), options, load, progress).await
    }

    /// As [`warm`](Self::warm), of identifiers as they come: the rows of a query, say. The stream is read no faster than
    /// the loader answers.
    ///
    /// # Errors
    /// As [`warm`](Self::warm).
    ///
    /// # Cancel safety
    /// As [`warm`](Self::warm).
    pub async fn warm_stream<I, E, V, F, L>(
        &self,
        ids: impl Stream<Item = I>,
        options: WarmOptions,
        load: L,
        mut progress: impl FnMut(&Warmed),
    ) -> Result<Warmed>
    where
        I: Identifier + Clone + Eq + Hash + Send + Sync + 'static,
        L: FnOnce(Vec<I>) -> F + Clone + Send + 'static,
        F: Future<Output = Result<Vec<(I, V)>, E>> + Send + 'static,
        V: Into<Found<T, E>>,
        E: std::fmt::Display + Send + Sync + 'static,
    {
        let most = self.0.reader.gate.store().capabilities().max_batch.max(1);
        let batches = ids.chunks(options.batch.get().min(most)).map(|batch| {
            let load = load.clone();
            async move {
                let load = |ids: Vec<I>| async move { load(ids).await.map(each_found) };
                let keys = self.keys(&batch)?;
                let how = (InOutage::Skip, LeftOut::Absent);
                let filled = self.0.loader.serve_many(&batch, &keys, load, how).await?;
                Ok::<_, Error>((batch.len() as u64, filled))
            }
        });
        let mut batches = std::pin::pin!(batches.buffer_unordered(options.concurrency.get()));
        let mut warmed = Warmed::default();
        while let Some(batch) = batches.next().await {
            let (asked, filled) = batch?;
            let mut errors = filled.values.into_iter().filter_map(Result::err);
            let mut failed = filled.unreachable;
            if let Some(error) = errors.next() {
                match error {
                    LoadError::Store(error) if is_callers(&error) => return Err(error),
                    error => {
                        tracing::warn!(namespace = %self.0.reader.keys.namespace(), %error, "a batch could not be warmed");
                    }
                }
                failed += 1 + errors.count() as u64;
            }
            warmed.seen += asked;
            warmed.present += filled.present;
            warmed.stored += filled.stored;
            warmed.failed += failed;
            warmed.passed_over += asked.saturating_sub(filled.present + filled.stored + failed);
            progress(&warmed);
        }
        self.0.writer.publish_warmed(warmed.stored).await;
        Ok(warmed)
    }
}
