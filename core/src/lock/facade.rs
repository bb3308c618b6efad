//! Taking locks.

use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::guard::{self, LockGuard};
use super::{LockRequest, LockToken, Locker};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{Identifier, Key, Namespace};
use crate::layer::deadline::bounded;
use crate::time::{Ttl, seconds};

/// Locks by name, under `locks:…`, shared by all services of a deployment.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> stanchion::Result<()> {
/// use stanchion::prelude::*;
/// use stanchion_memory::MemoryBackend;
///
/// let locks = MemoryBackend::new().stores().locks()?;
/// let guard = locks.acquire("nightly-report").await?;
/// // Hand the fencing token to whatever the report writes to.
/// println!("writing with fence {}", guard.fence());
/// assert!(locks.try_acquire("nightly-report").await?.is_none());
/// guard.release().await?;
///
/// // Or without a guard to be bound: the lock is held for as long as the closure's future runs.
/// let rows = locks.with("nightly-report", async |guard| format!("rows, written with fence {}", guard.fence())).await?;
/// assert!(rows.is_some());
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Locks {
    locker: Arc<dyn Locker>,
    environment: Environment,
}

impl Locks {
    /// The longest a caller can wait for a lock: 1 day.
    pub const MAX_WAIT: Duration = Duration::from_hours(24);

    /// Locks on any backend, without a bundle.
    pub fn new(locker: Arc<dyn Locker>, environment: Environment) -> Self {
        Self { locker: bounded(locker, &environment), environment }
    }

    /// The lock of this name, waiting for it for 30 seconds unless [set](Acquire::wait).
    ///
    /// # Errors
    /// [`Timeout`](ErrorKind::Timeout) if it was held by others all that time, and those of
    /// [`attempt`](Acquire::attempt).
    ///
    /// # Cancel safety
    /// Dropping the future, at any point, leaves no lock: a task that owns the request releases what it
    /// may have taken.
    pub fn acquire(&self, name: impl Identifier) -> Acquire {
        Acquire { locks: self.clone(), key: key(name), lease: seconds(30), wait: seconds(30) }
    }

    /// Runs the work while the lock is held, waiting for the lock as [`acquire`](Self::acquire) does, and releases it
    /// after that. `None` if the lock was lost before the work was done: the work was cancelled then.
    ///
    /// # Errors
    /// Those of [`acquire`](Self::acquire). That the lock could not be released at once is none: the work is done, and the
    /// release is retried in the background until the lease has run out.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the work and releases the lock.
    pub async fn with<T>(
        &self,
        name: impl Identifier,
        work: impl AsyncFnOnce(&LockGuard) -> T,
    ) -> Result<Option<T>> {
        let guard = self.acquire(name).await?;
        let done = guard.run(work(&guard)).await;
        if let Err(error) = guard.release().await {
            tracing::debug!(%error, "a lock could not be released at once");
        }
        Ok(done)
    }

    /// The lock if it is free now; `None` if somebody holds it.
    ///
    /// # Errors
    /// As [`Acquire::attempt`].
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire).
    pub async fn try_acquire(&self, name: impl Identifier) -> Result<Option<LockGuard>> {
        self.acquire(name).wait(Duration::ZERO).attempt().await
    }
}

fn key(name: impl Identifier) -> Result<Key> {
    Namespace::new("locks", "lock")?.key(name)
}

/// A request for a lock; await it.
#[derive(Debug)]
#[must_use = "await it"]
pub struct Acquire {
    locks: Locks,
    key: Result<Key>,
    lease: Duration,
    wait: Duration,
}

impl Acquire {
    /// How long the lock outlives a holder that died: 30 seconds unless set, at least 10 ms. A living holder
    /// renews it every third of this.
    pub const fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// How long to wait for other holders; at most [`Locks::MAX_WAIT`]. Zero: one attempt.
    pub const fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// The lock, or `None` if it was held by others for the whole wait.
    ///
    /// # Errors
    /// `InvalidInput` for a name that is empty or longer than 512 bytes after escaping, a lease under 10 ms or a wait over a
    /// day; `Closed` once the stores are; the store's where it does not answer:
    /// what it may have taken all the same is released in the background.
    ///
    /// # Cancel safety
    /// Dropping the future, at any point, leaves no lock.
    pub async fn attempt(self) -> Result<Option<LockGuard>> {
        const MIN_LEASE: Duration = Duration::from_millis(10);
        if self.lease < MIN_LEASE || self.wait > Locks::MAX_WAIT {
            return Err(Error::invalid("a lease takes at least 10 ms, and a wait at most one day")
                .with_operation("lock.acquire"));
        }
        let mut token = [0; 16];
        self.locks.environment.random.fill(&mut token)?;
        let request = LockRequest::new(self.key?, LockToken::new(token), Ttl::new(self.lease)?);
        guard::acquire(self.locks.locker, self.locks.environment, request, self.wait).await
    }
}

impl IntoFuture for Acquire {
    type Output = Result<LockGuard>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let wait = self.wait;
            self.attempt().await?.ok_or_else(|| {
                Error::new(ErrorKind::Timeout, format!("the lock was held by others for {wait:?}"))
                    .with_operation("lock.acquire")
            })
        })
    }
}
