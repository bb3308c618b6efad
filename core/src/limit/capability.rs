//! What a rate-limit backend can take.

use std::time::Duration;

use crate::contract::{BaseCapabilities, Contract};
use crate::error::{Error, ErrorKind, Result};
use crate::limit::Tier;

/// The bounds of a rate-limit backend, declared and checked before a call reaches its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitCapabilities {
    /// What every store declares.
    pub base: BaseCapabilities,
    /// The most tiers of one limit; every backend takes 8.
    pub max_tiers: usize,
    /// The most leases in flight of one subject ([`RateLimiter::lease`](super::RateLimiter::lease)); `None` if there are none.
    pub max_leases: Option<u32>,
    /// Whether failed attempts are counted ([`RateLimiter::attempt`](super::RateLimiter::attempt)).
    pub attempts: bool,
}

impl LimitCapabilities {
    /// 8 tiers a limit, no leases, no attempts.
    pub const fn new(contract: Contract) -> Self {
        Self { base: BaseCapabilities::new(contract), max_tiers: 8, max_leases: None, attempts: false }
    }

    /// With at most so many leases of one subject.
    #[must_use]
    pub const fn max_leases(mut self, most: u32) -> Self {
        self.max_leases = Some(most);
        self
    }

    /// With failed attempts.
    #[must_use]
    pub const fn attempts(mut self) -> Self {
        self.attempts = true;
        self
    }

    /// With a deadline for every call.
    #[must_use]
    pub const fn call_deadline(mut self, deadline: Duration) -> Self {
        self.base = self.base.call_deadline(deadline);
        self
    }

    /// Refuses leases where there are none, and a number of them that is zero or over the bound.
    pub fn check_leases(&self, most: u32) -> Result<()> {
        match self.max_leases {
            None => Err(Error::new(ErrorKind::Unsupported, "the backend has no leases in flight")),
            Some(bound) if most == 0 || most > bound => {
                Err(Error::invalid(format!("1 to {bound} may be in flight, got {most}")))
            }
            Some(_) => Ok(()),
        }
    }

    /// Refuses to add more than [`Usage::MAX_EXTRA`](super::Usage::MAX_EXTRA) permits.
    pub fn check_added(permits: u32) -> Result<()> {
        if permits > Tier::MAX_COUNT {
            return Err(Error::invalid(format!(
                "at most {} permits can be added, got {permits}",
                Tier::MAX_COUNT
            )));
        }
        Ok(())
    }

    /// Refuses attempts where they are not counted.
    pub fn check_attempts(&self) -> Result<()> {
        if self.attempts {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unsupported, "the backend does not count attempts"))
    }

    /// Refuses no tiers, too many, and the same one twice; also two quotas of one calendar, which would share their count.
    pub fn check_tiers(&self, tiers: &[Tier]) -> Result<()> {
        if tiers.is_empty() || tiers.len() > self.max_tiers {
            return Err(Error::invalid(format!(
                "a rate limit takes 1 to {} tiers, got {}",
                self.max_tiers,
                tiers.len()
            )));
        }
        let same = |a: &Tier, b: &Tier| a == b || (a.calendar().is_some() && a.calendar() == b.calendar());
        if tiers.iter().enumerate().any(|(index, tier)| tiers[..index].iter().any(|other| same(tier, other)))
        {
            return Err(Error::invalid("a rate limit has the same tier twice"));
        }
        Ok(())
    }
}
