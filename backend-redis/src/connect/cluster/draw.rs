//! Which map is drawn from what several nodes say.
//!
//! A slot belongs to the master with the greatest configuration epoch of those that claim it, as among the nodes themselves:
//! after a failover the map of one node that knows of it is newer than that of any number that don't. What a node that is cut
//! off from most masters says is passed over, whatever its epochs, and so is what a master is said to serve that says otherwise
//! itself. Only where that leaves several (epochs are not known, or are the same) the majority decides.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};

use super::address::{Address, NodeId, SLOTS};
use super::view::{Claim, View};

/// A map of slots as it was drawn.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Drawn {
    /// First and last slot, and their master; in order, and as long as can be.
    pub(super) ranges: Vec<(u16, u16, NodeId)>,
    pub(super) masters: BTreeMap<NodeId, Master>,
}

/// A master that serves slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Master {
    pub(super) address: Address,
    /// It is cut off from most masters: nothing that is published there reaches the others.
    pub(super) cut_off: bool,
}

/// Why there is nothing to draw from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfit {
    /// Nobody says who serves any slot.
    NoSlots,
    /// Whoever replied is cut off from most masters.
    CutOff,
}

/// How a map differs from the one before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Change {
    #[default]
    None,
    /// More masters are cut off, or have failed; else it is the same.
    Failed,
    Other,
}

/// Draws the map from what several nodes say. `current` is the one in use, empty before the first.
///
/// If whoever replied is cut off, that is the current map, with them marked.
pub(super) fn draw(views: &[View], current: &Drawn) -> Result<Drawn, Unfit> {
    let views = of_one_cluster(views, current);
    let (cut_off, views): (Vec<_>, Vec<_>) = views.into_iter().partition(|view| view.is_cut_off());
    let cut_off: HashSet<&NodeId> = cut_off.iter().filter_map(|view| view.me.as_ref()).collect();
    if views.is_empty() {
        return match (cut_off.is_empty(), current.masters.is_empty()) {
            (false, false) => Ok(current.with_cut_off(&cut_off)),
            (false, true) => Err(Unfit::CutOff),
            (true, _) => Err(Unfit::NoSlots),
        };
    }
    let ranges = ranges(&views, current);
    if ranges.is_empty() {
        return Err(Unfit::NoSlots);
    }
    let mut masters = BTreeMap::new();
    for (_, _, id) in &ranges {
        if let Some(address) = address_of(id, &views, current) {
            let cut_off = cut_off.contains(id) || most_say_it_has_failed(id, &views);
            masters.insert(id.clone(), Master { address, cut_off });
        }
    }
    Ok(Drawn { ranges, masters })
}

impl Drawn {
    fn with_cut_off(&self, cut_off: &HashSet<&NodeId>) -> Self {
        let mut drawn = self.clone();
        for (id, master) in &mut drawn.masters {
            master.cut_off |= cut_off.contains(id);
        }
        drawn
    }

    /// How this one differs from the one before.
    pub(super) fn change_since(&self, before: &Self) -> Change {
        let marked: HashSet<_> =
            self.masters.iter().filter(|(_, master)| master.cut_off).map(|(id, _)| id).collect();
        match self == before {
            true => Change::None,
            false if *self == before.with_cut_off(&marked) => Change::Failed,
            false => Change::Other,
        }
    }

    fn by_slot(&self) -> Vec<Option<&NodeId>> {
        let mut slots = vec![None; SLOTS];
        for (first, last, id) in &self.ranges {
            let range = slots.iter_mut().take(usize::from(*last) + 1).skip(usize::from(*first));
            range.for_each(|slot| *slot = Some(id));
        }
        slots
    }
}

/// Those that serve slots, and speak of the Cluster that is known; or of that which the first speaks of, if none does. An
/// address may have come to a node of another one.
fn of_one_cluster<'a>(views: &'a [View], current: &Drawn) -> Vec<&'a View> {
    let serving: Vec<_> = views.iter().filter(|view| !view.claims.is_empty()).collect();
    let known: HashSet<_> = current.masters.keys().collect();
    let mut ids = known;
    if !serving.iter().any(|view| view.knows_one_of(&ids)) {
        ids = serving.first().map(|view| view.ids()).unwrap_or_default();
    }
    serving.into_iter().filter(|view| view.knows_one_of(&ids)).collect()
}

fn ranges(views: &[&View], current: &Drawn) -> Vec<(u16, u16, NodeId)> {
    let places: HashMap<&NodeId, usize> =
        views.iter().enumerate().filter_map(|(at, view)| Some((view.me.as_ref()?, at))).collect();
    let (claims, owners): (Vec<_>, _) =
        (views.iter().map(|view| view.by_slot()).collect(), current.by_slot());
    let mut ranges: Vec<(u16, u16, NodeId)> = Vec::new();
    for slot in 0..SLOTS {
        let said: Vec<&Claim> = claims.iter().filter_map(|view| view[slot]).collect();
        // A master knows best what it does not serve.
        let confirmed = |claim: &&Claim| {
            let own = places.get(&claim.owner).map(|at| claims[*at][slot]);
            own.is_none_or(|own| own.is_some_and(|own| own.owner == claim.owner))
        };
        let confirmed: Vec<&Claim> = said.iter().copied().filter(confirmed).collect();
        let said = if confirmed.is_empty() { said } else { confirmed };
        let newest = said.iter().max_by_key(|claim| {
            let votes = said.iter().filter(|other| other.owner == claim.owner).count();
            (claim.epoch, votes, owners[slot] == Some(&claim.owner), Reverse(&claim.owner))
        });
        let (Some(newest), Ok(slot)) = (newest, u16::try_from(slot)) else { continue };
        match ranges.last_mut() {
            Some((_, last, id)) if *last + 1 == slot && *id == newest.owner => *last = slot,
            _ => ranges.push((slot, slot, newest.owner.clone())),
        }
    }
    ranges
}

/// The address that most give; of several that which is known, and else the first.
fn address_of(id: &NodeId, views: &[&View], current: &Drawn) -> Option<Address> {
    let given: Vec<&Address> = views
        .iter()
        .filter_map(|view| view.claims.iter().find(|claim| claim.owner == *id).map(|claim| &claim.address))
        .collect();
    let known = current.masters.get(id).map(|master| &master.address);
    let votes = |address: &Address| given.iter().filter(|other| **other == address).count();
    let best = given
        .iter()
        .enumerate()
        .max_by_key(|(at, address)| (votes(address), Some(**address) == known, Reverse(*at)));
    best.map(|(_, address)| (*address).clone())
}

fn most_say_it_has_failed(id: &NodeId, views: &[&View]) -> bool {
    let said: Vec<bool> = views.iter().filter_map(|view| view.has_failed(id)).collect();
    said.iter().filter(|failed| **failed).count() * 2 > said.len()
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::view;
    use super::*;

    const ALIVE: &str = "master";

    fn owner(drawn: &Drawn, slot: u16) -> Option<&str> {
        drawn.ranges.iter().find(|(first, last, _)| (*first..=*last).contains(&slot)).map(|(_, _, id)| &**id)
    }

    /// Three masters, as any of them sees them at first.
    fn at_first(me: &str) -> View {
        view(
            me,
            &[("a", ALIVE, 1, 0, 5_460), ("b", ALIVE, 2, 5_461, 10_922), ("c", ALIVE, 3, 10_923, 16_383)],
        )
    }

    fn drawn_at_first() -> Drawn {
        draw(&[at_first("a"), at_first("b"), at_first("c")], &Drawn::default()).unwrap()
    }

    /// `a` has failed, and its replica took over.
    fn after_failover(me: &str) -> View {
        view(
            me,
            &[("r", ALIVE, 4, 0, 5_460), ("b", ALIVE, 2, 5_461, 10_922), ("c", ALIVE, 3, 10_923, 16_383)],
        )
    }

    #[test]
    fn those_who_agree_are_taken_at_their_word() {
        let drawn = drawn_at_first();
        assert_eq!(drawn.ranges.len(), 3);
        assert_eq!(
            [0, 5_460, 5_461, 16_383].map(|slot| owner(&drawn, slot)),
            [Some("a"), Some("a"), Some("b"), Some("c")]
        );
        assert_eq!(drawn.masters["b"].address, ("host".to_owned(), 7_001));
        assert!(drawn.masters.values().all(|master| !master.cut_off));
        assert_eq!(draw(&[at_first("b")], &drawn).unwrap(), drawn, "one who agrees changes nothing");
    }

    #[test]
    fn the_newest_is_taken_whoever_is_asked_first_and_however_many_are_behind() {
        let newer = after_failover("c");
        for views in [[at_first("a"), at_first("b"), newer.clone()], [newer, at_first("a"), at_first("b")]] {
            for current in [Drawn::default(), drawn_at_first()] {
                let drawn = draw(&views, &current).unwrap();
                assert_eq!([owner(&drawn, 0), owner(&drawn, 6_000)], [Some("r"), Some("b")]);
                assert!(!drawn.masters.contains_key("a"));
            }
        }
    }

    /// The bus of `a` is cut: it says of the others that they are gone, and serves nothing.
    fn alone(flag: &str) -> View {
        let gone = format!("master,{flag}");
        view(
            "a",
            &[("a", ALIVE, 99, 0, 5_460), ("b", &gone, 2, 5_461, 10_922), ("c", &gone, 3, 10_923, 16_383)],
        )
    }

    #[test]
    fn who_is_cut_off_is_passed_over_even_with_the_greatest_epoch() {
        for flag in ["fail?", "fail"] {
            let drawn = draw(&[alone(flag), after_failover("b")], &drawn_at_first()).unwrap();
            assert_eq!(owner(&drawn, 0), Some("r"));
        }
        // Before its replica takes over it is still the master of its slots, and nothing may be published there.
        let drawn = draw(&[alone("fail?"), at_first("b")], &drawn_at_first()).unwrap();
        assert_eq!(drawn.ranges, drawn_at_first().ranges);
        let cut_off: Vec<_> = drawn.masters.iter().filter(|(_, master)| master.cut_off).collect();
        assert!(cut_off.len() == 1 && &**cut_off[0].0 == "a");
    }

    #[test]
    fn whoever_most_say_has_failed_is_cut_off() {
        let without = |me: &str, flags: &str| {
            view(
                me,
                &[("a", flags, 1, 0, 5_460), ("b", ALIVE, 2, 5_461, 10_922), ("c", ALIVE, 3, 10_923, 16_383)],
            )
        };
        let cut_off = |views: &[View]| draw(views, &drawn_at_first()).unwrap().masters["a"].cut_off;
        assert!(cut_off(&[without("b", "master,fail"), without("c", "master,fail")]));
        assert!(cut_off(&[without("b", "master,fail")]));
        assert!(!cut_off(&[without("b", "master,fail?")]), "that is the opinion of one");
        assert!(!cut_off(&[without("b", "master,fail"), without("c", ALIVE)]), "it may be old");
    }

    #[test]
    fn where_all_are_cut_off_the_map_stays_and_they_are_marked() {
        let drawn = draw(&[alone("fail")], &drawn_at_first()).unwrap();
        assert_eq!(drawn.ranges, drawn_at_first().ranges);
        assert!(drawn.masters["a"].cut_off && !drawn.masters["b"].cut_off);
        assert_eq!(draw(&[alone("fail")], &Drawn::default()), Err(Unfit::CutOff), "no service begins there");
        assert_eq!(draw(&[at_first("b")], &drawn).unwrap(), drawn_at_first(), "until it is back");
    }

    #[test]
    fn a_master_knows_best_what_it_does_not_serve() {
        // Slot 0 went from a to b; then a took another slot, which made its epoch the greatest. c knows of the latter only.
        let a =
            view("a", &[("a", ALIVE, 9, 1, 5_460), ("b", ALIVE, 7, 0, 0), ("c", ALIVE, 3, 10_923, 16_383)]);
        let c = view(
            "c",
            &[("a", ALIVE, 9, 0, 5_460), ("b", ALIVE, 2, 5_461, 10_922), ("c", ALIVE, 3, 10_923, 16_383)],
        );
        assert_eq!(owner(&draw(&[c.clone(), a], &Drawn::default()).unwrap(), 0), Some("b"));
        // Where two name each other there is no more to go by than the epochs.
        let b = view("b", &[("a", ALIVE, 9, 0, 5_460), ("b", ALIVE, 7, 5_461, 10_922)]);
        let a = view("a", &[("a", ALIVE, 9, 1, 5_460), ("b", ALIVE, 7, 0, 0)]);
        assert_eq!(owner(&draw(&[a, b], &Drawn::default()).unwrap(), 0), Some("a"));
    }

    #[test]
    fn a_change_of_marks_alone_is_that_of_a_failure_if_there_are_more() {
        let before = drawn_at_first();
        let mut failed = before.clone();
        failed.masters.get_mut("b").unwrap().cut_off = true;
        assert_eq!(before.change_since(&before), Change::None);
        assert_eq!(failed.change_since(&before), Change::Failed);
        assert_eq!(before.change_since(&failed), Change::Other, "it is back");
        let mut moved = failed.clone();
        moved.ranges[0].1 -= 1;
        assert_eq!(moved.change_since(&before), Change::Other);
        let mut elsewhere = failed.clone();
        elsewhere.masters.get_mut("c").unwrap().address.1 += 1;
        assert_eq!(elsewhere.change_since(&failed), Change::Other);
        assert_eq!(before.change_since(&Drawn::default()), Change::Other);
    }

    #[test]
    fn without_epochs_the_majority_decides_and_then_what_is_known() {
        let of = |id: &'static str| view("-", &[(id, ALIVE, 0, 0, 16_383), ("x", ALIVE, 0, 1, 0)]);
        let taken = |views: &[View], current: &Drawn| draw(views, current).unwrap().ranges[0].2.to_string();
        let none = Drawn::default();
        assert_eq!(taken(&[of("a"), of("b"), of("b")], &none), "b");
        let current = draw(&[of("b")], &none).unwrap();
        assert_eq!(taken(&[of("a"), of("b")], &none), "a", "the same each time");
        assert_eq!(taken(&[of("a"), of("b")], &current), "b");
    }

    #[test]
    fn nodes_of_another_cluster_have_no_say() {
        let other = view("z", &[("z", ALIVE, 1_000, 0, 16_383)]);
        let drawn = draw(&[other.clone(), at_first("b")], &drawn_at_first()).unwrap();
        assert_eq!(owner(&drawn, 0), Some("a"), "whatever its epochs");
        let drawn = draw(&[at_first("b"), other.clone()], &Drawn::default()).unwrap();
        assert_eq!(owner(&drawn, 0), Some("a"), "the first to reply is the measure where nothing is known");
        let drawn = draw(std::slice::from_ref(&other), &drawn_at_first()).unwrap();
        assert_eq!(owner(&drawn, 0), Some("z"), "and where the one that was known is gone");
    }

    #[test]
    fn an_address_is_what_most_say() {
        // Their ports are those of their places.
        let (a, b) = (("a", ALIVE, 1, 0, 0), ("b", ALIVE, 1, 1, 1));
        let (old, new) = (view("1", &[a, b]), view("2", &[b, a]));
        let port = |views: &[View], current: &Drawn| draw(views, current).unwrap().masters["a"].address.1;
        let known = draw(std::slice::from_ref(&old), &Drawn::default()).unwrap();
        assert_eq!(
            port(&[new.clone(), old.clone()], &known),
            7_000,
            "what is known, where there is no majority"
        );
        assert_eq!(port(&[new.clone(), old.clone()], &Drawn::default()), 7_001);
        assert_eq!(port(&[old, new.clone(), new], &known), 7_001);
    }

    #[test]
    fn whoever_serves_nothing_says_nothing() {
        assert_eq!(draw(&[], &Drawn::default()), Err(Unfit::NoSlots));
        assert_eq!(draw(&[], &drawn_at_first()), Err(Unfit::NoSlots));
        let reset = view("a", &[]);
        assert_eq!(draw(std::slice::from_ref(&reset), &drawn_at_first()), Err(Unfit::NoSlots));
        assert_eq!(draw(&[reset, at_first("b")], &drawn_at_first()).unwrap(), drawn_at_first());
        let backwards = view("a", &[("a", ALIVE, 1, 9, 5)]);
        assert_eq!(draw(&[backwards], &Drawn::default()), Err(Unfit::NoSlots));
    }
}
