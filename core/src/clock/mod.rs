//! Time, injected. Nothing in this library reads a clock or starts a timer except through [`Clock`].

#[cfg(feature = "test-util")]
mod manual;
mod system;

use std::fmt;

use async_trait::async_trait;

#[cfg(feature = "test-util")]
pub use self::manual::ManualClock;
pub use self::system::SystemClock;
use crate::time::{Monotonic, Timestamp};

/// A source of time and of timers.
#[async_trait]
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// A time that never goes back and, where the system offers it, counts while the machine is suspended:
    /// a lock's lease runs out during suspend too.
    fn now(&self) -> Monotonic;

    /// The wall clock. It may jump; nothing is ordered by it across machines.
    fn wall(&self) -> Timestamp;

    /// Returns once [`now`](Self::now) has reached `deadline`.
    ///
    /// # Cancel safety
    /// Dropping the future forgets the timer and nothing else.
    async fn sleep_until(&self, deadline: Monotonic);
}
