//! The way to the store: within a deadline, and not at all to a part of it that does not answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::breaker::CircuitBreaker;
use crate::cache::stats::Counts;
use crate::cache::store::{CacheStore, Shard};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{Key, Namespace};

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
        Self { store, deadline, breakers, environment, namespace, counts }
    }

    /// The store itself, for what is to be waited for.
    pub(in crate::cache) fn store(&self) -> &Arc<dyn CacheStore> {
        &self.store
    }

    /// Asks a shard of the store within the deadline, unless its circuit breaker is open.
    pub(in crate::cache) async fn ask<R>(
        &self,
        shard: Shard,
        question: impl Future<Output = Result<R>>,
    ) -> Result<R> {
        // One for each number there can be.
        let breaker = &self.breakers[shard.index()];
        if !breaker.allows(|| self.environment.clock.now()) {
            return Err(Error::new(ErrorKind::Unavailable, "the store has not answered for a while")
                .with_operation("cache.get"));
        }
        let answer = match self.store.capabilities().read_deadline {
            Some(its) if its <= self.deadline => question.await,
            _ => tokio::select! {
                biased;
                answer = question => answer,
                () = self.environment.sleep(self.deadline) => {
                    let deadline = self.deadline;
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
        let mut parts: BTreeMap<Shard, (Vec<usize>, Vec<I>)> = BTreeMap::new();
        let mut answers: Vec<Option<Result<R>>> = Vec::new();
        answers.resize_with(items.len(), || None);
        for (place, item) in items.into_iter().enumerate() {
            let part = parts.entry(self.store.shard_of(key_of(&item))).or_default();
            part.0.push(place);
            part.1.push(item);
        }
        let asked = parts.into_iter().map(|(shard, (places, items))| {
            let asking = self.ask(shard, question(items));
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
