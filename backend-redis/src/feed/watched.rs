//! The watchers of one namespace, and what they are notified of.

use std::array::from_fn;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use stanchion::cache::{Shard, Watcher};

use crate::copies::{COPIES, Group, MAJORITY};

/// For each group of generations the shards in which its copies are.
pub(crate) type Places = Vec<[Shard; COPIES]>;

/// For each copy whether it is so.
pub(crate) type Which = [bool; COPIES];

fn count(which: Which) -> usize {
    which.into_iter().filter(|is| *is).count()
}

#[derive(Debug, Default)]
pub(super) struct Watched {
    watchers: Vec<(u64, Arc<dyn Watcher>)>,
    /// The masters that send the invalidations, by their shards.
    sent: BTreeSet<Shard>,
    /// Where generations are kept in copies, those are the shards that watchers are notified of.
    copies: Option<Copies>,
}

/// Of which copies each change has been received, ever since the group was restored.
///
/// A generation that is known is right for as long as two of the copies that it was read from are covered without a break: whatever
/// becomes of it is said by two copies, and so by one of these. So a copy whose feed comes back is not covered by that; only
/// after a loss of the whole group all begin anew.
#[derive(Debug)]
struct Copies {
    places: Places,
    covered: Vec<Which>,
}

impl Watched {
    pub(super) fn new(places: Option<Places>) -> Self {
        let copies = places.map(|places| Copies { covered: vec![[false; COPIES]; places.len()], places });
        Self { watchers: Vec::new(), sent: BTreeSet::new(), copies }
    }

    pub(super) fn add(&mut self, number: u64, watcher: Arc<dyn Watcher>) {
        match &self.copies {
            None => self.sent.iter().for_each(|shard| watcher.restored(*shard)),
            Some(copies) => copies.up().for_each(|group| watcher.restored(group.shard())),
        }
        self.watchers.push((number, watcher));
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Arc<dyn Watcher>> {
        let at = self.watchers.iter().position(|(other, _)| *other == number)?;
        Some(self.watchers.swap_remove(at).1)
    }

    pub(super) fn into_watchers(self) -> impl Iterator<Item = Arc<dyn Watcher>> {
        self.watchers.into_iter().map(|(_, watcher)| watcher)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.watchers.is_empty()
    }

    /// Whether this master sends the invalidations.
    pub(super) fn is_sent(&self, shard: Shard) -> bool {
        self.sent.contains(&shard)
    }

    /// An entry has changed.
    pub(super) fn changed(&self, key: &str) {
        if !self.sent.is_empty() {
            self.watchers.iter().for_each(|(_, watcher)| watcher.changed(key));
        }
    }

    /// These masters send the invalidations from now on; `redirected` says under the name of which shard another one was read.
    pub(super) fn follow(&mut self, sent: BTreeSet<Shard>, redirected: &HashSet<(Shard, Shard)>) {
        let was = std::mem::replace(&mut self.sent, sent);
        let lost: Vec<_> = was.difference(&self.sent).copied().collect();
        match &self.copies {
            None => {
                let restored = self.sent.difference(&was);
                for shard in &lost {
                    self.notify(|watcher| watcher.lost(*shard));
                }
                for shard in restored {
                    self.notify(|watcher| watcher.restored(*shard));
                }
            }
            Some(copies) => {
                let still = |group: usize| from_fn(|copy| self.sent.contains(&copies.places[group][copy]));
                self.narrow((0..copies.places.len()).map(still).collect());
            }
        }
        // What was read there under the name of another is out of date too.
        let elsewhere: BTreeSet<_> =
            redirected.iter().filter(|(_, to)| lost.contains(to)).map(|(from, _)| *from).collect();
        for shard in elsewhere {
            self.flush(shard);
        }
    }

    /// Everything that was copied from this shard may be out of date. Also where it is lost already: something may have moved.
    pub(super) fn flush(&mut self, shard: Shard) {
        match &self.copies {
            None => {
                self.notify(|watcher| watcher.lost(shard));
                if self.sent.contains(&shard) {
                    self.notify(|watcher| watcher.restored(shard));
                }
            }
            Some(copies) => {
                let still = |places: &[Shard; COPIES]| places.map(|place| place != shard);
                self.narrow(copies.places.iter().map(still).collect());
            }
        }
    }

    /// The copies are here from now on.
    pub(super) fn place(&mut self, places: &Places) {
        let Some(copies) = &mut self.copies else { return };
        let before = std::mem::replace(&mut copies.places, places.clone());
        copies.covered.resize(places.len(), [false; COPIES]);
        let still = |(group, now): (usize, &[Shard; COPIES])| {
            from_fn(|copy| before.get(group).is_some_and(|before| before[copy] == now[copy]))
        };
        let still = copies.places.iter().enumerate().map(still).collect();
        self.narrow(still);
    }

    /// Which copies of a group each change is received of.
    pub(super) fn covered(&self, group: Group) -> Which {
        let covered = self.copies.as_ref().and_then(|copies| copies.covered.get(group.index()));
        covered.copied().unwrap_or_default()
    }

    /// A generation of this group was read from these copies. Before it is known to anybody.
    pub(super) fn read_from(&mut self, group: Group, copies: Which) {
        if let Some(known) = &self.copies {
            let mut still = vec![[true; COPIES]; known.covered.len()];
            if let Some(still) = still.get_mut(group.index()) {
                *still = copies;
            }
            self.narrow(still);
        }
    }

    /// Of each group no others are covered from now on than those that still are. One with less than two of them is lost, and
    /// begins anew.
    fn narrow(&mut self, still: Vec<Which>) {
        let Some(copies) = &mut self.copies else { return };
        let (mut lost, mut restored) = (Vec::new(), Vec::new());
        let groups = Group::all().zip(still).zip(&copies.places).zip(&mut copies.covered);
        for (((group, still), places), covered) in groups {
            let was_up = count(*covered) >= MAJORITY;
            *covered = from_fn(|copy| covered[copy] && still[copy]);
            if count(*covered) >= MAJORITY {
                continue;
            }
            if was_up {
                lost.push(group.shard());
            }
            *covered = places.map(|place| self.sent.contains(&place));
            if count(*covered) >= MAJORITY {
                restored.push(group.shard());
            }
        }
        for shard in lost {
            self.notify(|watcher| watcher.lost(shard));
        }
        for shard in restored {
            self.notify(|watcher| watcher.restored(shard));
        }
    }

    fn notify(&self, notify: impl Fn(&dyn Watcher)) {
        self.watchers.iter().for_each(|(_, watcher)| notify(&**watcher));
    }
}

impl Copies {
    /// The groups that are up.
    fn up(&self) -> impl Iterator<Item = Group> {
        Group::all()
            .zip(&self.covered)
            .filter(|(_, covered)| count(**covered) >= MAJORITY)
            .map(|(group, _)| group)
    }
}
