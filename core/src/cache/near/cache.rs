//! A near cache: an engine behind a fence, gated by two feeds.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Fence, NearEngine, NearEntry, Snapshot};

/// Entries are read only while both the changes of values and those of the namespace's generation are told.
#[derive(Debug)]
pub(in crate::cache) struct Near {
    engine: Arc<dyn NearEngine>,
    fence: Fence,
    up: Mutex<Up>,
}

#[derive(Debug, Default)]
struct Up {
    values: bool,
    generation: bool,
}

/// Which of the two feeds.
#[derive(Debug, Clone, Copy)]
pub(in crate::cache) enum Feed {
    Values,
    Generation,
}

impl Near {
    pub(in crate::cache) fn new(engine: Arc<dyn NearEngine>) -> Self {
        Self { engine, fence: Fence::default(), up: Mutex::default() }
    }

    /// The entry under this identifier that may be read now; whether it is still fresh is the caller's to see.
    pub(in crate::cache) fn get(&self, identifier: &str) -> Option<NearEntry> {
        let entry = self.engine.get(identifier)?;
        // After the entry: an epoch that moves in between makes it unreadable.
        (self.fence.epoch() == Some(entry.epoch)).then_some(entry)
    }

    /// What was known last, even if something may have changed since: for when there is nothing else.
    pub(in crate::cache) fn last_resort(&self, identifier: &str) -> Option<NearEntry> {
        self.engine.get(identifier)
    }

    /// To be taken before the store is read.
    pub(in crate::cache) fn snapshot(&self, identifier: &str) -> Snapshot {
        self.fence.snapshot(identifier)
    }

    /// Publishes what was read since the snapshot, unless it may be out of date.
    pub(in crate::cache) fn publish(
        &self,
        identifier: &str,
        snapshot: Snapshot,
        mut entry: NearEntry,
    ) -> bool {
        self.fence.publish(snapshot, |epoch| {
            entry.epoch = epoch;
            self.engine.insert(identifier, entry);
        })
    }

    /// Puts an entry that may be read now in again, compared anew with its tags.
    pub(in crate::cache) fn renew(&self, identifier: &str, snapshot: Snapshot, entry: NearEntry) {
        self.fence.publish(snapshot, |_| self.engine.insert(identifier, entry));
    }

    /// The value has changed.
    pub(in crate::cache) fn invalidate(&self, identifier: &str) {
        self.fence.invalidate(identifier, || self.engine.remove(identifier));
    }

    /// Everything in the namespace was dropped.
    pub(in crate::cache) fn flush(&self) {
        self.fence.flush();
        self.engine.clear();
    }

    pub(in crate::cache) fn lost(&self, feed: Feed) {
        let mut up = self.up.lock().unwrap_or_else(PoisonError::into_inner);
        match feed {
            Feed::Values => up.values = false,
            Feed::Generation => up.generation = false,
        }
        self.fence.lost();
    }

    pub(in crate::cache) fn restored(&self, feed: Feed) {
        let mut up = self.up.lock().unwrap_or_else(PoisonError::into_inner);
        match feed {
            Feed::Values => up.values = true,
            Feed::Generation => up.generation = true,
        }
        if up.values && up.generation {
            self.fence.restored();
        }
    }

    pub(in crate::cache) fn entries(&self) -> u64 {
        self.engine.len()
    }
}
