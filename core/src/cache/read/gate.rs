//! The way to the store: within a deadline, and not at all while it does not answer.

use std::sync::Arc;
use std::time::Duration;

use super::breaker::CircuitBreaker;
use crate::cache::stats::Counts;
use crate::cache::store::CacheStore;
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::key::Namespace;

/// The store, with the deadline of reads and the circuit breaker of one cache.
#[derive(Debug)]
pub(in crate::cache) struct StoreGate {
    store: Arc<dyn CacheStore>,
    deadline: Duration,
    breaker: CircuitBreaker,
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
        Self { store, deadline, breaker: CircuitBreaker::default(), environment, namespace, counts }
    }

    /// The store itself, for what is to be waited for.
    pub(in crate::cache) fn store(&self) -> &Arc<dyn CacheStore> {
        &self.store
    }

    /// Asks the store within the deadline, unless the circuit breaker is open.
    pub(in crate::cache) async fn ask<R>(&self, question: impl Future<Output = Result<R>>) -> Result<R> {
        if !self.breaker.allows(|| self.environment.clock.now()) {
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
            Err(error) if error.kind().is_transient() => self.breaker.failed(self.environment.clock.now()),
            _ => self.breaker.answered(),
        }
        answer
    }

    /// The store did not answer, and the loader serves in its place.
    pub(in crate::cache) fn failed(&self, error: &Error) {
        self.counts.store_failures.one();
        tracing::debug!(namespace = %self.namespace, %error, "the cache store failed; the loader serves");
    }
}
