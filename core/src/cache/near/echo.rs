//! How long an invalidation takes to arrive: measured on this process's own writes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::time::Monotonic;

/// A write that has had no echo for so long has none: removing nothing is no change.
const LONGEST: Duration = Duration::from_secs(1);

/// A write of this process whose echo in the feed measures how long invalidations take. One write at a time is followed.
#[derive(Debug)]
pub(super) struct EchoProbe {
    clock: Arc<dyn Clock>,
    followed: Mutex<Option<(Box<str>, Monotonic)>>,
}

impl EchoProbe {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, followed: Mutex::default() }
    }

    /// An entry is about to be written by this process.
    pub(super) fn writing(&self, key: &str) {
        // Whoever meets another at the lock need not be followed.
        if let Ok(mut followed) = self.followed.try_lock() {
            let now = self.clock.now();
            if followed.as_ref().is_none_or(|(_, since)| now.saturating_since(*since) > LONGEST) {
                *followed = Some((key.into(), now));
            }
        }
    }

    /// An invalidation of this key was received. How long it took, if it is the echo of the write that is followed.
    pub(super) fn received(&self, key: &str) -> Option<Duration> {
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, since) = followed.take_if(|(written, _)| **written == *key)?;
        // After so long it is the echo of another write.
        Some(self.clock.now().saturating_since(since)).filter(|lag| *lag <= LONGEST)
    }
}
