//! The two ways in which near caches are notified of changes.

/// How near caches are notified that cached values have changed.
///
/// The same for all services of a deployment, and recorded in it: a service that is set otherwise can't connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Invalidation {
    /// The server sends the invalidations (`CLIENT TRACKING`): of every change, whoever makes it, and of expiry.
    #[default]
    Tracking,
    /// Each write of this library publishes the key that it changes. For servers that refuse tracking. Changes by other
    /// programs, `FLUSHALL` and expiry send no invalidation: a near cache serves what it has until its TTL is over.
    Bus,
}

impl Invalidation {
    /// As it is recorded in the deployment.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Tracking => "tracking",
            Self::Bus => "bus",
        }
    }

    /// The one of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Tracking, Self::Bus].into_iter().find(|invalidation| invalidation.as_str() == name)
    }
}
