//! Which shard each slot is in: the number of the master that serves it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use stanchion::cache::Shard;

use crate::connect::masters::{MASTER_SHARDS, UNSERVED};
use crate::connect::target::Target;

/// The numbers of the masters, by their labels, and the shard of each slot. A master keeps its number for as long as it is known;
/// of more than there are numbers some share one.
#[derive(Debug, Default)]
pub(super) struct Shards(RwLock<Table>);

#[derive(Debug, Default)]
struct Table {
    numbers: HashMap<Arc<str>, Shard>,
    slots: Vec<Shard>,
}

/// What has become of the shards.
pub(super) struct Followed {
    /// The masters, each with its shard.
    pub(super) masters: Vec<(Target, Shard)>,
    /// The shards that slots have left.
    pub(super) left: HashSet<Shard>,
}

impl Shards {
    /// The shard of a slot.
    pub(super) fn of_slot(&self, slot: u16) -> Shard {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        table.slots.get(usize::from(slot)).copied().unwrap_or(UNSERVED)
    }

    /// The shard of a master.
    pub(super) fn of_master(&self, label: &str) -> Shard {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        table.numbers.get(label).copied().unwrap_or(UNSERVED)
    }

    /// From now on these are the masters, and the owners of the slots in their order.
    pub(super) fn follow(
        &self,
        masters: Vec<Target>,
        owners: impl Iterator<Item = Option<Arc<str>>>,
    ) -> Followed {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        table.numbers.retain(|label, _| masters.iter().any(|master| master.label() == label));
        let masters: Vec<_> = masters
            .into_iter()
            .map(|master| {
                let shard = table.number(master.label());
                (master, shard)
            })
            .collect();
        let slots: Vec<_> =
            owners.map(|owner| owner.and_then(|label| table.numbers.get(&label).copied())).collect();
        let slots: Vec<_> = slots.into_iter().map(|shard| shard.unwrap_or(UNSERVED)).collect();
        let moved = table.slots.iter().zip(&slots).filter(|(was, is)| was != is && **was != UNSERVED);
        let left = moved.map(|(was, _)| *was).collect();
        table.slots = slots;
        Followed { masters, left }
    }
}

impl Table {
    /// The number of a master, the first that is free if it has none yet.
    fn number(&mut self, label: &Arc<str>) -> Shard {
        if let Some(shard) = self.numbers.get(label) {
            return *shard;
        }
        let taken: HashSet<_> = self.numbers.values().copied().collect();
        let shared = self.numbers.len() % MASTER_SHARDS.count();
        let free = MASTER_SHARDS.map(Shard::new).find(|shard| !taken.contains(shard));
        let shard = free.or_else(|| MASTER_SHARDS.map(Shard::new).nth(shared)).unwrap_or(UNSERVED);
        self.numbers.insert(Arc::clone(label), shard);
        shard
    }
}

#[cfg(test)]
mod tests {
    use redis::IntoConnectionInfo;

    use super::*;

    fn target(port: u16) -> Target {
        Target::one(format!("redis://host:{port}").into_connection_info().unwrap())
    }

    fn label(port: u16) -> Option<Arc<str>> {
        (port > 0).then(|| Arc::clone(target(port).label()))
    }

    /// These masters; the slots are those of these, in their order.
    fn follow(shards: &Shards, masters: &[u16], owners: &[u16]) -> HashSet<Shard> {
        shards.follow(masters.iter().copied().map(target).collect(), owners.iter().copied().map(label)).left
    }

    #[test]
    fn a_slot_is_in_the_shard_of_its_master_which_keeps_its_number() {
        let shards = Shards::default();
        assert_eq!(shards.of_slot(0), UNSERVED);
        assert!(follow(&shards, &[1, 2], &[1, 1, 2, 0]).is_empty());
        let (one, two) = (shards.of_slot(0), shards.of_slot(2));
        assert!(one != two && ![one, two].contains(&UNSERVED));
        assert_eq!((shards.of_slot(1), shards.of_slot(3), shards.of_slot(9)), (one, UNSERVED, UNSERVED));
        assert_eq!(shards.of_master("host:2"), two);
        // One more, to which nothing has moved yet.
        assert!(follow(&shards, &[3, 2, 1], &[1, 1, 2, 0]).is_empty());
        assert_eq!((shards.of_slot(0), shards.of_slot(2)), (one, two));
        assert!(![one, two, UNSERVED].contains(&shards.of_master("host:3")));
    }

    #[test]
    fn the_shards_that_slots_have_left_are_named() {
        let shards = Shards::default();
        follow(&shards, &[1, 2], &[1, 1, 2, 0]);
        let (one, two) = (shards.of_slot(0), shards.of_slot(2));
        assert_eq!(
            follow(&shards, &[1, 2], &[1, 2, 2, 1]),
            [one].into(),
            "nobody served the last one before"
        );
        assert_eq!(follow(&shards, &[2], &[0, 2, 2, 0]), [one].into());
        // Its number may be another's now.
        assert!(follow(&shards, &[2, 4], &[4, 2, 2, 0]).is_empty());
        assert_eq!(shards.of_slot(1), two);
    }

    #[test]
    fn of_too_many_masters_some_share_a_number() {
        let shards = Shards::default();
        let masters: Vec<u16> = (1..=300).collect();
        follow(&shards, &masters, &masters);
        let numbers: Vec<_> = (0..300).map(|slot| shards.of_slot(slot)).collect();
        assert!(numbers.iter().all(|shard| MASTER_SHARDS.map(Shard::new).any(|one| one == *shard)));
        let distinct: HashSet<_> = numbers.into_iter().collect();
        assert_eq!(distinct.len(), MASTER_SHARDS.count());
    }
}
