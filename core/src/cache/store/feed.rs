//! The feed of invalidations, which keeps copies in this process from being stale.

use std::fmt;
use std::sync::Arc;

use super::Shard;
use crate::error::Result;
use crate::key::Namespace;

/// The optional part of a [`CacheStore`](super::CacheStore) that notifies of changes.
///
/// # Contract
/// Once a watcher was notified by [`restored`](Watcher::restored) of a [shard](Shard), it is notified of every later change of
/// those keys of its namespace that are [in that shard](super::CacheStore::shard_of), by anybody and by expiry of what was read,
/// until it is notified by [`lost`](Watcher::lost) of the same shard; a backend that can't notify of expiry leaves that to the
/// TTL. A shard that keys have moved away from is lost, and restored if changes of those that stayed are still notified.
pub trait CacheFeed: Send + Sync {
    /// Notifies the watcher of every change in a namespace, through any handle and by any other program, until the
    /// [`Watch`] is dropped. The watcher starts out as one for which every shard is [`lost`](Watcher::lost). Generations change in
    /// [`Tag::namespaces`](super::Tag::namespaces).
    ///
    /// # Errors
    /// `Config` without a runtime.
    fn watch(&self, namespace: &Namespace, watcher: Arc<dyn Watcher>) -> Result<Watch>;
}

/// What is notified of changes to entries. Called by the backend's reader: must not block, wait, or call the store;
/// [`shard_of`](super::CacheStore::shard_of) alone may be asked.
pub trait Watcher: fmt::Debug + Send + Sync + 'static {
    /// The entry under this key was written, removed or has expired, by anybody; the key as in
    /// [`Key::as_str`](crate::key::Key::as_str), always of the watched namespace. May be called more than once for a
    /// change, and also for a write of this process.
    fn changed(&self, key: &str);

    /// From now on changes of keys in this shard may be missed. Everything that was copied from it may be out of date. May be
    /// called of a shard that is lost already.
    fn lost(&self, shard: Shard);

    /// From now on no change of keys in this shard is missed. Called once at the beginning too; whatever was copied from it
    /// before may be out of date.
    fn restored(&self, shard: Shard);
}

/// A watcher's registration; dropping it ends the notifications.
#[must_use = "the watcher is notified of nothing more once this is dropped"]
pub struct Watch(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Watch {
    /// For backends: `end` runs when this is dropped.
    pub fn new(end: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(end)))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(end) = self.0.take() {
            end();
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}
