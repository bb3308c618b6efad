//! What is to be published of one service's sessions.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use stanchion::session::SessionId;
use stanchion::session::outbox::{
    OutboxBounds, OutboxEntry, OutboxId, OutboxItem, OutboxPage, OutboxPosition, OutboxStatus, PublisherId,
    SessionEnd, SessionNews,
};
use stanchion::time::{Monotonic, Timestamp};

/// There is one outbox for each service here.
pub(super) const OUTBOX: OutboxId = OutboxId::new(0);
pub(super) const BOUNDS: OutboxBounds = OutboxBounds::new();

#[derive(Debug, Default)]
pub(super) struct Outbox {
    entries: BTreeMap<u64, (Monotonic, OutboxItem)>,
    next: u64,
    /// Sessions whose time is over, and the news of which are not in the outbox yet, with the end of each.
    overdue: VecDeque<(SessionId, String, Monotonic)>,
    claim: Option<Lease>,
    lead: Option<Lease>,
}

/// What a publisher has until then.
#[derive(Debug)]
struct Lease {
    publisher: PublisherId,
    until: Monotonic,
}

/// Takes or keeps a lease; `false` if another has it.
fn taken(lease: &mut Option<Lease>, publisher: &PublisherId, now: Monotonic, life: Duration) -> bool {
    if lease.as_ref().is_some_and(|held| held.until > now && held.publisher != *publisher) {
        return false;
    }
    *lease = Some(Lease { publisher: publisher.clone(), until: now.saturating_add(life) });
    true
}

impl Outbox {
    fn is_full(&self) -> bool {
        self.entries.len() as u64 >= BOUNDS.max_entries
    }

    fn push(&mut self, now: Monotonic, item: OutboxItem) {
        self.next += 1;
        self.entries.insert(self.next, (now, item));
    }

    /// Appends some news, or counts them where it is full.
    pub(super) fn append(
        &mut self,
        news: SessionNews,
        id: SessionId,
        user: String,
        now: Monotonic,
        at: Timestamp,
    ) {
        if !self.is_full() {
            self.push(now, OutboxItem::News { news, id, user, at });
        } else if let Some(mut last) = self.entries.last_entry() {
            match &mut last.get_mut().1 {
                OutboxItem::Lost(count) => *count += 1,
                _ => self.push(now, OutboxItem::Lost(1)),
            }
        }
    }

    /// A session has ended by time.
    pub(super) fn timed_out(&mut self, id: SessionId, user: String, ended: Monotonic) {
        self.overdue.push_back((id, user, ended));
    }

    /// Appends the news of so many sessions that have ended by time, as long as there is room; answers how many.
    pub(super) fn append_overdue(&mut self, most: usize, now: Monotonic, wall: Timestamp) -> u64 {
        let mut appended = 0;
        while appended < most as u64
            && !self.is_full()
            && let Some((id, user, ended)) = self.overdue.pop_front()
        {
            let ago = u64::try_from(now.saturating_since(ended).as_micros()).unwrap_or(u64::MAX);
            let at = Timestamp::from_micros(wall.as_micros().saturating_sub(ago));
            self.append(SessionNews::Ended(SessionEnd::TimedOut), id, user, now, at);
            appended += 1;
        }
        appended
    }

    /// Whether sessions that have ended by time are left, for which there is room.
    pub(super) fn has_more(&self) -> bool {
        !self.overdue.is_empty() && !self.is_full()
    }

    pub(super) fn status(&self, now: Monotonic) -> Option<OutboxStatus> {
        let (first, _) = self.entries.values().next()?;
        Some(OutboxStatus::new(OUTBOX, self.entries.len() as u64, now.saturating_since(*first)))
    }

    pub(super) fn lead(&mut self, publisher: &PublisherId, now: Monotonic, life: Duration) -> bool {
        taken(&mut self.lead, publisher, now, life)
    }

    pub(super) fn read(
        &mut self,
        publisher: &PublisherId,
        now: Monotonic,
        life: Duration,
        most: usize,
    ) -> OutboxPage {
        if self.entries.is_empty() {
            return OutboxPage::Entries(Vec::new());
        }
        if !taken(&mut self.claim, publisher, now, life) {
            return OutboxPage::Claimed;
        }
        let first = self.entries.iter().take(most);
        let entry = |(position, (_, item)): (&u64, &(_, OutboxItem))| {
            OutboxEntry::new(OutboxPosition::new(position.to_string()), item.clone())
        };
        OutboxPage::Entries(first.map(entry).collect())
    }

    /// Removes these, and answers how many are left.
    pub(super) fn acknowledge(&mut self, publisher: &PublisherId, positions: &[OutboxPosition]) -> u64 {
        for position in positions {
            if let Ok(number) = position.as_str().parse() {
                self.entries.remove(&number);
            }
        }
        if self.entries.is_empty() && self.claim.as_ref().is_some_and(|held| held.publisher == *publisher) {
            self.claim = None;
        }
        self.entries.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use stanchion::random::SystemRandom;
    use stanchion::session::{HashingKey, SessionToken};

    use super::*;

    /// A publisher holds a page while more comes: what is published and what is said to be lost are together what has happened.
    #[test]
    fn what_is_lost_is_counted_once_whoever_holds_a_page() {
        let token = SessionToken::generate("u1", &SystemRandom).unwrap();
        let id = HashingKey::unkeyed().session_id(&token);
        let (mut outbox, by) = (Outbox::default(), PublisherId::generate(&SystemRandom).unwrap());
        let (now, at) = (Monotonic::from_origin(Duration::ZERO), Timestamp::from_secs(1));
        let append = |outbox: &mut Outbox, count| {
            for _ in 0..count {
                outbox.append(SessionNews::Created, id.clone(), "u1".to_owned(), now, at);
            }
            count
        };
        let mut happened = append(&mut outbox, BOUNDS.max_entries + 7);
        let (mut found, mut lost) = (0, 0);
        for turn in 0.. {
            let page = outbox.read(&by, now, Duration::from_secs(1), BOUNDS.max_page);
            let OutboxPage::Entries(entries) = page else { panic!("{page:?}") };
            if entries.is_empty() {
                break;
            }
            // First as much as is taken from it, so that it is full again; then so little that what was lost is read.
            happened +=
                append(&mut outbox, if turn < 5 { BOUNDS.max_page as u64 + 3 } else { u64::from(turn < 20) });
            for entry in &entries {
                match entry.item {
                    OutboxItem::Lost(count) => lost += count,
                    _ => found += 1,
                }
            }
            let positions: Vec<_> = entries.into_iter().map(|entry| entry.position).collect();
            outbox.acknowledge(&by, &positions);
        }
        assert!(lost > 0, "it was never full");
        assert_eq!(found + lost, happened);
    }

    #[test]
    fn the_count_of_what_is_lost_is_in_no_page_while_it_grows() {
        assert!(BOUNDS.max_entries > BOUNDS.max_page as u64);
    }
}
