//! Who follows which servers are masters.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock, Weak};

use stanchion::cache::Shard;

use super::target::Target;
use crate::copies::COPIES;

/// The shards that are masters of a Cluster; those above are groups of [generations](crate::copies).
pub(crate) const MASTER_SHARDS: RangeInclusive<u8> = 1..=239;

/// On a Cluster, the shard of what no master is known to serve: it is never up.
pub(crate) const UNSERVED: Shard = Shard::ONLY;

/// The masters, and what has changed about them.
#[derive(Debug)]
pub(crate) struct Masters<'a> {
    /// Each with the shard that it is.
    pub(crate) all: &'a [(Target, Shard)],
    /// The shards that slots have left: what was read from them may change elsewhere from now on.
    pub(crate) left: &'a HashSet<Shard>,
    /// For each group of generations the shards of its copies; none where there are no copies.
    pub(crate) copies: &'a Vec<[Shard; COPIES]>,
}

/// Follows the masters. It knows of each before the first command is sent there.
pub(crate) trait MasterObserver: Send + Sync + 'static {
    /// These are the masters from now on. Must not wait, nor call the client.
    fn masters_changed(&self, masters: &Masters<'_>);

    /// A command for one shard is being sent to another, which serves a slot of it by now, or is about to. Before it is sent.
    fn redirected(&self, from: Shard, to: Shard);

    /// A call had no reply in time: a connection may be dead.
    fn call_timed_out(&self);
}

/// The one observer of a backend, once there is one.
#[derive(Default)]
pub(super) struct Observed(OnceLock<Weak<dyn MasterObserver>>);

impl Observed {
    /// There is one for the life of the backend: a second is not taken.
    pub(super) fn set(&self, observer: Weak<dyn MasterObserver>) {
        let _ = self.0.set(observer);
    }

    pub(super) fn observer(&self) -> Option<Arc<dyn MasterObserver>> {
        self.0.get().and_then(Weak::upgrade)
    }
}
