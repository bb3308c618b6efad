//! What was done to calls at random, to be shown by a test that fails.

use std::fmt;
use std::time::Duration;

/// What happened to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InjectedOutcome {
    /// It was not made, and the caller was answered so: `Unavailable`, `NotApplied`.
    NotDone,
    /// It was made, and its reply was lost: `Unavailable`, with the effect `Unknown` if it may have changed something. Its own
    /// error, if it had one, was answered as it was.
    Lost,
    /// It was made so much later.
    Late(Duration),
    /// It was made at once, and answered so much later.
    LateReply(Duration),
}

/// A call to which something was done.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Injected {
    /// The [operation](crate::layer::Call::operation).
    pub operation: &'static str,
    /// Which of the calls of this operation it was, from 1.
    pub number: u64,
    /// What was done.
    pub outcome: InjectedOutcome,
}

impl Injected {
    /// How many are remembered.
    pub const KEPT: usize = 10_000;

    pub(super) const fn new(operation: &'static str, number: u64, outcome: InjectedOutcome) -> Self {
        Self { operation, number, outcome }
    }
}

impl fmt::Debug for Injected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} no. {}: {:?}", self.operation, self.number, self.outcome)
    }
}
