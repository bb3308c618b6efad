//! The loads of one cache that are in flight here or elsewhere, as far as they depend on entries that change.

use std::fmt;
use std::sync::Arc;

use super::failure::RecentLoads;
use super::lease_waiters::LeaseWaiters;
use super::single_flight::SingleFlight;
use super::write_fence::WriteFence;
use crate::cache::near::Dependents;

/// Loads in flight in this process, waiters for those of other processes, and on a store without leases what keeps a load
/// from being stored over a later change by this process.
pub(in crate::cache) struct LoadsInFlight<T> {
    pub(super) flights: Arc<SingleFlight<T>>,
    pub(super) waiters: Arc<LeaseWaiters>,
    pub(super) recent: RecentLoads,
    /// `None` where leases do the same for the whole deployment.
    pub(super) writes: Option<WriteFence>,
}

impl<T> LoadsInFlight<T> {
    pub(in crate::cache) fn new(has_leases: bool) -> Self {
        Self {
            flights: Arc::default(),
            waiters: Arc::default(),
            recent: RecentLoads::default(),
            writes: (!has_leases).then(WriteFence::default),
        }
    }
}

impl<T> fmt::Debug for LoadsInFlight<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.flights.fmt(f)
    }
}

impl<T: Send + Sync + 'static> Dependents for LoadsInFlight<T> {
    fn entry_changed(&self, key: &str, identifier: &str) {
        self.flights.detach(key);
        self.waiters.wake(identifier);
    }

    fn own_change(&self, identifier: &str) {
        // The next load is another matter.
        self.recent.forget(identifier);
        if let Some(writes) = &self.writes {
            writes.changed(identifier);
        }
    }

    fn all_changed(&self) {
        self.flights.detach_all();
        self.recent.forget_all();
        if let Some(writes) = &self.writes {
            writes.all_changed();
        }
    }

    fn changes_missed(&self) {
        self.waiters.wake_all();
    }
}
