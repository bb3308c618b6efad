//! What a session backend can take.

/// The bounds of a session backend, declared and checked before a call reaches its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionCapabilities {
    /// The largest total of field names and values of one session, in bytes, for one call.
    pub max_data_bytes: usize,
    /// The most live sessions of one user.
    pub max_per_user: u32,
}

impl SessionCapabilities {
    /// 256 KiB of data a call, 1,000 sessions a user.
    pub const fn new() -> Self {
        Self { max_data_bytes: 256 * 1024, max_per_user: 1_000 }
    }
}

impl Default for SessionCapabilities {
    fn default() -> Self {
        Self::new()
    }
}
