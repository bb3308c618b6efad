//! On a store without leases: keeps what was loaded before a change by this process from being stored after it.
//!
//! A change by another process is not seen here: its stale fill is what leases are for.

use crate::cache::near::{Fence, Snapshot};

/// A fence that every change by this process moves.
#[derive(Debug)]
pub(super) struct WriteFence(Fence);

impl Default for WriteFence {
    fn default() -> Self {
        let fence = Fence::default();
        // There is no feed that could be away: this process knows its own changes.
        fence.restored();
        Self(fence)
    }
}

impl WriteFence {
    /// To be taken before the load.
    pub(super) fn snapshot(&self, identifier: &str) -> Snapshot {
        self.0.snapshot(identifier)
    }

    /// Whether nothing was changed since the snapshot.
    pub(super) fn is_unchanged(&self, snapshot: Snapshot) -> bool {
        self.0.publish(snapshot, |_| ())
    }

    pub(super) fn changed(&self, identifier: &str) {
        self.0.invalidate(identifier, || ());
    }

    pub(super) fn all_changed(&self) {
        self.0.flush();
    }
}
