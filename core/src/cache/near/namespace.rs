//! What a cache does when the generation of its namespace changes.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::generations::KnownGenerations;
use super::{Feed, InvalidationListener};
use crate::cache::store::{CacheStore, Shard, ShardSet, Tag, Watcher};

/// Receives the changes of the namespace's generation, which invalidate everything in it, and follows the feed of the shard that
/// holds it.
pub(in crate::cache) struct NamespaceListener {
    listener: Arc<InvalidationListener>,
    tag: Tag,
    generations: Option<Arc<KnownGenerations>>,
    /// It holds this listener, where it has a feed.
    store: Weak<dyn CacheStore>,
    up: Mutex<Up>,
}

#[derive(Debug)]
struct Up {
    shards: ShardSet,
    /// Where the generation was when that was last looked at.
    at: Shard,
}

impl NamespaceListener {
    pub(in crate::cache) fn new(
        listener: Arc<InvalidationListener>,
        tag: Tag,
        generations: Option<Arc<KnownGenerations>>,
        store: &Arc<dyn CacheStore>,
    ) -> Self {
        let up = Mutex::new(Up { shards: ShardSet::default(), at: store.shard_of(tag.key()) });
        Self { listener, tag, generations, store: Arc::downgrade(store), up }
    }

    /// The feed of this shard is up from now on, or is not.
    fn notified(&self, shard: Shard, is_up: bool) {
        // Held to the end, so that two notifications come one after the other.
        let mut up = self.up.lock().unwrap_or_else(PoisonError::into_inner);
        up.shards.set(shard, is_up);
        let before = up.at;
        if let Some(store) = self.store.upgrade() {
            up.at = store.shard_of(self.tag.key());
        }
        if shard != before && shard != up.at {
            return;
        }
        if !is_up {
            // Also where it has moved on: what was received of it may have ended before that.
            self.listener.feed_lost(Feed::Generation);
        }
        if up.shards.contains(up.at) {
            self.listener.feed_restored(Feed::Generation);
        }
    }
}

impl fmt::Debug for NamespaceListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NamespaceListener({})", self.tag)
    }
}

impl Watcher for NamespaceListener {
    fn changed(&self, key: &str) {
        if key != self.tag.key().as_str() {
            return;
        }
        // Whichever of the two listeners is notified first: else what is read in between would be kept under the
        // generation that is over.
        if let Some(generations) = &self.generations {
            generations.changed(key);
        }
        self.listener.namespace_changed();
    }

    fn lost(&self, shard: Shard) {
        self.notified(shard, false);
    }

    fn restored(&self, shard: Shard) {
        self.notified(shard, true);
    }
}
