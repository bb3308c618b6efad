//! How often the map is drawn anew.

use std::collections::HashSet;
use std::time::Duration;

use stanchion::time::Monotonic;

use super::doubts::Doubt;
use super::draw::Change;

/// Without a reason the map is compared with what one node says so often: it may have changed with no command failing.
/// Also the bound within which a node that is cut off is noticed that only events go through.
const COMPARED_EVERY: Duration = Duration::from_secs(10);
/// Between two times that it is drawn for a new reason, however many commands fail.
pub(super) const SHORTEST_PAUSE: Duration = Duration::from_millis(200);
/// As long at most while nothing changes, as long as a failover may be under way;
const RECENT_PAUSE: Duration = Duration::from_millis(400);
/// which is for so long: a node that has died is noticed by the others after 15 seconds unless they are set otherwise.
const RECENT: Duration = Duration::from_secs(30);
/// And as long at most afterwards.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// The pause once a master is known to have failed: its replica waits half a second to a second, and takes its place.
const IMMINENT_PAUSE: Duration = Duration::from_millis(100);
/// For so long: what has not happened by then has no replica, or it has to try again.
const IMMINENT: Duration = Duration::from_millis(1_500);
/// Of so many nodes each is asked, where there are as many.
pub(super) const SEVERAL: usize = 3;

/// The pauses, which grow while the same doubts come and the map stays as it is. All processes of a deployment have the same
/// doubts at the same time.
#[derive(Debug)]
pub(super) struct Pace {
    pause: Duration,
    // The doubts since the map last changed, and when the last of them came that was new.
    seen: HashSet<Doubt>,
    doubted_at: Option<Monotonic>,
    // When a master was marked as failed.
    failed_at: Option<Monotonic>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { pause: SHORTEST_PAUSE, seen: HashSet::new(), doubted_at: None, failed_at: None }
    }
}

/// Whether this was, and less than so long ago.
fn is_within(at: Option<Monotonic>, bound: Duration, now: Monotonic) -> bool {
    at.is_some_and(|at| now.saturating_since(at) < bound)
}

impl Pace {
    /// Whether one of these is new since the map last changed.
    pub(super) fn is_news(&self, doubts: &HashSet<Doubt>) -> bool {
        doubts.iter().any(|doubt| !self.seen.contains(doubt))
    }

    /// After how long the map is compared without a reason. A failover that is about to come needs no call that fails.
    pub(super) fn compared_after(&self, now: Monotonic) -> Duration {
        if is_within(self.failed_at, IMMINENT, now) { Duration::ZERO } else { COMPARED_EVERY }
    }

    /// The map is drawn for these reasons; answers how many nodes are asked at first. What has been answered before is asked of
    /// one, and of several if that one says something else.
    pub(super) fn begin(&mut self, doubts: HashSet<Doubt>, now: Monotonic) -> usize {
        if doubts.is_empty() {
            if !is_within(self.failed_at, IMMINENT, now) {
                *self = Self::default();
            }
            return 1;
        }
        if !self.is_news(&doubts) {
            return 1;
        }
        self.pause = SHORTEST_PAUSE;
        self.doubted_at = Some(now);
        self.seen.extend(doubts);
        SEVERAL
    }

    /// It is drawn, or could not be; answers the pause until it may be again for the same reasons.
    pub(super) fn end(&mut self, change: Change, now: Monotonic) -> Duration {
        match change {
            Change::None => {}
            Change::Failed => self.failed_at = Some(now),
            Change::Other => *self = Self::default(),
        }
        if is_within(self.failed_at, IMMINENT, now) {
            return IMMINENT_PAUSE;
        }
        let pause = self.pause;
        let longest = if is_within(self.doubted_at, RECENT, now) { RECENT_PAUSE } else { LONGEST_PAUSE };
        self.pause = (pause * 2).min(longest);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overdue() -> HashSet<Doubt> {
        [Doubt::overdue()].into()
    }

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_millis(ms))
    }

    fn pause(pace: &mut Pace, now: u64) -> u64 {
        pace.begin(overdue(), at(now));
        u64::try_from(pace.end(Change::None, at(now)).as_millis()).unwrap()
    }

    /// The pauses in ms, for the same reason with nothing changed, one after the other, until this time.
    fn pauses(pace: &mut Pace, mut now: u64, until: u64) -> Vec<u64> {
        let mut pauses = Vec::new();
        while now < until {
            pauses.push(pause(pace, now));
            now += pauses.last().unwrap();
        }
        pauses
    }

    #[test]
    fn pauses_grow_while_nothing_changes_and_one_node_is_asked() {
        let mut pace = Pace::default();
        assert_eq!(pace.begin(overdue(), at(0)), SEVERAL);
        assert_eq!(pace.end(Change::None, at(0)), SHORTEST_PAUSE);
        assert_eq!(pace.begin(overdue(), at(200)), 1);
        let recent = pauses(&mut pace, 200, 30_000);
        assert!(recent.iter().all(|pause| *pause == 400), "{recent:?}");
        assert_eq!(pauses(&mut pace, 30_000, 40_000), [400, 800, 1_600, 2_000, 2_000, 2_000, 2_000]);
        let for_ever = pauses(&mut pace, 40_000, 1_000_000);
        assert!(for_ever.iter().all(|pause| *pause == 2_000), "{for_ever:?}");
    }

    #[test]
    fn a_change_of_the_map_begins_anew() {
        let mut pace = Pace::default();
        pauses(&mut pace, 0, 50_000);
        pace.begin(overdue(), at(50_000));
        assert_eq!(pace.end(Change::Other, at(50_000)), SHORTEST_PAUSE);
        assert_eq!(pace.begin(overdue(), at(50_200)), SEVERAL, "the same is new");
    }

    #[test]
    fn so_does_a_doubt_of_another_kind_and_a_time_without_doubts() {
        let mut pace = Pace::default();
        pauses(&mut pace, 0, 50_000);
        let other: HashSet<_> = [Doubt::overdue(), Doubt::unserved()].into();
        assert!(!pace.is_news(&overdue()) && pace.is_news(&other));
        assert_eq!(pace.begin(other.clone(), at(50_000)), SEVERAL);
        assert_eq!(pace.end(Change::None, at(50_000)), SHORTEST_PAUSE);
        assert!(!pace.is_news(&other));
        assert_eq!(pauses(&mut pace, 50_200, 51_000), [400, 400], "the first is still none");
        assert_eq!(pace.begin(HashSet::new(), at(60_000)), 1);
        pace.end(Change::None, at(60_000));
        assert!(pace.is_news(&overdue()));
    }

    #[test]
    fn once_a_master_has_failed_its_replica_is_expected_for_a_while_whether_there_are_calls_or_not() {
        let mut pace = Pace::default();
        pauses(&mut pace, 0, 50_000);
        assert_eq!(pace.compared_after(at(50_000)), COMPARED_EVERY);
        pace.begin(overdue(), at(50_000));
        assert_eq!(pace.end(Change::Failed, at(50_000)), IMMINENT_PAUSE);
        assert_eq!(pace.compared_after(at(50_100)), Duration::ZERO);
        assert_eq!(pace.begin(HashSet::new(), at(50_100)), 1);
        assert_eq!(pace.end(Change::None, at(50_100)), IMMINENT_PAUSE, "no doubt is no end of it");
        let expecting = pauses(&mut pace, 50_200, 51_500);
        assert!(expecting.len() == 13 && expecting.iter().all(|pause| *pause == 100), "{expecting:?}");
        assert_eq!(pauses(&mut pace, 51_500, 55_000), [2_000, 2_000], "and then as before");
        assert_eq!(pace.compared_after(at(55_500)), COMPARED_EVERY);
    }
}
