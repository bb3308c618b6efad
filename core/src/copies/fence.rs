//! What a copy of a verdict depends on, and whether that is as it was.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::changes::ChangeWatcher;

const STRIPES: usize = 1_024;

/// Counts the changes of names, many names to one counter: a change ends the copies that depend on it, and some few others,
/// which costs each of those a trip.
///
/// A copy carries the counts from before its store was asked, and is good while they are the same. So a change that is
/// received while the store is asked, in whatever order its reply comes, is never undone by that reply.
#[derive(Debug)]
pub(super) struct Fence {
    /// Changes of everything.
    all: AtomicU64,
    stripes: Box<[AtomicU64]>,
    hasher: RandomState,
}

/// The counts on which one copy depends.
#[derive(Debug)]
pub(super) struct Seen {
    all: u64,
    stripes: Box<[(usize, u64)]>,
}

impl Default for Fence {
    fn default() -> Self {
        let stripes = (0..STRIPES).map(|_| AtomicU64::new(0)).collect();
        Self { all: AtomicU64::new(0), stripes, hasher: RandomState::new() }
    }
}

impl Fence {
    fn stripe(&self, name: &str) -> usize {
        // The remainder of a number below 2^10 fits.
        usize::try_from(self.hasher.hash_one(name) % STRIPES as u64).unwrap_or_default()
    }

    /// To be taken before the store is asked.
    pub(super) fn see(&self, names: &[String]) -> Seen {
        let all = self.all.load(Ordering::Acquire);
        let count = |name: &String| {
            let stripe = self.stripe(name);
            (stripe, self.stripes[stripe].load(Ordering::Acquire))
        };
        Seen { all, stripes: names.iter().map(count).collect() }
    }

    /// Anything may have changed.
    pub(super) fn all_changed(&self) {
        self.all.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether nothing of it has changed.
    pub(super) fn is_unchanged(&self, seen: &Seen) -> bool {
        self.all.load(Ordering::Acquire) == seen.all
            && seen
                .stripes
                .iter()
                .all(|(stripe, count)| self.stripes[*stripe].load(Ordering::Acquire) == *count)
    }
}

impl ChangeWatcher for Fence {
    fn changed(&self, name: &str) {
        self.stripes[self.stripe(name)].fetch_add(1, Ordering::AcqRel);
    }

    /// Copies are good for their age while the feed is away: that is what the age is for.
    fn lost(&self) {}

    /// What was copied until now may have missed a change.
    fn restored(&self) {
        self.all_changed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_any_name_ends_what_depends_on_it_and_not_what_does_not() {
        let fence = Fence::default();
        let name = |n: usize| vec![format!("jti:{n}"), "user:u1".to_owned()];
        let seen: Vec<_> = (0..100).map(|n| fence.see(&name(n))).collect();
        assert!(seen.iter().all(|seen| fence.is_unchanged(seen)));
        fence.changed("jti:7");
        assert!(!fence.is_unchanged(&seen[7]));
        let ended = seen.iter().filter(|seen| !fence.is_unchanged(seen)).count();
        assert!(ended < 10, "{ended} of 100 depend on one stripe of {STRIPES}");
        fence.changed("user:u1");
        assert!(seen.iter().all(|seen| !fence.is_unchanged(seen)));
    }

    #[test]
    fn all_ends_when_the_feed_comes_back_and_nothing_when_it_is_lost() {
        let fence = Fence::default();
        let seen = fence.see(&["jti:1".to_owned()]);
        fence.lost();
        assert!(fence.is_unchanged(&seen));
        fence.restored();
        assert!(!fence.is_unchanged(&seen));
    }
}
