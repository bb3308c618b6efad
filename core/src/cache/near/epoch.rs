//! What an entry was published in: the shard that its value was read from, and how often that was lost before.

use crate::cache::store::Shard;

/// An epoch of one shard, in one number, so that a hit compares it with a single load: the shard in the lowest byte, a bit that
/// says that its feed is away, and above these a count. None is ever had twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Epoch(u64);

impl Epoch {
    /// Set while the feed of the shard is away.
    pub(super) const AWAY: u64 = 1 << 8;

    /// Added to end an epoch and begin another.
    pub(super) const FLUSH: u64 = 2 * Self::AWAY;

    /// Set in that of an entry which is not read, and kept as the last that is known.
    const KEPT: u64 = 1 << 63;

    /// Of an entry that no fence has let pass: equal to no epoch of a shard.
    pub(super) const NONE: Self = Self(Self::KEPT | Self::AWAY);

    /// Before the feed of this shard has been up.
    pub(super) fn first(shard: Shard) -> Self {
        Self(u64::from(shard.number()) | Self::AWAY)
    }

    pub(super) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(super) const fn to_bits(self) -> u64 {
        self.0
    }

    pub(super) const fn is_away(self) -> bool {
        self.0 & Self::AWAY != 0
    }

    /// Of an entry that was read in this epoch and may not be read again: equal to no epoch of a shard.
    pub(super) const fn kept(self) -> Self {
        Self(self.0 | Self::KEPT)
    }

    pub(super) const fn is_kept(self) -> bool {
        self.0 & Self::KEPT != 0
    }

    /// Whether the feed of the shard is away in this epoch, and was lost in that of an entry or before it, and nothing has
    /// ended all entries since.
    pub(super) const fn is_outage_of(self, entry: Self) -> bool {
        self.is_away() && self.0 == (entry.0 & !Self::KEPT) | Self::AWAY
    }

    pub(super) const fn shard(self) -> Shard {
        // The lowest byte.
        Shard::new(self.0.to_le_bytes()[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shard_stays_whatever_becomes_of_the_epoch() {
        for shard in Shard::all() {
            let first = Epoch::first(shard);
            assert!(first.is_away() && first.shard() == shard);
            let up = Epoch::from_bits(first.to_bits() + Epoch::AWAY);
            let flushed = Epoch::from_bits(up.to_bits() + Epoch::FLUSH);
            assert!(!up.is_away() && !flushed.is_away() && up != flushed);
            assert_eq!((up.shard(), flushed.shard()), (shard, shard));
            // What was read before the loss, and during it.
            let lost = Epoch::from_bits(up.to_bits() | Epoch::AWAY);
            assert!(lost.is_outage_of(up) && lost.is_outage_of(lost.kept()) && lost.is_outage_of(up.kept()));
            assert!(!up.is_outage_of(up) && !lost.is_outage_of(flushed) && !lost.is_outage_of(Epoch::NONE));
            let again = Epoch::from_bits(lost.to_bits() + Epoch::AWAY);
            assert!(
                !again.is_outage_of(up) && again != up && lost.kept() != lost && lost.kept().shard() == shard
            );
        }
        assert!(Epoch::NONE.is_away() && Shard::all().all(|shard| Epoch::first(shard) != Epoch::NONE));
    }
}
