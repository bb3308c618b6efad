//! Which nodes are asked for the map, and in which order.

use std::collections::HashSet;

use stanchion::random::Random;

use super::address::Address;

/// Nodes to ask: first those that are connected, then seeds that are not known as nodes, both in random order, so that the
/// processes of a deployment don't all ask one node; at last the connected ones that cast doubt on the map, and seeds that are
/// known to be down.
pub(super) fn order(
    random: &dyn Random,
    connected: Vec<Address>,
    down: &HashSet<Address>,
    seeds: Vec<Address>,
    doubted: &HashSet<Address>,
) -> Vec<Address> {
    let known: HashSet<_> = connected.iter().cloned().collect();
    let seeds = seeds.into_iter().filter(|seed| !known.contains(seed));
    let (mut down, mut seeds): (Vec<_>, Vec<_>) = seeds.partition(|seed| down.contains(seed));
    let (mut doubted, mut order): (Vec<_>, Vec<_>) =
        connected.into_iter().partition(|address| doubted.contains(address));
    for part in [&mut order, &mut seeds, &mut doubted, &mut down] {
        shuffle(random, part);
    }
    order.append(&mut seeds);
    order.append(&mut doubted);
    order.append(&mut down);
    order
}

/// Without random bytes they stay as they are.
fn shuffle<T>(random: &dyn Random, items: &mut [T]) {
    for last in (1..items.len()).rev() {
        let mut bytes = [0; 4];
        if random.fill(&mut bytes).is_err() {
            return;
        }
        let other = usize::try_from(u32::from_le_bytes(bytes)).unwrap_or_default() % (last + 1);
        items.swap(last, other);
    }
}

/// Any number; without random bytes it is 0.
pub(super) fn number(random: &dyn Random) -> u64 {
    let mut bytes = [0; 8];
    random.fill(&mut bytes).map_or(0, |()| u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use stanchion::random::SeededRandom;

    use super::*;

    fn addresses(ports: &[u16]) -> Vec<Address> {
        ports.iter().map(|port| ("host".to_owned(), *port)).collect()
    }

    #[test]
    fn whoever_cast_the_doubt_is_asked_last_and_any_other_first() {
        let random = SeededRandom::new(7);
        let (doubted, down) = (addresses(&[2]).into_iter().collect(), addresses(&[5]).into_iter().collect());
        let mut firsts = HashSet::new();
        for _ in 0..100 {
            let order = order(&random, addresses(&[1, 2, 3, 4]), &down, addresses(&[5, 1, 6, 7]), &doubted);
            let ports: Vec<_> = order.iter().map(|(_, port)| *port).collect();
            assert_eq!((ports.len(), &ports[5..]), (7, &[2, 5][..]));
            assert!(ports[3..5].contains(&6) && ports[3..5].contains(&7), "{ports:?}");
            firsts.insert(ports[0]);
        }
        assert_eq!(firsts, [1, 3, 4].into());
    }

    #[test]
    fn where_nothing_is_known_the_seeds_are_asked() {
        let none = HashSet::new();
        let order = order(&SeededRandom::new(1), Vec::new(), &none, addresses(&[1]), &none);
        assert_eq!(order, addresses(&[1]));
    }
}
