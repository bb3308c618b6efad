//! What connections are for.

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Commands,
    Subscriptions,
    Invalidations,
}
