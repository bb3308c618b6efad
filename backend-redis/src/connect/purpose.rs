//! What connections are for.

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Commands,
    Subscriptions,
    Invalidations,
    Sentinels,
}

impl Purpose {
    /// As in metrics and logs, and in the names of connections.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Commands => "commands",
            Self::Subscriptions => "subscriptions",
            Self::Invalidations => "invalidations",
            Self::Sentinels => "sentinels",
        }
    }
}
