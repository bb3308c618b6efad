//! Who is notified of changes of cached values, and of revocations.

use std::collections::HashMap;
use std::sync::Arc;

use stanchion::cache::{Shard, Watcher};
use stanchion::key::Namespace;

#[derive(Debug, Default)]
pub(crate) struct Watchers {
    by_namespace: HashMap<String, Vec<Watched>>,
    next: u64,
}

#[derive(Debug)]
struct Watched {
    number: u64,
    handle: u64,
    watcher: Arc<dyn Watcher>,
}

impl Watchers {
    /// Notifies this watcher from now on; answers the number to end it by.
    pub(crate) fn begin(&mut self, handle: u64, namespace: &Namespace, watcher: Arc<dyn Watcher>) -> u64 {
        self.next += 1;
        // No invalidation is ever missed here.
        watcher.restored(Shard::ONLY);
        let watched = Watched { number: self.next, handle, watcher };
        self.by_namespace.entry(namespace.to_string()).or_default().push(watched);
        self.next
    }

    pub(crate) fn end(&mut self, number: u64) {
        self.retain(|watched| watched.number != number);
    }

    pub(crate) fn end_all_of(&mut self, handle: u64) {
        for watched in self.by_namespace.values().flatten().filter(|watched| watched.handle == handle) {
            watched.watcher.lost(Shard::ONLY);
        }
        self.retain(|watched| watched.handle != handle);
    }

    fn retain(&mut self, keep: impl Fn(&Watched) -> bool) {
        self.by_namespace.retain(|_, watched| {
            watched.retain(&keep);
            !watched.is_empty()
        });
    }

    /// Notifies of a change; `key` is the whole text.
    pub(crate) fn changed(&self, key: &str) {
        if self.by_namespace.is_empty() {
            return;
        }
        // The namespace is the first two segments.
        let end = key.match_indices(':').nth(1).map_or(key.len(), |(at, _)| at);
        for watched in self.by_namespace.get(&key[..end]).into_iter().flatten() {
            watched.watcher.changed(key);
        }
    }
}
