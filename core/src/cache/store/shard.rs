//! The parts of a store that fail on their own.

use std::fmt;

#[cfg(doc)]
use super::{CacheStore, Watcher};

/// A part of a store that fails on its own, with all the keys that it holds: a master of a Cluster. A store that fails as a
/// whole is [one](Self::ONLY).
///
/// Shards are what a cache keeps its state by: the near copies of a shard's keys are readable while the
/// [feed](super::CacheFeed) of that shard is up, and its circuit breaker opens for those keys alone. At most
/// [`MOST`](Self::MOST) are told apart; stores with more have some of them share a number, and so their fate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(u8);

impl Shard {
    /// How many shards are told apart.
    pub const MOST: usize = 256;

    /// The shard of a store that fails as a whole.
    pub const ONLY: Self = Self(0);

    /// The shard of this number. Where it stays with what it names, for as long as that is part of the store, is for
    /// the backend to see to.
    pub const fn new(number: u8) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Its place in a table of [`MOST`](Self::MOST).
    pub(in crate::cache) fn index(self) -> usize {
        usize::from(self.0)
    }

    /// All there can be.
    pub(in crate::cache) fn all() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).map(Self)
    }
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shard({})", self.0)
    }
}

/// A set of shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::cache) struct ShardSet([u64; Shard::MOST / 64]);

impl ShardSet {
    pub(in crate::cache) fn contains(&self, shard: Shard) -> bool {
        self.0[shard.index() / 64] & (1 << (shard.index() % 64)) != 0
    }

    /// The shard is in it from now on, or is not.
    pub(in crate::cache) fn set(&mut self, shard: Shard, is_in: bool) {
        let (word, bit) = (&mut self.0[shard.index() / 64], 1 << (shard.index() % 64));
        if is_in { *word |= bit } else { *word &= !bit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_each_shard_by_itself() {
        let mut set = ShardSet::default();
        for shard in Shard::all() {
            assert!(!set.contains(shard));
            set.set(shard, true);
            assert!(set.contains(shard), "{shard:?}");
        }
        set.set(Shard::new(64), false);
        assert_eq!(Shard::all().filter(|shard| !set.contains(*shard)).collect::<Vec<_>>(), [Shard::new(64)]);
    }
}
