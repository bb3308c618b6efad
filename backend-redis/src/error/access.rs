//! Whether a command reads or writes.

use stanchion::Effect;

/// Whether a command only reads: then its failure has certainly changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

impl Access {
    /// The effect of a command that was sent and whose reply never came.
    pub(crate) fn unanswered(self) -> Effect {
        match self {
            Self::Read => Effect::NotApplied,
            Self::Write => Effect::Unknown,
        }
    }
}
