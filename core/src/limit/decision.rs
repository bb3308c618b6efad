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

/// Who has decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum DecidedBy {
    /// The store, for all processes together.
    #[default]
    Store,
    /// This process, which was denied the same by the store and remembers it: see
    /// [`LimitsBuilder::remember_denials`](super::LimitsBuilder::remember_denials).
    DenyCopy,
    /// This process alone, by its share of the limit, since the store is away: see [`OnOutage::Local`](super::OnOutage::Local).
    Local,
    /// The limiter's setting for a store that is away: everything is allowed, and nothing was counted.
    Open,
    /// The limiter's setting for a store that is away: everything is denied.
    Closed,
}

/// What came of asking for permits.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a denied request must not be served"]
pub enum Decision {
    /// The permits were taken, from every tier.
    #[non_exhaustive]
    Allowed {
        /// What is left in each tier afterwards, in their order; none where nothing was counted ([`DecidedBy::Open`]).
        tiers: Vec<TierStatus>,
        /// Who says so.
        by: DecidedBy,
    },
    /// At least one tier has too few; nothing was taken from any.
    #[non_exhaustive]
    Denied {
        /// The same request is allowed after this long, if nobody else takes permits first. Never too short.
        retry_after: Duration,
        /// The index of the tier that is exhausted for longest.
        tier: usize,
        /// What is left in each tier, in their order; none where nothing was counted ([`DecidedBy::Closed`]).
        tiers: Vec<TierStatus>,
        /// Who says so.
        by: DecidedBy,
    },
    /// The request asks for more than a tier's whole burst: it can never be allowed, and nothing was taken.
    CostExceedsCapacity {
        /// The index of the first such tier.
        tier: usize,
    },
}

impl Decision {
    /// Allowed by the store, for backends.
    pub const fn allowed(tiers: Vec<TierStatus>) -> Self {
        Self::Allowed { tiers, by: DecidedBy::Store }
    }

    /// Denied by the store, for backends.
    pub const fn denied(retry_after: Duration, tier: usize, tiers: Vec<TierStatus>) -> Self {
        Self::Denied { retry_after, tier, tiers, by: DecidedBy::Store }
    }

    pub(super) fn by(mut self, decided_by: DecidedBy) -> Self {
        if let Self::Allowed { by, .. } | Self::Denied { by, .. } = &mut self {
            *by = decided_by;
        }
        self
    }

    /// What a denial is a while after it was answered.
    pub(super) fn after(mut self, passed: Duration) -> Self {
        if let Self::Denied { retry_after, tiers, .. } = &mut self {
            *retry_after = retry_after.saturating_sub(passed);
            for status in tiers {
                status.next_in = status.next_in.saturating_sub(passed);
                status.full_in = status.full_in.saturating_sub(passed);
            }
        }
        self
    }

    /// Whether the permits were taken.
    pub const fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed { .. })
    }

    /// Who has decided. That a cost is over a burst needs no store.
    pub const fn decided_by(&self) -> DecidedBy {
        match self {
            Self::Allowed { by, .. } | Self::Denied { by, .. } => *by,
            Self::CostExceedsCapacity { .. } => DecidedBy::Store,
        }
    }

    /// What is left in each tier, where it was counted.
    pub fn tiers(&self) -> &[TierStatus] {
        match self {
            Self::Allowed { tiers, .. } | Self::Denied { tiers, .. } => tiers,
            Self::CostExceedsCapacity { .. } => &[],
        }
    }

    /// When to try again, if denied.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Denied { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }
}

/// What came of asking for as many permits as there are.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "no more permits than these were taken"]
pub struct Grant {
    /// How many were taken; may be none.
    pub permits: u32,
    /// What is left in each tier afterwards, in their order.
    pub tiers: Vec<TierStatus>,
}

impl Grant {
    /// A grant, for backends.
    pub const fn new(permits: u32, tiers: Vec<TierStatus>) -> Self {
        Self { permits, tiers }
    }

    /// How long until one more permit can be taken from every tier; zero if there is one now.
    pub fn next_in(&self) -> Duration {
        let waits = self.tiers.iter().filter(|tier| tier.remaining == 0).map(|tier| tier.next_in);
        waits.max().unwrap_or_default()
    }
}
