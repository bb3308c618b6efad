//! Which loads a loader runs within, so that one that waits for its own load is found.
//!
//! A loader may ask for other values, whose loaders may ask for others again. If one of them asks for a value whose load
//! waits for it, neither would ever end. What waits for what is followed along the tasks that loads run in: a loader that
//! spawns a task of its own and asks in that leaves the chain, and is bounded by the waiter's timeout alone.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::key::Key;

tokio::task_local! {
    /// The load whose loader runs in this task.
    static WITHIN: Arc<Link>;
}

/// The number of a load, of all caches of the process.
pub(super) type LoadNumber = u64;

/// A new number, greater than all before.
pub(super) fn next_number() -> LoadNumber {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A load, and the one whose loader began it.
struct Link {
    number: LoadNumber,
    /// Which store its keys are in.
    store: usize,
    keys: HashSet<Key>,
    outer: Option<Arc<Link>>,
}

/// The loads whose loaders wait for what is asked for here; none outside of loaders.
#[derive(Clone, Default)]
pub(super) struct Chain(Option<Arc<Link>>);

impl Chain {
    /// Of this task.
    pub(super) fn current() -> Self {
        Self(WITHIN.try_with(Arc::clone).ok())
    }

    /// Whether one of these loads is of this key.
    pub(super) fn contains(&self, store: usize, key: &Key) -> bool {
        let mut link = self.0.as_ref();
        while let Some(load) = link {
            if load.store == store && load.keys.contains(key) {
                return true;
            }
            link = load.outer.as_ref();
        }
        false
    }

    /// With one more load inside of these.
    pub(super) fn with(self, number: LoadNumber, store: usize, keys: Vec<Key>) -> Self {
        // A batch within a batch looks for each of its own.
        let keys = keys.into_iter().collect();
        Self(Some(Arc::new(Link { number, store, keys, outer: self.0 })))
    }

    /// Runs a loader within these loads.
    pub(super) async fn scope<F: Future>(self, loader: F) -> F::Output {
        match self.0 {
            Some(link) => WITHIN.scope(link, loader).await,
            None => loader.await,
        }
    }

    /// From now on the innermost of these loads waits for another; `None` if that one waits for one of these.
    pub(super) fn wait_for(&self, number: LoadNumber) -> Option<Waits> {
        let Some(link) = &self.0 else { return Some(Waits(None)) };
        let mut waits = waits();
        let mut open = vec![number];
        let mut seen = BTreeSet::new();
        while let Some(load) = open.pop() {
            if self.has(load) {
                return None;
            }
            if seen.insert(load) {
                open.extend(waits.get(&load).into_iter().flatten());
            }
        }
        waits.entry(link.number).or_default().push(number);
        Some(Waits(Some((link.number, number))))
    }

    fn has(&self, number: LoadNumber) -> bool {
        let mut link = self.0.as_ref();
        while let Some(load) = link {
            if load.number == number {
                return true;
            }
            link = load.outer.as_ref();
        }
        false
    }
}

/// Which load waits for which others; of loads within loaders alone.
fn waits() -> MutexGuard<'static, BTreeMap<LoadNumber, Vec<LoadNumber>>> {
    static WAITS: Mutex<BTreeMap<LoadNumber, Vec<LoadNumber>>> = Mutex::new(BTreeMap::new());
    WAITS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// That one load waits for another, until this is dropped.
pub(super) struct Waits(Option<(LoadNumber, LoadNumber)>);

impl Drop for Waits {
    fn drop(&mut self) {
        let Some((from, to)) = self.0 else { return };
        let mut waits = waits();
        if let Some(others) = waits.get_mut(&from) {
            if let Some(place) = others.iter().position(|other| *other == to) {
                others.swap_remove(place);
            }
            if others.is_empty() {
                waits.remove(&from);
            }
        }
    }
}
