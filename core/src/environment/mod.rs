//! What is injected: time, randomness, the hashing key, and where tasks run.
//!
//! Every façade is built from a store and an [`Environment`]. Nothing here knows a store or a façade.

mod hashing;
mod health;
mod tasks;

use std::sync::Arc;
use std::time::Duration;

pub use self::hashing::HashingKey;
pub use self::health::{Health, HealthWatch};
pub use self::tasks::Tasks;
use crate::clock::{Clock, SystemClock};
use crate::random::{Random, SystemRandom};

/// Time, randomness, the hashing key and the tasks of one bundle of stores.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Environment {
    /// Time and timers.
    pub clock: Arc<dyn Clock>,
    /// Ids, tokens and jitter.
    pub random: Arc<dyn Random>,
    /// How session tokens are hashed.
    pub hashing_key: HashingKey,
    /// Where tasks run.
    pub tasks: Tasks,
}

impl Environment {
    /// The machine's clock and random source, the unkeyed hash, and the current runtime.
    pub fn system() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            hashing_key: HashingKey::unkeyed(),
            tasks: Tasks::capture(),
        }
    }

    /// With another clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// With another random source.
    #[must_use]
    pub fn random(mut self, random: Arc<dyn Random>) -> Self {
        self.random = random;
        self
    }

    /// With a hashing key.
    #[must_use]
    pub fn hashing_key(mut self, key: HashingKey) -> Self {
        self.hashing_key = key;
        self
    }

    /// The same with tasks of its own, on the current runtime: for backends, so that closing one of two that
    /// were given the same environment ends only its own tasks.
    #[must_use]
    pub fn with_own_tasks(mut self) -> Self {
        self.tasks = Tasks::capture();
        self
    }

    /// Waits by this clock.
    ///
    /// # Cancel safety
    /// Dropping the future forgets the timer and nothing else.
    pub async fn sleep(&self, duration: Duration) {
        self.clock.sleep_until(self.clock.now().saturating_add(duration)).await;
    }

    pub(crate) async fn drain(&self, deadline: Duration) -> bool {
        self.tasks.drain(self.sleep(deadline)).await
    }
}

impl Default for Environment {
    fn default() -> Self {
        Self::system()
    }
}
