//! What a cache does when it is told of changes.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::flight::Flights;
use super::mirror::Mirrored;
use super::near::{Feed, Near};
use super::stats::Counts;
use super::waiters::Waiters;
use super::{Tag, Watcher};
use crate::clock::Clock;
use crate::time::Monotonic;

/// Everything in this process that a change of an entry concerns: the near copy, the load under way, and those who
/// wait for another process's load.
pub(super) struct Told<T> {
    pub(super) near: Option<Near>,
    pub(super) flights: Arc<Flights<T>>,
    pub(super) waiters: Arc<Waiters>,
    pub(super) counts: Arc<Counts>,
    /// How many bytes of a key come before the identifier.
    pub(super) stem: usize,
    pub(super) clock: Arc<dyn Clock>,
    /// A write of this process whose echo measures how long news takes.
    pub(super) probe: Mutex<Option<(Box<str>, Monotonic)>>,
}

/// A write that has had no echo for so long has none: removing nothing is no news.
const ECHO: Duration = Duration::from_secs(1);

impl<T> fmt::Debug for Told<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Told").field("near", &self.near).finish_non_exhaustive()
    }
}

impl<T> Told<T> {
    /// An entry is about to be written by this process. One write at a time is followed.
    pub(super) fn writing(&self, key: &str) {
        if self.near.is_none() {
            return;
        }
        if let Ok(mut probe) = self.probe.try_lock() {
            let now = self.clock.now();
            if probe.as_ref().is_none_or(|(_, since)| now.saturating_since(*since) > ECHO) {
                *probe = Some((key.into(), now));
            }
        }
    }

    fn heard(&self, key: &str) {
        let mut probe = self.probe.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, since)) = probe.take_if(|(written, _)| **written == *key) {
            let lag = self.clock.now().saturating_since(since);
            // After so long it is the echo of another write.
            if lag <= ECHO {
                self.counts.invalidation_lag.add(lag);
            }
        }
    }

    /// The entry under this key was written or removed.
    pub(super) fn entry_changed(&self, key: &str) {
        let Some(identifier) = key.get(self.stem..) else {
            return;
        };
        if let Some(near) = &self.near {
            near.invalidate(identifier);
        }
        // Whoever asks from now on must not be served what was loaded before.
        self.flights.detach(key);
        self.waiters.wake(identifier);
    }

    fn lost(&self, feed: Feed) {
        if self.near.as_ref().is_some_and(|near| near.lost(feed)) {
            self.counts.epoch_flushes.one();
        }
        self.waiters.wake_all();
    }
}

impl<T: Send + Sync + 'static> Watcher for Told<T> {
    fn changed(&self, key: &str) {
        self.counts.invalidations.one();
        self.heard(key);
        self.entry_changed(key);
    }

    fn lost(&self) {
        self.lost(Feed::Values);
    }

    fn restored(&self) {
        if let Some(near) = &self.near {
            near.restored(Feed::Values);
        }
        self.waiters.wake_all();
    }
}

/// Told of the generation of the namespace: what drops everything in it.
pub(super) struct NamespaceTold<T> {
    pub(super) told: Arc<Told<T>>,
    pub(super) tag: Tag,
    pub(super) mirrored: Option<Arc<Mirrored>>,
}

impl<T> fmt::Debug for NamespaceTold<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NamespaceTold({})", self.tag)
    }
}

impl<T> NamespaceTold<T> {
    fn flush(told: &Told<T>) {
        if let Some(near) = &told.near {
            near.flush();
        }
        told.flights.detach_all();
    }
}

/// Passes over the near copies of everything when this process has cleared the cache, whatever becomes of that: reply,
/// error or a dropped future.
pub(super) struct OwnClear<'a, T>(pub(super) &'a Told<T>);

impl<T> Drop for OwnClear<'_, T> {
    fn drop(&mut self) {
        NamespaceTold::flush(self.0);
    }
}

impl<T: Send + Sync + 'static> Watcher for NamespaceTold<T> {
    fn changed(&self, key: &str) {
        if key == self.tag.key().as_str() {
            // Whoever is told first: else what is read meanwhile would be kept under the generation that is over.
            if let Some(mirrored) = &self.mirrored {
                mirrored.changed(key);
            }
            Self::flush(&self.told);
            if self.told.near.is_some() {
                self.told.counts.epoch_flushes.one();
            }
        }
    }

    fn lost(&self) {
        self.told.lost(Feed::Generation);
    }

    fn restored(&self) {
        if let Some(near) = &self.told.near {
            near.restored(Feed::Generation);
        }
    }
}
