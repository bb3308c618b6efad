//! What one reply does for the requests that wait.

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    /// So many callers have been replied to.
    pub(super) replied: usize,
    /// The next reply is to another request.
    pub(super) done: bool,
}
