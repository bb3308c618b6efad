//! Leases that this process holds; given back when nobody fills them.

use std::sync::Arc;

use super::{CacheStore, LeaseToken};
use crate::key::Key;
use crate::stores::Tasks;

/// Gives its leases back when it is dropped, unless they are [settled](Self::settle) before.
pub(super) struct LeaseGuard {
    store: Arc<dyn CacheStore>,
    tasks: Tasks,
    leases: Vec<(Key, LeaseToken)>,
}

impl LeaseGuard {
    pub(super) fn new(store: Arc<dyn CacheStore>, tasks: Tasks, leases: Vec<(Key, LeaseToken)>) -> Self {
        Self { store, tasks, leases }
    }

    /// The lease on this key is no longer held: it was filled, or voided by a write.
    pub(super) fn settle(&mut self, key: &Key) {
        self.leases.retain(|(held, _)| held != key);
    }
}

impl Drop for LeaseGuard {
    fn drop(&mut self) {
        if self.leases.is_empty() {
            return;
        }
        let (store, leases) = (Arc::clone(&self.store), std::mem::take(&mut self.leases));
        // Where it can't be given back, it runs out.
        let _ = self.tasks.spawn(async move { store.abandon(&leases).await });
    }
}
