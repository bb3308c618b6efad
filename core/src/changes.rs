//! The feed of changes, which ends copies early.

use std::fmt;
use std::sync::Arc;

use crate::cache::{Shard, Watch, Watcher};
use crate::error::Result;
use crate::key::Name;

/// An optional part of a store, that notifies of changes to what is stored for a service.
///
/// # Contract
/// Once a watcher was notified by [`restored`](ChangeWatcher::restored), it is notified of every later change in its service,
/// by anybody and through any handle, until it is notified by [`lost`](ChangeWatcher::lost). A store of several
/// servers notifies by either for each of them, and what changes on one that is lost may be missed.
pub trait ChangeFeed: Send + Sync {
    /// Notifies the watcher of every change in a service, until the [`Watch`] is dropped. The watcher starts out as lost.
    ///
    /// # Errors
    /// `Config` without a runtime, `Closed` after the store was closed.
    fn watch(&self, service: &Name, watcher: Arc<dyn ChangeWatcher>) -> Result<Watch>;
}

/// What is notified of changes. Called by the backend's reader: must not block, wait, or call the store.
pub trait ChangeWatcher: fmt::Debug + Send + Sync + 'static {
    /// What is stored under this name has changed or expired; what the names are is said by the store. May be called more
    /// than once for a change, for what was none, and for what this process did.
    fn changed(&self, name: &str);

    /// From now on changes may be missed. May be called of what is lost already.
    fn lost(&self);

    /// From now on no change is missed. What was copied before may be out of date.
    fn restored(&self);
}

/// For backends with a feed of changed keys, as that of a [`CacheStore`](crate::cache::CacheStore): passes them on by their names.
#[derive(Debug)]
pub struct ChangedKeys {
    watcher: Arc<dyn ChangeWatcher>,
    name_of: fn(&str) -> Option<&str>,
}

impl ChangedKeys {
    /// Passes on to this watcher what has a name.
    pub fn new(watcher: Arc<dyn ChangeWatcher>, name_of: fn(&str) -> Option<&str>) -> Self {
        Self { watcher, name_of }
    }
}

impl Watcher for ChangedKeys {
    fn changed(&self, key: &str) {
        if let Some(name) = (self.name_of)(key) {
            self.watcher.changed(name);
        }
    }

    fn lost(&self, _shard: Shard) {
        self.watcher.lost();
    }

    fn restored(&self, _shard: Shard) {
        self.watcher.restored();
    }
}
