//! The fence that keeps a near cache honest.
//!
//! Whoever reads the store to publish what it finds takes a snapshot first. An invalidation that is received in between
//! changes what the snapshot holds, and the publication is refused: an older value never outlives the invalidation by a
//! newer one, whichever of reply and invalidation is handled first. Loss of a shard's feed moves the epoch of that shard, which
//! makes every entry that was read from it unreadable in one step, and no other.

use std::hash::{BuildHasher, RandomState};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

#[cfg(not(all(test, fence_loom)))]
use std::sync::{Mutex, atomic::AtomicU64};

#[cfg(all(test, fence_loom))]
use loom::sync::{Mutex, atomic::AtomicU64};

use super::epoch::Epoch;
use crate::cache::store::Shard;

// The model needs each run to be the same, and the keys of its threads to meet.
const STRIPES: usize = if cfg!(all(test, fence_loom)) { 1 } else { 1_024 };
// It has two shards.
const SHARDS: usize = if cfg!(all(test, fence_loom)) { 2 } else { Shard::MOST };

/// How often the shard of a key is looked up that moves each time.
const LOOKS: usize = 3;

#[derive(Debug)]
pub(in crate::cache) struct Fence {
    /// Of each shard. Entries are published and read while it is up.
    epochs: [AtomicU64; SHARDS],
    stripes: Box<[Mutex<u64>]>,
    hasher: RandomState,
}

/// What was so of a key, as far as invalidations of it are concerned.
#[derive(Debug, Clone, Copy)]
pub(in crate::cache) struct Mark {
    stripe: usize,
    generation: u64,
}

/// What was so before the store was read.
#[derive(Debug, Clone, Copy)]
pub(in crate::cache) struct Snapshot {
    epoch: Epoch,
    mark: Mark,
}

impl Mark {
    /// Of an entry that was published in this epoch, and is to be published in it again.
    pub(in crate::cache) const fn within(self, epoch: Epoch) -> Snapshot {
        Snapshot { epoch, mark: self }
    }
}

impl Default for Fence {
    fn default() -> Self {
        // Away until the feed says otherwise.
        let mut shards = Shard::all();
        let epochs = std::array::from_fn(|_| {
            AtomicU64::new(Epoch::first(shards.next().unwrap_or(Shard::ONLY)).to_bits())
        });
        let stripes = (0..STRIPES).map(|_| Mutex::new(0)).collect();
        Self { epochs, stripes, hasher: RandomState::new() }
    }
}

impl Fence {
    fn stripe_of(&self, key: &str) -> usize {
        // The remainder of a number below 2^10 fits.
        usize::try_from(self.hasher.hash_one(key) % STRIPES as u64).unwrap_or_default()
    }

    fn cell(&self, shard: Shard) -> &AtomicU64 {
        // There is one for each number there can be; the model has fewer.
        &self.epochs[shard.index() % SHARDS]
    }

    fn epoch(&self, shard: Shard) -> Epoch {
        Epoch::from_bits(self.cell(shard).load(Ordering::Acquire))
    }

    /// Whether what was published in this epoch may be read: nothing was lost of its shard since.
    #[inline]
    pub(in crate::cache) fn is_current(&self, epoch: Epoch) -> bool {
        // Nothing is published in an epoch in which the shard is away.
        self.epoch(epoch.shard()) == epoch
    }

    /// To be taken before the invalidations are looked at that a later publication must not undo.
    pub(in crate::cache) fn mark(&self, key: &str) -> Mark {
        let stripe = self.stripe_of(key);
        Mark { stripe, generation: *self.stripes[stripe].lock().unwrap_or_else(PoisonError::into_inner) }
    }

    /// To be taken before the store is read. `shard_of` answers the shard of the key.
    pub(in crate::cache) fn snapshot(&self, key: &str, shard_of: impl Fn() -> Shard) -> Snapshot {
        let mut shard = shard_of();
        for _ in 0..LOOKS {
            // The epoch first: one that moves in between makes the snapshot stale, which is safe.
            let epoch = self.epoch(shard);
            // Once more: where the key has moved to another shard in between, that epoch may be one that began after the move,
            // and would let what is read from the other shard pass as of this one.
            let now = shard_of();
            if now == shard {
                return self.mark(key).within(epoch);
            }
            shard = now;
        }
        // It does not stay anywhere: nothing is published.
        self.mark(key).within(Epoch::first(shard))
    }

    /// Publishes what was read since the snapshot, unless an invalidation of the key, or of one that shares its
    /// stripe, was received, or the feed of its shard was away. `publish` is given the epoch.
    pub(in crate::cache) fn publish(&self, snapshot: Snapshot, publish: impl FnOnce(Epoch)) -> bool {
        let Snapshot { epoch, mark } = snapshot;
        let generation = self.stripes[mark.stripe].lock().unwrap_or_else(PoisonError::into_inner);
        if epoch.is_away() || !self.is_current(epoch) || mark.generation != *generation {
            return false;
        }
        // Under the lock of the stripe, so that an invalidation comes wholly before or wholly after. A change of
        // epoch makes the entry unreadable, whenever it comes.
        publish(epoch);
        true
    }

    /// Keeps what was read since the snapshot where it can't be published, unless an invalidation of the key was received. `keep`
    /// is given an epoch in which nothing is read. Whether it was called.
    pub(in crate::cache) fn keep(&self, snapshot: Snapshot, keep: impl FnOnce(Epoch)) -> bool {
        let Snapshot { epoch, mark } = snapshot;
        let generation = self.stripes[mark.stripe].lock().unwrap_or_else(PoisonError::into_inner);
        let is_unchanged = mark.generation == *generation;
        if is_unchanged {
            keep(epoch.kept());
        }
        is_unchanged
    }

    /// Whether the feed of the shard of an entry has been away since it was read, or since then, and nothing else has ended it.
    pub(in crate::cache) fn is_outage_of(&self, entry: Epoch) -> bool {
        self.epoch(entry.shard()).is_outage_of(entry)
    }

    /// An invalidation of the key was received; `remove` takes its entry out.
    pub(in crate::cache) fn invalidate(&self, key: &str, remove: impl FnOnce()) {
        let stripe = self.stripe_of(key);
        let mut generation = self.stripes[stripe].lock().unwrap_or_else(PoisonError::into_inner);
        *generation += 1;
        remove();
    }

    /// Makes every entry of every shard unreadable, one shard after the other.
    pub(in crate::cache) fn flush(&self) {
        for epoch in &self.epochs {
            epoch.fetch_add(Epoch::FLUSH, Ordering::AcqRel);
        }
    }

    pub(in crate::cache) fn is_up(&self, shard: Shard) -> bool {
        !self.epoch(shard).is_away()
    }

    /// The feed of this shard is away; whether it was up before.
    pub(in crate::cache) fn lost(&self, shard: Shard) -> bool {
        !Epoch::from_bits(self.cell(shard).fetch_or(Epoch::AWAY, Ordering::AcqRel)).is_away()
    }

    /// The feed of this shard is up, from now on.
    pub(in crate::cache) fn restored(&self, shard: Shard) {
        let cell = self.cell(shard);
        // By hand: the standard library is about to rename `fetch_update`, and the model has the old name only.
        let mut epoch = cell.load(Ordering::Acquire);
        while let Err(current) = cell.compare_exchange(
            epoch,
            (epoch | Epoch::AWAY) + Epoch::AWAY,
            Ordering::AcqRel,
            Ordering::Acquire,
        ) {
            epoch = current;
        }
    }
}

#[cfg(all(test, fence_loom))]
mod model;

#[cfg(all(test, not(fence_loom)))]
mod tests;
