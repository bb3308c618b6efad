//! Leases that this process holds, or may hold; released when nobody fills them.

use std::collections::HashMap;
use std::sync::Arc;

use crate::cache::store::{CacheStore, LeaseRequest, LeaseToken, Release};
use crate::environment::Tasks;
use crate::error::{Effect, Error, ErrorKind};
use crate::key::Key;

/// Releases its leases when it is dropped, unless they are [settled](Self::settle) before.
pub(in crate::cache) struct LeaseGuard {
    store: Arc<dyn CacheStore>,
    tasks: Tasks,
    leases: HashMap<LeaseToken, Key>,
}

impl LeaseGuard {
    /// To be made before the leases are asked for: whoever is dropped, or gives up, before the answer has come may hold
    /// them without knowing.
    pub(in crate::cache) fn of(
        store: &Arc<dyn CacheStore>,
        tasks: &Tasks,
        requests: &[LeaseRequest],
    ) -> Self {
        let leases = requests.iter().map(|request| (request.token, request.key.clone())).collect();
        Self { store: Arc::clone(store), tasks: tasks.clone(), leases }
    }

    /// The request for this lease failed: where it can't have been granted, there is nothing to be released.
    pub(in crate::cache) fn refused(&mut self, token: LeaseToken, error: &Error) {
        if error.effect() == Effect::NotApplied && error.kind() != ErrorKind::Timeout {
            self.settle(token);
        }
    }

    /// Takes this lease over into a guard of its own, that has the same store.
    pub(in crate::cache) fn split(&mut self, token: LeaseToken) -> Self {
        let leases = self.leases.remove_entry(&token).into_iter().collect();
        Self { store: Arc::clone(&self.store), tasks: self.tasks.clone(), leases }
    }

    /// Takes the leases of another guard over.
    pub(in crate::cache) fn join(&mut self, mut other: Self) {
        self.leases.extend(other.leases.drain());
    }

    /// The leases that are held.
    pub(in crate::cache) fn held(&self) -> impl Iterator<Item = (&Key, LeaseToken)> {
        self.leases.iter().map(|(token, key)| (key, *token))
    }

    /// This lease is not held: it was not granted, was filled, or was voided by a write.
    pub(in crate::cache) fn settle(&mut self, token: LeaseToken) {
        self.leases.remove(&token);
    }

    fn release_all(&self, leases: Vec<Release>) {
        if leases.is_empty() {
            return;
        }
        let store = Arc::clone(&self.store);
        // One that can't be released runs out.
        let _ = self.tasks.spawn_last(async move {
            match store.leases() {
                Some(held) => held.release(&leases).await,
                None => Ok(()),
            }
        });
    }
}

impl Drop for LeaseGuard {
    fn drop(&mut self) {
        let leases = self.leases.drain().map(|(token, key)| Release::new(key, token)).collect();
        self.release_all(leases);
    }
}
