//! What connections are for.

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Commands,
    /// Large batches.
    Bulk,
    /// The renewal of locks.
    Renewals,
    Subscriptions,
    Invalidations,
    Sentinels,
}

impl Purpose {
    /// As in metrics and logs, and in the names of connections.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Commands => "commands",
            Self::Bulk => "bulk",
            Self::Renewals => "renewals",
            Self::Subscriptions => "subscriptions",
            Self::Invalidations => "invalidations",
            Self::Sentinels => "sentinels",
        }
    }

    /// Where it is down its requests go by the connection for commands.
    pub(super) const fn has_substitute(self) -> bool {
        matches!(self, Self::Bulk | Self::Renewals)
    }
}
