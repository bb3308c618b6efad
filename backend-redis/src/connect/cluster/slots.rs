//! The map of slots to masters.

use std::collections::HashMap;
use std::sync::Arc;

use crate::reply::SlotRange;

/// How many there are.
pub(super) const SLOTS: u16 = 16_384;

/// Host and port of a node.
pub(super) type Address = (String, u16);

/// The masters, and which of them serves which slot.
#[derive(Debug)]
pub(super) struct SlotMap<N> {
    nodes: HashMap<Address, Arc<N>>,
    owners: Vec<Option<Arc<N>>>,
}

impl<N> Default for SlotMap<N> {
    fn default() -> Self {
        Self { nodes: HashMap::new(), owners: Vec::new() }
    }
}

impl<N> SlotMap<N> {
    /// As these ranges say. A slot of a master that is not among the nodes has no owner.
    pub(super) fn new(nodes: HashMap<Address, Arc<N>>, ranges: &[SlotRange]) -> Self {
        let mut owners = vec![None; usize::from(SLOTS)];
        for (first, last, address) in ranges {
            for owner in owners.iter_mut().take(usize::from(*last) + 1).skip(usize::from(*first)) {
                *owner = nodes.get(address).cloned();
            }
        }
        Self { nodes, owners }
    }

    /// The node at this address, if it is known.
    pub(super) fn node(&self, address: &Address) -> Option<Arc<N>> {
        self.nodes.get(address).cloned()
    }

    /// All that are known.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (&Address, &Arc<N>)> {
        self.nodes.iter()
    }

    /// A node that a redirect named, unless there is one at this address already; answers the one that is kept.
    pub(super) fn add(&mut self, address: Address, node: Arc<N>) -> Arc<N> {
        Arc::clone(self.nodes.entry(address).or_insert(node))
    }

    /// The master of a slot.
    pub(super) fn owner(&self, slot: u16) -> Option<Arc<N>> {
        self.owners.get(usize::from(slot)).cloned().flatten()
    }

    /// Of the nodes that are usable the one of the lowest rank: the same each time, so that an order is kept.
    pub(super) fn any(
        &self,
        is_usable: impl Fn(&N) -> bool,
        rank: impl Fn(&Address) -> u64,
    ) -> Option<Arc<N>> {
        let usable = self.nodes.iter().filter(|(_, node)| is_usable(node));
        usable.min_by_key(|(address, _)| rank(address)).map(|(_, node)| Arc::clone(node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> Address {
        ("host".to_owned(), port)
    }

    fn map(ranges: &[SlotRange]) -> SlotMap<u16> {
        SlotMap::new([1, 2].map(|port| (address(port), Arc::new(port))).into(), ranges)
    }

    #[test]
    fn a_slot_belongs_to_the_master_of_its_range() {
        let map = map(&[(0, 99, address(1)), (100, 16_383, address(2)), (50, 50, address(3))]);
        let owner = |slot| map.owner(slot).map(|port| *port);
        assert_eq!([owner(0), owner(99), owner(100), owner(16_383)], [Some(1), Some(1), Some(2), Some(2)]);
        assert_eq!(owner(50), None, "its master is not known");
        assert_eq!(owner(16_384), None);
        assert!(SlotMap::<u16>::default().owner(0).is_none());
    }

    #[test]
    fn any_node_is_the_same_one_as_long_as_it_is_usable() {
        let map = map(&[]);
        let any = |down: u16| map.any(|port| *port != down, |(_, port)| u64::from(*port)).map(|port| *port);
        assert_eq!([any(0), any(1), any(2)], [Some(1), Some(2), Some(1)]);
    }

    #[test]
    fn a_node_is_added_once() {
        let mut map = map(&[]);
        assert_eq!(*map.add(address(1), Arc::new(9)), 1);
        assert_eq!(*map.add(address(3), Arc::new(3)), 3);
        assert_eq!(map.nodes().count(), 3);
    }
}
