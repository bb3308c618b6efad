//! What a rate limiter answers.

use std::time::Duration;

/// What is left to a subject in one tier. All durations are rounded up to the microsecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TierStatus {
    /// Permits that could be taken right now.
    pub remaining: u32,
    /// How long until one more permit than [`remaining`](Self::remaining) is there; zero at full capacity.
    pub next_in: Duration,
    /// How long until the whole burst is there again.
    pub full_in: Duration,
}

impl TierStatus {
    /// A status, for backends.
    pub const fn new(remaining: u32, next_in: Duration, full_in: Duration) -> Self {
        Self { remaining, next_in, full_in }
    }
}

/// What came of asking for permits.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a denied request must not be served"]
pub enum Decision {
    /// The permits were taken, from every tier.
    Allowed {
        /// What is left in each tier afterwards, in their order.
        tiers: Vec<TierStatus>,
    },
    /// At least one tier has too few; nothing was taken from any.
    Denied {
        /// The same request is allowed after this long, if nobody else takes permits first. Never too short.
        retry_after: Duration,
        /// The index of the tier that is exhausted for longest.
        tier: usize,
        /// What is left in each tier, in their order.
        tiers: Vec<TierStatus>,
    },
    /// The request asks for more than a tier's whole burst: it can never be allowed, and nothing was taken.
    CostExceedsCapacity {
        /// The index of the first such tier.
        tier: usize,
    },
}

impl Decision {
    /// Whether the permits were taken.
    pub const fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed { .. })
    }

    /// When to try again, if denied.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Denied { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }
}
