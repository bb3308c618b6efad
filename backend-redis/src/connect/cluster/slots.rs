//! The map of slots to masters, with the way to each.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stanchion::time::Monotonic;

use super::address::{Address, NodeId, SLOTS};
use super::draw::Drawn;

/// A node that a redirect named is kept for so long at least: the map may be drawn several times in a second.
const NAMED_FOR: Duration = Duration::from_secs(5);

/// The masters, and which of them serves which slot.
#[derive(Debug)]
pub(super) struct SlotMap<N> {
    drawn: Drawn,
    masters: HashMap<Address, Master<N>>,
    // Of no map yet, or of none any more.
    named: HashMap<Address, Named<N>>,
    owners: Vec<Option<Arc<N>>>,
}

/// A master of the map.
#[derive(Debug)]
struct Master<N> {
    id: NodeId,
    cut_off: bool,
    node: Arc<N>,
}

/// A node that a redirect named.
#[derive(Debug)]
struct Named<N> {
    node: Arc<N>,
    /// Since then.
    used: AtomicBool,
    since: Monotonic,
}

impl<N> Default for SlotMap<N> {
    fn default() -> Self {
        let (drawn, masters, named) = (Drawn::default(), HashMap::new(), HashMap::new());
        Self { drawn, masters, named, owners: Vec::new() }
    }
}

impl<N> SlotMap<N> {
    /// As it was drawn. A slot of a master that is not among the nodes has no owner.
    pub(super) fn new(drawn: Drawn, nodes: &HashMap<Address, Arc<N>>) -> Self {
        let mut masters = HashMap::new();
        for (id, master) in &drawn.masters {
            if let Some(node) = nodes.get(&master.address) {
                let master_of = Master { id: id.clone(), cut_off: master.cut_off, node: Arc::clone(node) };
                masters.insert(master.address.clone(), master_of);
            }
        }
        let mut owners = vec![None; SLOTS];
        for (first, last, id) in &drawn.ranges {
            let node = drawn.masters.get(id).and_then(|master| nodes.get(&master.address));
            for owner in owners.iter_mut().take(usize::from(*last) + 1).skip(usize::from(*first)) {
                *owner = node.cloned();
            }
        }
        Self { drawn, masters, named: HashMap::new(), owners }
    }

    /// The nodes of the map before, which is this one, that redirects named stay if they were used lately.
    pub(super) fn keep_named(&mut self, before: &Self, now: Monotonic) {
        for (address, named) in
            before.named.iter().filter(|(address, _)| !self.masters.contains_key(*address))
        {
            let (is_recent, used) =
                (now.saturating_since(named.since) < NAMED_FOR, named.used.load(Ordering::Relaxed));
            let (used, since) = match (is_recent, used) {
                (true, used) => (used, named.since),
                (false, true) => (false, now),
                (false, false) => continue,
            };
            let (node, used) = (Arc::clone(&named.node), AtomicBool::new(used));
            self.named.insert(address.clone(), Named { node, used, since });
        }
    }

    /// What it was made of.
    pub(super) fn drawn(&self) -> &Drawn {
        &self.drawn
    }

    pub(super) fn has_named(&self) -> bool {
        !self.named.is_empty()
    }

    /// The node at this address, if it is known.
    pub(super) fn node(&self, address: &Address) -> Option<Arc<N>> {
        let master = self.masters.get(address).map(|master| &master.node);
        master.or_else(|| self.named.get(address).map(|named| &named.node)).cloned()
    }

    /// As [`node`](Self::node), to be used where a redirect names it.
    pub(super) fn named(&self, address: &Address) -> Option<Arc<N>> {
        if let Some(named) = self.named.get(address) {
            named.used.store(true, Ordering::Relaxed);
        }
        self.node(address)
    }

    /// All that are known, with the ids of those that are masters of the map.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (&Address, Option<&NodeId>, &Arc<N>)> {
        let masters = self.masters.iter().map(|(address, master)| (address, Some(&master.id), &master.node));
        masters.chain(self.named.iter().map(|(address, named)| (address, None, &named.node)))
    }

    /// The masters that are not cut off from the others, with their addresses.
    pub(super) fn connected(&self) -> impl Iterator<Item = (&Address, &NodeId, &Arc<N>)> {
        let connected = self.masters.iter().filter(|(_, master)| !master.cut_off);
        connected.map(|(address, master)| (address, &master.id, &master.node))
    }

    /// The addresses of those that are.
    pub(super) fn cut_off(&self) -> Vec<&Address> {
        self.masters.iter().filter(|(_, master)| master.cut_off).map(|(address, _)| address).collect()
    }

    /// The nodes of this map at whose addresses another master is in the next one.
    pub(super) fn replaced(&self, next: &Self) -> Vec<(Address, Arc<N>)> {
        let is_replaced = |(address, master): &(&Address, &Master<N>)| {
            self.masters.get(*address).is_some_and(|before| before.id != master.id)
        };
        let replaced = next.masters.iter().filter(is_replaced);
        replaced.map(|(address, master)| (address.clone(), Arc::clone(&master.node))).collect()
    }

    /// A node that a redirect named, unless there is one at this address already; answers the one that is kept.
    pub(super) fn add(&mut self, address: Address, node: Arc<N>, now: Monotonic) -> Arc<N> {
        if let Some(known) = self.named(&address) {
            return known;
        }
        let (used, since) = (AtomicBool::new(true), now);
        self.named.insert(address, Named { node: Arc::clone(&node), used, since });
        node
    }

    /// The master of a slot.
    pub(super) fn owner(&self, slot: u16) -> Option<Arc<N>> {
        self.owners.get(usize::from(slot)).cloned().flatten()
    }

    /// Of the masters that are usable, and not cut off, the one at this place, or else that of the lowest rank: the same each
    /// time, so that an order is kept.
    pub(super) fn any(
        &self,
        place: Option<&Address>,
        is_usable: impl Fn(&N) -> bool,
        rank: impl Fn(&Address) -> u64,
    ) -> Option<Arc<N>> {
        let usable = self.connected().filter(|(_, _, node)| is_usable(node));
        let first = usable.min_by_key(|(address, ..)| (Some(*address) != place, rank(address)));
        first.map(|(_, _, node)| Arc::clone(node))
    }
}

#[cfg(test)]
mod tests {
    use super::super::draw::Master;
    use super::*;

    fn address(port: u16) -> Address {
        ("host".to_owned(), port)
    }

    fn drawn(ranges: &[(u16, u16, u16)]) -> Drawn {
        let id = |port: u16| NodeId::from(format!("node {port}"));
        Drawn {
            ranges: ranges.iter().map(|(first, last, port)| (*first, *last, id(*port))).collect(),
            masters: ranges
                .iter()
                .map(|(_, _, port)| (id(*port), Master { address: address(*port), cut_off: false }))
                .collect(),
        }
    }

    fn map_of(drawn: Drawn) -> SlotMap<u16> {
        SlotMap::new(drawn, &[1, 2].map(|port| (address(port), Arc::new(port))).into())
    }

    fn map(ranges: &[(u16, u16, u16)]) -> SlotMap<u16> {
        map_of(drawn(ranges))
    }

    #[test]
    fn a_slot_belongs_to_the_master_of_its_range() {
        let map = map(&[(0, 49, 1), (50, 50, 3), (51, 99, 1), (100, 16_383, 2)]);
        let owner = |slot| map.owner(slot).map(|port| *port);
        assert_eq!([owner(0), owner(99), owner(100), owner(16_383)], [Some(1), Some(1), Some(2), Some(2)]);
        assert_eq!(owner(50), None, "its master is not among the nodes");
        assert_eq!(owner(16_384), None);
        assert!(SlotMap::<u16>::default().owner(0).is_none());
    }

    #[test]
    fn any_node_is_the_same_one_as_long_as_it_is_usable() {
        let mut drawn = drawn(&[(0, 0, 1), (1, 1, 2)]);
        let any = |map: &SlotMap<u16>, place: u16, down: u16| {
            let place = address(place);
            let any = map.any(Some(&place), |port| *port != down, |(_, port)| u64::from(*port));
            any.map(|port| *port)
        };
        let map = map_of(drawn.clone());
        assert_eq!([any(&map, 0, 0), any(&map, 0, 1), any(&map, 0, 2)], [Some(1), Some(2), Some(1)]);
        assert_eq!(
            [any(&map, 2, 0), any(&map, 2, 2)],
            [Some(2), Some(1)],
            "first where the subscriptions are"
        );
        for master in drawn.masters.values_mut() {
            master.cut_off = master.address == address(1);
        }
        let map = map_of(drawn);
        assert_eq!([any(&map, 1, 0), any(&map, 1, 2)], [Some(2), None], "never one that is cut off");
        assert_eq!(map.cut_off(), [&address(1)]);
    }

    #[test]
    fn a_node_that_was_named_is_added_once_and_kept_while_it_is_used() {
        let ranges = [(0, 0, 1), (1, 1, 2)];
        let at = |seconds| Monotonic::from_origin(Duration::from_secs(seconds));
        let mut first = map(&ranges);
        assert_eq!(*first.add(address(1), Arc::new(9), at(0)), 1);
        assert_eq!(*first.add(address(3), Arc::new(3), at(0)), 3);
        assert_eq!((first.nodes().count(), first.has_named()), (3, true));
        let any = first.any(Some(&address(3)), |_| true, |(_, port)| u64::from(*port)).unwrap();
        assert_eq!(*any, 1, "it is no master of the map");
        let after = |before: &SlotMap<u16>, seconds| {
            let mut next = map(&ranges);
            next.keep_named(before, at(seconds));
            next
        };
        let mut second = first;
        for seconds in 1..=5 {
            second = after(&second, seconds);
            assert!(second.node(&address(3)).is_some(), "used since it was named");
        }
        assert!(after(&second, 9).node(&address(3)).is_some(), "but it may still be");
        assert!(after(&second, 10).node(&address(3)).is_none(), "not used since then");
        assert!(second.named(&address(3)).is_some());
        assert!(after(&second, 10).node(&address(3)).is_some(), "it was");
    }

    #[test]
    fn another_master_at_an_address_is_noticed() {
        let first = map(&[(0, 0, 1), (1, 1, 2)]);
        assert!(first.replaced(&map(&[(0, 1, 1)])).is_empty() && first.replaced(&first).is_empty());
        let mut other = drawn(&[(0, 0, 1)]);
        other.masters = [("another".into(), Master { address: address(1), cut_off: false })].into();
        let replaced = first.replaced(&map_of(other));
        assert_eq!(replaced, [(address(1), Arc::new(1))]);
    }
}
