//! The fence that keeps a near cache honest.
//!
//! Whoever reads the store to publish what it finds takes a snapshot first. An invalidation that is received in between
//! changes what the snapshot holds, and the publication is refused: an older value never outlives the invalidation by a
//! newer one, whichever of reply and invalidation is handled first. Loss of the feed moves the epoch, which makes every
//! entry unreadable in one step.

use std::hash::{BuildHasher, RandomState};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

#[cfg(not(all(test, fence_loom)))]
use std::sync::{Mutex, atomic::AtomicU64};

#[cfg(all(test, fence_loom))]
use loom::sync::{Mutex, atomic::AtomicU64};

// The model needs each run to be the same, and the keys of its threads to meet.
const STRIPES: usize = if cfg!(all(test, fence_loom)) { 1 } else { 1_024 };

/// Even while the feed is up: entries may be published and read. Odd while it is away.
#[derive(Debug)]
pub(in crate::cache) struct Fence {
    epoch: AtomicU64,
    stripes: Box<[Mutex<u64>]>,
    hasher: RandomState,
}

/// What was so before the store was read.
#[derive(Debug, Clone, Copy)]
pub(in crate::cache) struct Snapshot {
    epoch: u64,
    stripe: usize,
    generation: u64,
}

impl Default for Fence {
    fn default() -> Self {
        // Away until the feed says otherwise.
        let stripes = (0..STRIPES).map(|_| Mutex::new(0)).collect();
        Self { epoch: AtomicU64::new(1), stripes, hasher: RandomState::new() }
    }
}

impl Fence {
    fn stripe_of(&self, key: &str) -> usize {
        // The remainder of a number below 2^10 fits.
        usize::try_from(self.hasher.hash_one(key) % STRIPES as u64).unwrap_or_default()
    }

    /// The epoch in which entries are read, or `None` while the feed is away.
    #[inline]
    pub(in crate::cache) fn epoch(&self) -> Option<u64> {
        Some(self.epoch.load(Ordering::Acquire)).filter(|epoch| epoch % 2 == 0)
    }

    /// To be taken before the store is read.
    pub(in crate::cache) fn snapshot(&self, key: &str) -> Snapshot {
        let stripe = self.stripe_of(key);
        // The epoch first: one that moves in between makes the snapshot stale, which is safe.
        let epoch = self.epoch.load(Ordering::Acquire);
        let generation = *self.stripes[stripe].lock().unwrap_or_else(PoisonError::into_inner);
        Snapshot { epoch, stripe, generation }
    }

    /// Publishes what was read since the snapshot, unless an invalidation of the key, or of one that shares its
    /// stripe, was received, or the feed was away. `publish` is given the epoch.
    pub(in crate::cache) fn publish(&self, snapshot: Snapshot, publish: impl FnOnce(u64)) -> bool {
        let generation = self.stripes[snapshot.stripe].lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.epoch.load(Ordering::Acquire);
        if snapshot.epoch % 2 == 1 || snapshot.epoch != current || snapshot.generation != *generation {
            return false;
        }
        // Under the lock of the stripe, so that an invalidation comes wholly before or wholly after. A change of
        // epoch makes the entry unreadable, whenever it comes.
        publish(current);
        true
    }

    /// An invalidation of the key was received; `remove` takes its entry out.
    pub(in crate::cache) fn invalidate(&self, key: &str, remove: impl FnOnce()) {
        let stripe = self.stripe_of(key);
        let mut generation = self.stripes[stripe].lock().unwrap_or_else(PoisonError::into_inner);
        *generation += 1;
        remove();
    }

    /// Makes every entry unreadable.
    pub(in crate::cache) fn flush(&self) {
        self.epoch.fetch_add(2, Ordering::AcqRel);
    }

    /// The feed is away; whether it was up before.
    pub(in crate::cache) fn lost(&self) -> bool {
        self.epoch.fetch_or(1, Ordering::AcqRel).is_multiple_of(2)
    }

    /// The feed is up, from now on.
    pub(in crate::cache) fn restored(&self) {
        // By hand: the standard library is about to rename `fetch_update`, and the model has the old name only.
        let mut epoch = self.epoch.load(Ordering::Acquire);
        while let Err(current) =
            self.epoch.compare_exchange(epoch, (epoch | 1) + 1, Ordering::AcqRel, Ordering::Acquire)
        {
            epoch = current;
        }
    }
}

#[cfg(all(test, fence_loom))]
mod model;

#[cfg(all(test, not(fence_loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_before_an_invalidation_is_refused() {
        let fence = Fence::default();
        fence.restored();
        let (before, other) = (fence.snapshot("a"), fence.snapshot("a"));
        assert!(fence.publish(other, |_| ()));
        fence.invalidate("a", || ());
        assert!(!fence.publish(before, |_| ()));
        let after = fence.snapshot("a");
        assert!(fence.publish(after, |_| ()));
    }

    #[test]
    fn what_was_read_in_another_epoch_or_while_the_feed_was_away_is_refused() {
        let fence = Fence::default();
        assert_eq!(fence.epoch(), None);
        let away = fence.snapshot("a");
        fence.restored();
        assert!(!fence.publish(away, |_| ()));
        let up = fence.snapshot("a");
        let first = fence.epoch();
        fence.lost();
        fence.lost();
        assert_eq!(fence.epoch(), None);
        assert!(!fence.publish(up, |_| ()));
        let away = fence.snapshot("a");
        assert!(!fence.publish(away, |_| ()));
        fence.restored();
        assert!(fence.epoch() > first);
        assert!(!fence.publish(up, |_| ()) && !fence.publish(away, |_| ()));
        let up = fence.snapshot("a");
        fence.flush();
        assert!(!fence.publish(up, |_| ()));
        assert!(fence.epoch().is_some());
    }
}
