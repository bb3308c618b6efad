//! What a cache does when it receives invalidations.

use std::fmt;
use std::sync::Arc;

use super::echo::EchoProbe;
use super::{Feed, NearCache};
use crate::cache::keyspace::KeySpace;
use crate::cache::stats::Counts;
use crate::cache::store::{Shard, Watcher};
use crate::clock::Clock;
use crate::key::Key;

/// What depends on entries beside their near copies: loads in flight, and those who wait for another process's load.
pub(in crate::cache) trait Dependents: fmt::Debug + Send + Sync + 'static {
    /// An entry was written or removed, by anybody; also by a load that was stored.
    fn entry_changed(&self, key: &str, identifier: &str);

    /// This process begins to write or remove an entry, or has done so, other than by storing what it has loaded.
    fn own_change(&self, identifier: &str);

    /// Everything in the namespace may have changed.
    fn all_changed(&self);

    /// Changes may have been missed: whoever waits for one looks for itself.
    fn changes_missed(&self);
}

/// Receives the changes of a cache's entries, from the feed and from this process's own writes.
#[derive(Debug)]
pub(in crate::cache) struct InvalidationListener {
    near: Option<Arc<NearCache>>,
    dependents: Arc<dyn Dependents>,
    counts: Arc<Counts>,
    keys: KeySpace,
    echo: EchoProbe,
    clock: Arc<dyn Clock>,
}

impl InvalidationListener {
    pub(in crate::cache) fn new(
        near: Option<Arc<NearCache>>,
        dependents: Arc<dyn Dependents>,
        counts: Arc<Counts>,
        keys: KeySpace,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { near, dependents, counts, keys, echo: EchoProbe::new(Arc::clone(&clock)), clock }
    }

    /// Entries are about to be written by this process.
    pub(super) fn writing(&self, keys: &[Key]) {
        if let (Some(_), Some(first)) = (&self.near, keys.first()) {
            self.echo.writing(first.as_str());
        }
        for key in keys {
            self.own_change(key);
        }
    }

    /// Entries may have been written by this process.
    pub(super) fn written(&self, keys: &[Key]) {
        for key in keys {
            self.own_change(key);
            self.entry_changed(key.as_str());
        }
    }

    fn own_change(&self, key: &Key) {
        if let Some(identifier) = self.keys.identifier_in(key.as_str()) {
            self.dependents.own_change(identifier);
        }
    }

    /// The entry under this key was written or removed.
    fn entry_changed(&self, key: &str) {
        let Some(identifier) = self.keys.identifier_in(key) else {
            return;
        };
        if let Some(near) = &self.near {
            near.invalidate(identifier);
        }
        // Whoever asks from now on must not be served what was loaded before.
        self.dependents.entry_changed(key, identifier);
    }

    /// The near copy under this key may be out of date.
    pub(super) fn near_changed(&self, key: &str) {
        if let (Some(near), Some(identifier)) = (&self.near, self.keys.identifier_in(key)) {
            near.invalidate(identifier);
        }
    }

    /// Everything in the namespace was invalidated.
    pub(super) fn all_changed(&self) {
        if let Some(near) = &self.near {
            near.flush();
        }
        self.loads_changed();
    }

    /// Whoever asks from now on must not be served by a load that is in flight.
    pub(in crate::cache) fn loads_changed(&self) {
        self.dependents.all_changed();
    }

    /// The generation of the namespace has changed, by anybody.
    pub(super) fn namespace_changed(&self) {
        self.all_changed();
        if self.near.is_some() {
            self.counts.epoch_flushes.one();
        }
    }

    pub(super) fn feed_lost(&self, feed: Feed) {
        if self.near.as_ref().is_some_and(|near| near.lost(feed, self.clock.now())) {
            self.counts.epoch_flushes.one();
        }
        self.dependents.changes_missed();
    }

    pub(super) fn feed_restored(&self, feed: Feed) {
        if let Some(near) = &self.near {
            near.restored(feed);
        }
    }
}

impl Watcher for InvalidationListener {
    fn changed(&self, key: &str) {
        self.counts.invalidations.one();
        if let Some(lag) = self.echo.received(key) {
            self.counts.invalidation_lag.add(lag);
        }
        self.entry_changed(key);
    }

    fn lost(&self, shard: Shard) {
        self.feed_lost(Feed::Values(shard));
    }

    fn restored(&self, shard: Shard) {
        self.feed_restored(Feed::Values(shard));
        self.dependents.changes_missed();
    }
}
