//! What all stores of a handle share. It knows no store.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stanchion::contract::Contract;
use stanchion::environment::{Environment, Health};
use stanchion::time::{Monotonic, Timestamp};
use stanchion::{Error, ErrorKind, Result};
use tokio::sync::watch;

/// The contract that this backend was written against.
pub(crate) const CONTRACT: Contract = Contract::V1;

/// Nothing here waits for anything: each call is answered when it is polled.
pub(crate) const NEVER_WAITS: Duration = Duration::ZERO;

/// One "process": its environment, and whether it is closed. A store has, beside it, its own state, which is that of all
/// handles on the same data.
pub(crate) struct Handle {
    pub(crate) environment: Environment,
    /// Different for each handle on the same data.
    pub(crate) number: u64,
    closed: AtomicBool,
    health: watch::Sender<Health>,
}

impl Handle {
    pub(crate) fn new(environment: Environment, number: u64) -> Arc<Self> {
        let health = watch::Sender::new(Health::Up);
        Arc::new(Self { environment, number, closed: AtomicBool::new(false), health })
    }

    /// Refuses calls after the close.
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Closed, "this handle of the memory backend is closed"));
        }
        Ok(())
    }

    /// Refuses every call from now on.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Says that the handle is down, for good.
    pub(crate) fn go_down(&self) {
        self.health.send_replace(Health::Down);
    }

    pub(crate) fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Runs an operation unless the handle is closed, and names it in its error.
    pub(crate) fn operate<T>(&self, operation: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.check_open()
            .and_then(|()| work())
            .map_err(|error| error.with_operation(operation).with_backend("memory"))
    }

    /// The time by which everything expires.
    pub(crate) fn now(&self) -> Monotonic {
        self.environment.clock.now()
    }

    /// The time that is shown, and that fences and epochs are made of.
    pub(crate) fn wall(&self) -> Timestamp {
        self.environment.clock.wall()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "memory (handle {})", self.number)
    }
}

/// A store's state; a panic elsewhere can't have left it half-changed, since no step of a change can panic.
pub(crate) fn locked<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
