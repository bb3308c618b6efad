//! How a master is lost.

/// What becomes of a master.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Planned,
    Killed,
}

impl Fault {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Killed => "killed",
        }
    }
}
