//! How many sessions a user may have.

/// What happens when a user who has this many live sessions opens another.
///
/// The count is per user and service, and is taken in the same atomic step that creates the session. The
/// backend's [`max_per_user`](super::SessionCapabilities::max_per_user) bounds every one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionLimit {
    /// The new session is refused.
    Reject(u32),
    /// The oldest sessions, by creation, make room.
    EvictOldest(u32),
    /// The sessions that were used longest ago make room.
    EvictLeastRecent(u32),
}

impl SessionLimit {
    /// The number of sessions.
    pub const fn count(self) -> u32 {
        match self {
            Self::Reject(n) | Self::EvictOldest(n) | Self::EvictLeastRecent(n) => n,
        }
    }
}
