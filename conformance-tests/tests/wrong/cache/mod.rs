//! Wrong caches.

pub(crate) mod feed;
pub(crate) mod generation;
pub(crate) mod lease;
pub(crate) mod value;

use std::sync::Arc;

use stanchion::cache::CacheStore;

use crate::backend::Around;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    Value(value::Bug),
    Lease(lease::Bug),
    Generation(generation::Bug),
    Feed(feed::Bug),
}

/// The right cache behind the decorator that makes this mistake.
pub(crate) fn spoil(bug: Bug, right: Arc<dyn CacheStore>, around: &Around) -> Arc<dyn CacheStore> {
    match bug {
        Bug::Value(bug) => Arc::new(value::Wrong::new(bug, right)),
        Bug::Lease(bug) => Arc::new(lease::Wrong::new(bug, right, around)),
        Bug::Generation(bug) => Arc::new(generation::Wrong::new(bug, right)),
        Bug::Feed(bug) => Arc::new(feed::Wrong::new(bug, right, around)),
    }
}
