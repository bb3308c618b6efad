//! How often the map is drawn anew.

use std::collections::HashSet;
use std::time::Duration;

use super::doubts::Doubt;

/// Without a reason the map is compared with what one node says so often: it may have changed with no command failing.
/// Also the bound within which a node that is cut off is noticed that only events go through.
pub(super) const COMPARED_EVERY: Duration = Duration::from_secs(10);
/// Between two times that it is drawn, however many commands fail;
pub(super) const SHORTEST_PAUSE: Duration = Duration::from_millis(200);
/// and as long at most while nothing changes.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Of so many nodes each is asked, where there are as many.
pub(super) const SEVERAL: usize = 3;

/// The pauses, which grow while the same doubts come and the map stays as it is. All processes of a deployment have the same
/// doubts at the same time.
#[derive(Debug)]
pub(super) struct Pace {
    pause: Duration,
    // The doubts since the map last changed.
    seen: HashSet<Doubt>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { pause: SHORTEST_PAUSE, seen: HashSet::new() }
    }
}

impl Pace {
    /// Whether one of these is new since the map last changed.
    pub(super) fn is_news(&self, doubts: &HashSet<Doubt>) -> bool {
        doubts.iter().any(|doubt| !self.seen.contains(doubt))
    }

    /// The map is drawn for these reasons; answers how many nodes are asked at first. What has been answered before is asked of
    /// one, and of several if that one says something else.
    pub(super) fn begin(&mut self, doubts: HashSet<Doubt>) -> usize {
        if doubts.is_empty() {
            *self = Self::default();
            return 1;
        }
        if !self.is_news(&doubts) {
            return 1;
        }
        self.pause = SHORTEST_PAUSE;
        self.seen.extend(doubts);
        SEVERAL
    }

    /// It is drawn, or could not be; answers the pause until it may be again for the same reasons.
    pub(super) fn end(&mut self, changed: bool) -> Duration {
        if changed {
            *self = Self::default();
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overdue() -> HashSet<Doubt> {
        [Doubt::overdue()].into()
    }

    /// So many times for the same reason, with nothing changed; answers the pauses in ms.
    fn pauses(pace: &mut Pace, times: usize) -> Vec<u128> {
        (0..times)
            .map(|_| {
                pace.begin(overdue());
                pace.end(false).as_millis()
            })
            .collect()
    }

    #[test]
    fn pauses_grow_while_nothing_changes_and_one_node_is_asked() {
        let mut pace = Pace::default();
        assert_eq!(pace.begin(overdue()), SEVERAL);
        assert_eq!(pace.end(false), SHORTEST_PAUSE);
        assert_eq!(pauses(&mut pace, 5), [400, 800, 1_600, 2_000, 2_000]);
        assert_eq!(pace.begin(overdue()), 1);
    }

    #[test]
    fn a_change_of_the_map_begins_anew() {
        let mut pace = Pace::default();
        pauses(&mut pace, 5);
        pace.begin(overdue());
        assert_eq!(pace.end(true), SHORTEST_PAUSE);
        assert_eq!(pace.begin(overdue()), SEVERAL, "the same is new");
    }

    #[test]
    fn so_does_a_doubt_of_another_kind_and_a_time_without_doubts() {
        let mut pace = Pace::default();
        pauses(&mut pace, 5);
        let other: HashSet<_> = [Doubt::overdue(), Doubt::unserved()].into();
        assert!(!pace.is_news(&overdue()) && pace.is_news(&other));
        assert_eq!(pace.begin(other.clone()), SEVERAL);
        assert_eq!(pace.end(false), SHORTEST_PAUSE);
        assert!(!pace.is_news(&other));
        assert_eq!(pauses(&mut pace, 2), [400, 800], "the first is still none");
        assert_eq!(pace.begin(HashSet::new()), 1);
        pace.end(false);
        assert!(pace.is_news(&overdue()));
    }
}
