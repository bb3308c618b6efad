//! Leases of what is in flight.

use std::time::Duration;

use crate::time::Ttl;

/// Asks for a place among those in flight, or for more time in one that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaseRequest {
    /// Who holds it: unique among all holders.
    pub holder: String,
    /// How many may be in flight.
    pub most: u32,
    /// When it ends by itself.
    pub life: Ttl,
    /// Whether the holder has it already, and asks for more time: then nothing is granted where it has ended.
    pub renews: bool,
}

impl LeaseRequest {
    /// Asks for a place.
    pub fn new(holder: impl Into<String>, most: u32, life: Ttl) -> Self {
        Self { holder: holder.into(), most, life, renews: false }
    }

    /// Asks for more time.
    #[must_use]
    pub fn renewing(self) -> Self {
        Self { renews: true, ..self }
    }
}

/// What came of asking for a place in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeaseOutcome {
    /// The place is held for another life.
    Leased {
        /// How many are in flight, with this one.
        in_flight: u32,
    },
    /// As many as may be are in flight.
    Full {
        /// When the first of them ends, if its holder does nothing. A place may be given back before.
        retry_after: Duration,
    },
    /// It was to be renewed, and has ended.
    Lost,
}
