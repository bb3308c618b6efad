//! On a store without leases: keeps what was loaded before a change by this process from being stored after it.
//!
//! A change moves the fence before it is sent and once it is over: the store makes it at any time in between, so that a load
//! which is stored meanwhile can't know which of the two came first. A change by another process, or through another cache
//! that was built for the same kind, is not seen here: their stale fills are what leases are for. Nor does the feed of a near
//! cache move the fence, since it tells of a load that was stored as of any other change.

use crate::cache::near::{Fence, Snapshot};
use crate::cache::store::Shard;

/// A fence that every change through this cache moves.
#[derive(Debug)]
pub(super) struct WriteFence(Fence);

impl Default for WriteFence {
    fn default() -> Self {
        let fence = Fence::default();
        // There is no feed that could be away: this process knows its own changes, whatever shard they are in.
        fence.restored(Shard::ONLY);
        Self(fence)
    }
}

impl WriteFence {
    /// To be taken before the load.
    pub(super) fn snapshot(&self, identifier: &str) -> Snapshot {
        self.0.snapshot(identifier, || Shard::ONLY)
    }

    /// Whether nothing was changed since the snapshot.
    pub(super) fn is_unchanged(&self, snapshot: Snapshot) -> bool {
        self.0.publish(snapshot, |_| ())
    }

    /// A change of the entry begins, or is over.
    pub(super) fn changed(&self, identifier: &str) {
        self.0.invalidate(identifier, || ());
    }

    pub(super) fn all_changed(&self) {
        self.0.flush();
    }
}
