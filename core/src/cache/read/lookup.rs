//! What a look at an entry finds.

use std::sync::Arc;
use std::time::Duration;

use crate::cache::near::Snapshot;
use crate::cache::stats::Count;
use crate::cache::store::Tag;
use crate::error::Error;
use crate::time::{Monotonic, Timestamp};

/// What was found under a key.
#[derive(Debug)]
pub(in crate::cache) enum Lookup<T> {
    /// A value that is fresh `until` then, by the store's time; `None`: it is known that there is none. `due`: it is to be
    /// loaded anew in the background. `unconfirmed`: a near copy, changes of which may have been missed for so long.
    Fresh { value: Option<Arc<T>>, due: bool, until: Timestamp, unconfirmed: Option<Duration> },
    /// A value that has been stale for so long.
    Stale { value: Option<Arc<T>>, age: Duration },
    /// No value. `present`: there are bytes all the same, which are unreadable, invalidated or too old, to be overwritten.
    Missing { present: bool },
    /// A value of a newer schema, which is not overwritten.
    NewerSchema,
    /// The store did not answer.
    Unavailable(Error),
}

/// What stored bytes are.
pub(in crate::cache) enum Assessment<T> {
    Done(Lookup<T>),
    /// The generations of these tags are needed to tell.
    NeedsGenerations(Vec<Tag>),
}

/// What is to be remembered from before the store is read.
#[derive(Debug, Clone, Copy)]
pub(in crate::cache) struct Before {
    pub(in crate::cache) near: Option<Snapshot>,
    pub(in crate::cache) tags_seen: u64,
    /// When the read began, where what it finds may be served while the store is away.
    pub(in crate::cache) began: Option<Monotonic>,
    /// Why it is a miss was counted before.
    pub(in crate::cache) again: bool,
}

impl Before {
    /// Counts why it is a miss, once.
    pub(super) fn count(self, count: &Count) {
        if !self.again {
            count.one();
        }
    }
}
