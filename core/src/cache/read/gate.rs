//! The way to the store: within a deadline, and not at all to a part of it that does not answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;

use super::breaker::CircuitBreaker;
use crate::cache::stats::Counts;
use crate::cache::store::{CacheStore, Shard};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{Key, Namespace};

/// The store has a millisecond more for so many keys of a batch, and the way to it for so many bytes.
const KEYS_PER_MS: usize = 8;
const BYTES_PER_MS: usize = 8 * 1_024;
/// What the size of values adds to the deadline of a read at most.
const MOST_FOR_BYTES: Duration = Duration::from_secs(30);
/// How long a loaded value may take to be stored, unless reads may take longer: nobody waits for that beyond the deadline of reads.
const STORING: Duration = Duration::from_secs(1);

/// What the store is asked to do, by which it has more or less time.
#[derive(Debug, Clone, Copy)]
pub(in crate::cache) enum Work {
    /// To read so many keys, or to do something else that a caller waits for.
    Read(usize),
    /// To read the values under so many keys, which are as large as values were of late.
    Values(usize),
    /// To store so many loaded values, of so many bytes.
    Store(usize, usize),
}

impl Work {
    /// A single key.
    pub(in crate::cache) const READ: Self = Self::Read(1);
}

fn per_ms(count: usize, each: usize) -> Duration {
    // None for a single key.
    Duration::from_millis(u64::try_from(count / each).unwrap_or(u64::MAX))
}

fn allowance(keys: usize, bytes: usize) -> Duration {
    per_ms(keys, KEYS_PER_MS).saturating_add(per_ms(bytes, BYTES_PER_MS))
}

/// The store, with the deadline of reads and the circuit breakers of one cache.
#[derive(Debug)]
pub(in crate::cache) struct StoreGate {
    store: Arc<dyn CacheStore>,
    deadline: Duration,
    /// One for each shard.
    breakers: Box<[CircuitBreaker]>,
    environment: Environment,
    namespace: Namespace,
    counts: Arc<Counts>,
    /// How large the values were that batches have read of late; 0 while it is not known.
    bytes_each: AtomicUsize,
}

/// Whether an error is not the store's: then no loader makes up for it.
pub(in crate::cache) fn is_callers(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Closed)
}

impl StoreGate {
    pub(in crate::cache) fn new(
        store: Arc<dyn CacheStore>,
        deadline: Duration,
        environment: Environment,
        namespace: Namespace,
        counts: Arc<Counts>,
    ) -> Self {
        let breakers = Shard::all().map(|_| CircuitBreaker::default()).collect();
        Self { store, deadline, breakers, environment, namespace, counts, bytes_each: AtomicUsize::new(0) }
    }

    /// The store itself, for what is to be waited for.
    pub(in crate::cache) fn store(&self) -> &Arc<dyn CacheStore> {
        &self.store
    }

    /// Within what time the store is to have done something; `None` if the deadline that it has declared for that is no longer
    /// than ours. Those of a single key are compared: both grow.
    fn deadline_of(&self, work: Work) -> Option<Duration> {
        let capabilities = self.store.capabilities();
        let (ours, its, more) = match work {
            Work::Read(keys) => (self.deadline, capabilities.read_deadline, allowance(keys, 0)),
            Work::Values(keys) => {
                let bytes =
                    if keys > 1 { keys.saturating_mul(self.bytes_each.load(Ordering::Relaxed)) } else { 0 };
                let more = allowance(keys, 0).saturating_add(allowance(0, bytes).min(MOST_FOR_BYTES));
                (self.deadline, capabilities.read_deadline, more)
            }
            Work::Store(keys, bytes) => {
                let ours = self.deadline.max(STORING);
                (ours, capabilities.base.call_deadline, allowance(keys, bytes))
            }
        };
        its.is_none_or(|its| its > ours).then(|| ours.saturating_add(more))
    }

    /// What a batch has read: a later one of so large values has more time.
    pub(in crate::cache) fn learn(&self, values: impl Iterator<Item = usize>) {
        let (count, bytes) =
            values.fold((0, 0_usize), |(count, sum), bytes| (count + 1, sum.saturating_add(bytes)));
        if let Some(latest) = bytes.checked_div(count) {
            // What is large now is expected to be so at once, and no longer only after a while.
            let before = self.bytes_each.load(Ordering::Relaxed) / 4 * 3;
            self.bytes_each.store(before.max(latest), Ordering::Relaxed);
        }
    }

    /// Asks a shard of the store within the deadline, unless its circuit breaker is open.
    pub(in crate::cache) async fn ask<R>(
        &self,
        shard: Shard,
        work: Work,
        question: impl Future<Output = Result<R>>,
    ) -> Result<R> {
        // One for each number there can be.
        let breaker = &self.breakers[shard.index()];
        if !breaker.allows(|| self.environment.clock.now()) {
            return Err(Error::new(ErrorKind::Unavailable, "the store has not answered for a while")
                .with_operation("cache.get"));
        }
        let answer = match self.deadline_of(work) {
            None => question.await,
            Some(deadline) => tokio::select! {
                biased;
                answer = question => answer,
                () = self.environment.sleep(deadline) => {
                    Err(Error::new(ErrorKind::Timeout, format!("the store did not answer within {deadline:?}")))
                }
            },
        };
        match &answer {
            Err(error) if error.kind().is_transient() => breaker.failed(self.environment.clock.now()),
            _ => breaker.answered(),
        }
        answer
    }

    /// Asks each shard for its part of a batch, all at once; answers in the order of the items. Those of a shard that fails get its
    /// error, and no others; `failed` is called once for each such shard.
    pub(in crate::cache) async fn ask_each<I, R, F>(
        &self,
        items: Vec<I>,
        key_of: impl Fn(&I) -> &Key,
        question: impl Fn(Vec<I>) -> F,
        failed: impl Fn(&Error),
    ) -> Vec<Result<R>>
    where
        F: Future<Output = Result<Vec<R>>>,
    {
        self.each(items, key_of, |part| Work::Read(part.len()), question, failed).await
    }

    /// As [`ask_each`](Self::ask_each), for the values under keys.
    pub(in crate::cache) async fn values_each<R, F>(
        &self,
        keys: Vec<Key>,
        question: impl Fn(Vec<Key>) -> F,
        failed: impl Fn(&Error),
    ) -> Vec<Result<R>>
    where
        F: Future<Output = Result<Vec<R>>>,
    {
        self.each(keys, |key| key, |part| Work::Values(part.len()), question, failed).await
    }

    /// As [`ask_each`](Self::ask_each), of loaded values that are to be stored, so large each.
    pub(in crate::cache) async fn store_each<I, R, F>(
        &self,
        items: Vec<I>,
        key_of: impl Fn(&I) -> &Key,
        bytes_of: impl Fn(&I) -> usize,
        question: impl Fn(Vec<I>) -> F,
        failed: impl Fn(&Error),
    ) -> Vec<Result<R>>
    where
        F: Future<Output = Result<Vec<R>>>,
    {
        let bytes = |part: &[I]| part.iter().map(&bytes_of).fold(0, usize::saturating_add);
        let work = |part: &[I]| Work::Store(part.len(), bytes(part));
        self.each(items, key_of, work, question, failed).await
    }

    async fn each<I, R, F>(
        &self,
        items: Vec<I>,
        key_of: impl Fn(&I) -> &Key,
        work_of: impl Fn(&[I]) -> Work,
        question: impl Fn(Vec<I>) -> F,
        failed: impl Fn(&Error),
    ) -> Vec<Result<R>>
    where
        F: Future<Output = Result<Vec<R>>>,
    {
        let mut parts: BTreeMap<Shard, (Vec<usize>, Vec<I>)> = BTreeMap::new();
        let mut answers: Vec<Option<Result<R>>> = Vec::new();
        answers.resize_with(items.len(), || None);
        for (place, item) in items.into_iter().enumerate() {
            let part = parts.entry(self.store.shard_of(key_of(&item))).or_default();
            part.0.push(place);
            part.1.push(item);
        }
        let asked = parts.into_iter().map(|(shard, (places, items))| {
            let work = work_of(&items);
            let asking = self.ask(shard, work, question(items));
            async move { (places, asking.await) }
        });
        for (places, answer) in join_all(asked).await {
            match answer {
                Ok(found) => {
                    for (place, found) in places.into_iter().zip(found) {
                        answers[place] = Some(Ok(found));
                    }
                }
                Err(error) => {
                    failed(&error);
                    for place in places {
                        answers[place] = Some(Err(error.clone()));
                    }
                }
            }
        }
        answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err(too_few()))).collect()
    }

    /// As [`failed`](Self::failed), unless the error is the caller's own.
    pub(in crate::cache) fn failed_unless_callers(&self, error: &Error) {
        if !is_callers(error) {
            self.failed(error);
        }
    }

    /// The store did not answer, and the loader serves in its place.
    pub(in crate::cache) fn failed(&self, error: &Error) {
        self.counts.store_failures.one();
        tracing::debug!(namespace = %self.namespace, %error, "the cache store failed; the loader serves");
    }
}

fn too_few() -> Error {
    Error::new(ErrorKind::Internal, "the store answered for fewer keys than it was asked for")
}
