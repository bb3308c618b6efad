//! A job that runs once at a time, whichever instance is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use stanchion::environment::Environment;
use stanchion::lock::Fence;
use stanchion::prelude::*;

use crate::error::AppError;

#[derive(Clone)]
pub(super) struct Digest {
    locks: Locks,
    environment: Environment,
    started: Arc<AtomicU64>,
}

impl Digest {
    pub(super) fn new(locks: Locks, environment: Environment) -> Self {
        Self { locks, environment, started: Arc::default() }
    }

    /// Writes the digest, which takes `time`, under a lock. If the caller goes away, axum drops this future: the
    /// work ends, and with its guard the lock.
    pub(super) async fn write(&self, time: Duration) -> Result<Fence, AppError> {
        let Some(guard) = self.locks.try_acquire("digest").await? else {
            return Err(AppError::conflict("the digest is being written"));
        };
        self.started.fetch_add(1, Relaxed);
        // Whatever the digest is written to takes the fence along, and refuses a lower one than it has seen.
        let fence = guard.fence();
        let written = guard.run(self.environment.sleep(time)).await;
        written.ok_or_else(|| AppError::unavailable(&"the lock was lost; the work was stopped"))?;
        // Before the answer, so that who hears it can start the next at once.
        let _ = guard.release().await?;
        Ok(fence)
    }

    pub(super) fn started(&self) -> u64 {
        self.started.load(Relaxed)
    }
}
