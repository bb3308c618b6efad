//! What a lock backend can take.

use std::time::Duration;

use crate::contract::{BaseCapabilities, Contract};

/// The bounds of a lock backend, declared and checked before a call reaches its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockCapabilities {
    /// What every store declares.
    pub base: BaseCapabilities,
}

impl LockCapabilities {
    /// A backend of this contract.
    pub const fn new(contract: Contract) -> Self {
        Self { base: BaseCapabilities::new(contract) }
    }

    /// With a deadline for every call.
    #[must_use]
    pub const fn call_deadline(mut self, deadline: Duration) -> Self {
        self.base = self.base.call_deadline(deadline);
        self
    }
}
