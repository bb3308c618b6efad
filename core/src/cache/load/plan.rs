//! What is known before a load, and what it is for.

use std::sync::Arc;
use std::time::Duration;

use crate::cache::read::Lookup;
use crate::time::{Monotonic, Timestamp};

/// Which value that is found before the load makes it needless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cache) enum SkipIf {
    /// A fresh one: somebody else was quicker.
    Fresh,
    /// A fresh one that is another than the one that is fresh until then, which is to be loaded anew before its end.
    FreshOtherThan(Timestamp),
    /// None: it is loaded whatever is there.
    Never,
}

/// Whether what is loaded is to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cache) enum Storing {
    Yes,
    /// No: a value of a newer schema is there, which is not overwritten.
    NewerSchema,
    /// No: the store does not answer.
    Unavailable,
}

/// For whom a load runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cache) enum LoadKind {
    /// A caller waits for it.
    Foreground,
    /// The caller was served already.
    Background,
}

/// What is known before a load, and what it is for.
pub(in crate::cache) struct LoadPlan<T> {
    /// Served if the load fails or is slow: the value, and for how long it has been stale.
    pub(in crate::cache) stale: Option<(Option<Arc<T>>, Duration)>,
    /// There are bytes to be overwritten.
    pub(in crate::cache) present: bool,
    pub(in crate::cache) storing: Storing,
    pub(in crate::cache) skip_if: SkipIf,
    /// Whether the knowledge that there is no value is an answer.
    pub(in crate::cache) absence: bool,
    pub(in crate::cache) kind: LoadKind,
    /// Until when another process's lease is waited for.
    pub(super) lease_until: Option<Monotonic>,
    /// When the load has to end, and after how long a time that is said to be.
    pub(super) end: Option<(Monotonic, Duration)>,
}

impl<T> Clone for LoadPlan<T> {
    fn clone(&self) -> Self {
        Self { stale: self.stale.clone(), ..*self }
    }
}

/// What becomes of a load when a value is found before it.
pub(super) enum Decision<T> {
    Load,
    /// The load is needless.
    Serve(Option<Arc<T>>),
    /// The value is of a newer schema: what is loaded is not to be stored.
    LeaveAlone,
}

impl<T> LoadPlan<T> {
    /// A load for a caller who found nothing.
    pub(in crate::cache) const fn foreground(absence: bool) -> Self {
        Self {
            stale: None,
            present: false,
            storing: Storing::Yes,
            skip_if: SkipIf::Fresh,
            absence,
            kind: LoadKind::Foreground,
            lease_until: None,
            end: None,
        }
    }

    /// A load for a caller who wants the value loaded anew, whatever is there.
    pub(in crate::cache) fn refresh() -> Self {
        Self { present: true, skip_if: SkipIf::Never, ..Self::foreground(false) }
    }

    /// A load of what was served, and is there.
    pub(super) fn background(absence: bool, skip_if: SkipIf) -> Self {
        Self { present: true, skip_if, kind: LoadKind::Background, ..Self::foreground(absence) }
    }

    /// Whether the caller is served also if the load fails.
    pub(super) fn is_dispensable(&self) -> bool {
        self.stale.is_some() || self.kind == LoadKind::Background
    }

    /// What a value that was found all the same means for the load.
    pub(super) fn decide(&self, found: Lookup<T>) -> Decision<T> {
        match (found, self.skip_if) {
            (Lookup::NewerSchema, _) => Decision::LeaveAlone,
            (Lookup::Fresh { .. }, SkipIf::Never) => Decision::Load,
            (Lookup::Fresh { until, .. }, SkipIf::FreshOtherThan(known)) if is_same_life(until, known) => {
                Decision::Load
            }
            (Lookup::Fresh { value, .. }, _) if self.absence || value.is_some() => Decision::Serve(value),
            _ => Decision::Load,
        }
    }
}

/// Whether two ends are of one life. That of a plain value follows from what is left to it when it is read, and so is
/// known to within a trip.
fn is_same_life(one: Timestamp, other: Timestamp) -> bool {
    const TRIP: Duration = Duration::from_millis(100);
    one.saturating_since(other).max(other.saturating_since(one)) <= TRIP
}
