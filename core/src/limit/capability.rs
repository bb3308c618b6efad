//! What a rate-limit backend can take.

use std::time::Duration;

use crate::contract::{BaseCapabilities, Contract};
use crate::error::{Error, Result};
use crate::limit::Tier;

/// The bounds of a rate-limit backend, declared and checked before a call reaches its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitCapabilities {
    /// What every store declares.
    pub base: BaseCapabilities,
    /// The most tiers of one limit; every backend takes 8.
    pub max_tiers: usize,
}

impl LimitCapabilities {
    /// 8 tiers a limit.
    pub const fn new(contract: Contract) -> Self {
        Self { base: BaseCapabilities::new(contract), max_tiers: 8 }
    }

    /// With a deadline for every call.
    #[must_use]
    pub const fn call_deadline(mut self, deadline: Duration) -> Self {
        self.base = self.base.call_deadline(deadline);
        self
    }

    /// Refuses no tiers, too many, and the same one twice.
    pub fn check_tiers(&self, tiers: &[Tier]) -> Result<()> {
        if tiers.is_empty() || tiers.len() > self.max_tiers {
            return Err(Error::invalid(format!(
                "a rate limit takes 1 to {} tiers, got {}",
                self.max_tiers,
                tiers.len()
            )));
        }
        if tiers.iter().enumerate().any(|(index, tier)| tiers[..index].contains(tier)) {
            return Err(Error::invalid("a rate limit has the same tier twice"));
        }
        Ok(())
    }
}
