//! What an event backend can take.

use std::time::Duration;

use crate::contract::{BaseCapabilities, Contract};
use crate::error::{Error, Result};

/// The bounds of an event backend, declared and checked before a call reaches its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventCapabilities {
    /// What every store declares.
    pub base: BaseCapabilities,
    /// The largest event, in bytes of its JSON form.
    pub max_event_bytes: usize,
}

impl EventCapabilities {
    /// Events of up to 1 MiB.
    pub const fn new(contract: Contract) -> Self {
        Self { base: BaseCapabilities::new(contract), max_event_bytes: 1024 * 1024 }
    }

    /// With a deadline for every call.
    #[must_use]
    pub const fn call_deadline(mut self, deadline: Duration) -> Self {
        self.base = self.base.call_deadline(deadline);
        self
    }

    /// With another cap on events.
    #[must_use]
    pub const fn max_event_bytes(mut self, bytes: usize) -> Self {
        self.max_event_bytes = bytes;
        self
    }

    /// Refuses an event over the cap.
    pub fn check_event(&self, bytes: usize) -> Result<()> {
        if bytes > self.max_event_bytes {
            return Err(Error::invalid(format!(
                "an event may have {} bytes, got {bytes}; publish less, or a reference to it",
                self.max_event_bytes
            )));
        }
        Ok(())
    }
}
