//! A near cache: an engine behind a fence, readable while its feeds are up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Fence, More, NearEngine, NearEntry, Snapshot};
use crate::cache::store::{Generation, Shard, ShardSet, Tag};
use crate::time::Monotonic;

/// Entries are read only while two feeds are up: that of the values in the shard that they were read from, and that of the
/// namespace's generation.
#[derive(Debug)]
pub(in crate::cache) struct NearCache {
    engine: Arc<dyn NearEngine>,
    fence: Fence,
    up: Mutex<Up>,
    /// When each shard's feed was lost last, in µs of the monotonic clock.
    lost_at: Box<[AtomicU64]>,
}

fn micros(time: Monotonic) -> u64 {
    u64::try_from(time.since_origin().as_micros()).unwrap_or(u64::MAX)
}

#[derive(Debug, Default)]
struct Up {
    values: ShardSet,
    generation: bool,
}

/// Which of the feeds.
#[derive(Debug, Clone, Copy)]
pub(in crate::cache) enum Feed {
    /// Of the values in this shard.
    Values(Shard),
    Generation,
}

impl NearCache {
    pub(in crate::cache) fn new(engine: Arc<dyn NearEngine>) -> Self {
        let lost_at = Shard::all().map(|_| AtomicU64::new(0)).collect();
        Self { engine, fence: Fence::default(), up: Mutex::default(), lost_at }
    }

    /// The entry under this identifier that may be read now; whether it is still fresh is the caller's to see.
    #[inline]
    pub(in crate::cache) fn get(&self, identifier: &str) -> Option<NearEntry> {
        let found = self.engine.get(identifier);
        match &found {
            // Looked at after the entry was found: an epoch that moves in between makes it unreadable.
            Some(entry) if self.fence.is_current(entry.epoch) => found,
            _ => None,
        }
    }

    /// What was known last, even if something may have changed since: for the fail-safe.
    pub(in crate::cache) fn last_known(&self, identifier: &str) -> Option<NearEntry> {
        self.engine.get(identifier)
    }

    /// The entry under this identifier while the feed of its shard is away, and for how long changes of it may have been missed.
    /// One from before an earlier loss, or from before everything was dropped, is none.
    pub(in crate::cache) fn in_outage(
        &self,
        identifier: &str,
        now: Monotonic,
    ) -> Option<(NearEntry, Duration)> {
        let entry = self.engine.get(identifier)?;
        // Written before the epoch was: read after it.
        let is_outage = self.fence.is_outage_of(entry.epoch);
        let lost_at =
            Duration::from_micros(self.lost_at[entry.epoch.shard().index()].load(Ordering::Acquire));
        let since = match entry.more.as_ref().and_then(|more| more.read) {
            // It was read during the outage.
            Some((_, read_at)) if entry.epoch.is_kept() => read_at,
            _ => Monotonic::from_origin(lost_at),
        };
        is_outage.then(|| (entry, now.saturating_since(since)))
    }

    /// To be taken before the store is read. `shard_of` answers the shard that the entry is in.
    pub(in crate::cache) fn snapshot(&self, identifier: &str, shard_of: impl Fn() -> Shard) -> Snapshot {
        self.fence.snapshot(identifier, shard_of)
    }

    /// Publishes what was read since the snapshot, unless it may be out of date.
    pub(in crate::cache) fn publish(
        &self,
        identifier: &str,
        snapshot: Snapshot,
        mut entry: NearEntry,
    ) -> bool {
        self.fence.publish(snapshot, |epoch| {
            entry.epoch = epoch;
            self.engine.insert(identifier, entry);
        })
    }

    /// Keeps what was read since the snapshot, and may not be published, as the last that is known; unless it was changed since.
    /// What is there stays if its own read began later. Whether what is there now is no older than this.
    pub(in crate::cache) fn keep(&self, identifier: &str, snapshot: Snapshot, mut entry: NearEntry) -> bool {
        self.fence.keep(snapshot, |epoch| {
            let is_later = |there: NearEntry| there.read_at() > entry.read_at();
            if !self.engine.get(identifier).is_some_and(is_later) {
                entry.epoch = epoch;
                self.engine.insert(identifier, entry);
            }
        })
    }

    /// The entry under this identifier, if the generations of its tags are those it was read with; `seen` is the number of
    /// tag changes before they are compared. An entry whose tag was dropped is taken out.
    pub(in crate::cache) fn compared(
        &self,
        identifier: &str,
        seen: u64,
        generation_of: impl Fn(&Tag) -> Option<Generation>,
    ) -> Option<NearEntry> {
        // The entry after the mark: an invalidation before it has taken the entry out, and one after it keeps the
        // entry from being put in again.
        let mark = self.fence.mark(identifier);
        let mut entry = self.get(identifier)?;
        // In the epoch that it was published in.
        let snapshot = mark.within(entry.epoch);
        let Some(more) = &entry.more else { return Some(entry) };
        for (tag, generation) in more.tags.iter() {
            match generation_of(tag) {
                Some(current) if current == *generation => {}
                Some(_) => {
                    self.fence.publish(snapshot, |_| self.engine.remove(identifier));
                    return None;
                }
                // The store has to be asked.
                None => return None,
            }
        }
        entry.more = Some(Arc::new(More { tags_seen: seen, ..More::clone(more) }));
        self.fence.publish(snapshot, |_| self.engine.insert(identifier, entry.clone()));
        Some(entry)
    }

    /// What was read from this shard says that the entry under this identifier is over. One that was published since goes too,
    /// which costs a read. While the feed is away, nothing else keeps a read that is in flight from putting it back.
    pub(in crate::cache) fn take_out(&self, identifier: &str, shard: Shard) {
        if self.fence.is_up(shard) {
            self.engine.remove(identifier);
        } else {
            self.invalidate(identifier);
        }
    }

    /// The value has changed.
    pub(in crate::cache) fn invalidate(&self, identifier: &str) {
        self.fence.invalidate(identifier, || self.engine.remove(identifier));
    }

    /// Everything in the namespace was dropped.
    pub(in crate::cache) fn flush(&self) {
        self.fence.flush();
        self.engine.clear();
    }

    /// One feed is away since now; whether what was readable no longer is.
    pub(in crate::cache) fn lost(&self, feed: Feed, now: Monotonic) -> bool {
        let mut up = self.up.lock().unwrap_or_else(PoisonError::into_inner);
        match feed {
            Feed::Values(shard) => {
                up.values.set(shard, false);
                self.lose(shard, now)
            }
            Feed::Generation => {
                up.generation = false;
                Shard::all().filter(|shard| self.lose(*shard, now)).count() > 0
            }
        }
    }

    fn lose(&self, shard: Shard, now: Monotonic) -> bool {
        if self.fence.is_up(shard) {
            // Under the lock, and before the epoch: whoever finds the shard away finds since when.
            self.lost_at[shard.index()].store(micros(now), Ordering::Release);
        }
        self.fence.lost(shard)
    }

    pub(in crate::cache) fn restored(&self, feed: Feed) {
        let mut up = self.up.lock().unwrap_or_else(PoisonError::into_inner);
        let restored = match feed {
            Feed::Values(shard) => {
                up.values.set(shard, true);
                Some(shard)
            }
            Feed::Generation => {
                up.generation = true;
                None
            }
        };
        if up.generation {
            let concerned = |shard: &Shard| restored.is_none_or(|one| one == *shard);
            let shards = Shard::all().filter(concerned).filter(|shard| up.values.contains(*shard));
            shards.for_each(|shard| self.fence.restored(shard));
        }
    }

    pub(in crate::cache) fn entries(&self) -> u64 {
        self.engine.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[derive(Debug, Default)]
    struct Map(Mutex<HashMap<String, NearEntry>>);

    impl Map {
        fn map(&self) -> std::sync::MutexGuard<'_, HashMap<String, NearEntry>> {
            self.0.lock().unwrap()
        }
    }

    impl NearEngine for Map {
        fn get(&self, key: &str) -> Option<NearEntry> {
            self.map().get(key).cloned()
        }
        fn insert(&self, key: &str, entry: NearEntry) {
            self.map().insert(key.to_owned(), entry);
        }
        fn remove(&self, key: &str) {
            self.map().remove(key);
        }
        fn clear(&self) {
            self.map().clear();
        }
        fn len(&self) -> u64 {
            self.map().len() as u64
        }
    }

    const NOW: Monotonic = Monotonic::from_origin(Duration::from_millis(10));
    const A: Shard = Shard::new(1);
    const B: Shard = Shard::new(2);

    fn entry() -> NearEntry {
        NearEntry::new(None, Monotonic::from_origin(Duration::from_secs(1)))
    }

    fn snapshot(near: &NearCache, shard: Shard) -> Snapshot {
        near.snapshot("k", || shard)
    }

    /// A near cache that is up, with one entry under a tag of generation 1.
    fn filled() -> NearCache {
        let near = NearCache::new(Arc::new(Map::default()));
        near.restored(Feed::Values(A));
        near.restored(Feed::Generation);
        let mut entry = entry();
        let tags = [(Tag::new("t").unwrap(), Generation::new(1))].into();
        entry.more = Some(Arc::new(More { due: None, tags, tags_seen: 0, read: None }));
        assert!(near.publish("k", snapshot(&near, A), entry));
        near
    }

    #[test]
    fn an_entry_is_compared_once_for_each_change_of_a_tag() {
        let near = filled();
        let compared = near.compared("k", 7, |_| Some(Generation::new(1))).unwrap();
        let seen = |entry: NearEntry| entry.more.unwrap().tags_seen;
        assert_eq!((seen(compared), seen(near.get("k").unwrap())), (7, 7));
        assert!(near.compared("k", 8, |_| None).is_none());
        assert!(near.get("k").is_some(), "it may still stand");
        assert!(near.compared("k", 8, |_| Some(Generation::new(2))).is_none());
        assert!(near.last_known("k").is_none(), "it was dropped for good");
    }

    #[test]
    fn nothing_is_read_while_either_feed_is_away() {
        let publish = |near: &NearCache, snapshot| near.publish("k", snapshot, entry());
        for (first, second) in [(Feed::Values(A), Feed::Generation), (Feed::Generation, Feed::Values(A))] {
            let near = NearCache::new(Arc::new(Map::default()));
            near.restored(first);
            assert!(!publish(&near, snapshot(&near, A)), "{second:?} is not up yet");
            let early = snapshot(&near, A);
            near.restored(second);
            assert!(!publish(&near, early), "from before {second:?} was up");
            assert!(publish(&near, snapshot(&near, A)) && near.get("k").is_some());

            assert!(near.lost(first, NOW));
            assert!(near.get("k").is_none());
            assert!(!near.lost(second, NOW));
            near.restored(first);
            assert!(near.get("k").is_none() && !publish(&near, snapshot(&near, A)), "{second:?} is away");
            // Notified again of what is so already.
            near.restored(first);
            assert!(near.get("k").is_none() && !publish(&near, snapshot(&near, A)), "{second:?} is away");
            near.restored(second);
            assert!(near.get("k").is_none(), "from before the loss");
            assert!(near.last_known("k").is_some());
            assert!(publish(&near, snapshot(&near, A)) && near.get("k").is_some());
        }
    }

    #[test]
    fn each_shard_is_up_by_itself() {
        let near = NearCache::new(Arc::new(Map::default()));
        let put = |id: &str, shard| near.publish(id, near.snapshot(id, || shard), entry());
        near.restored(Feed::Generation);
        near.restored(Feed::Values(A));
        assert!(put("a", A) && !put("b", B));
        near.restored(Feed::Values(B));
        assert!(near.get("a").is_some(), "it is none of its business");
        assert!(put("b", B));
        assert!(near.lost(Feed::Values(A), NOW));
        assert!(near.get("a").is_none() && near.get("b").is_some() && !put("a", A) && put("b", B));
        assert!(near.lost(Feed::Generation, NOW), "B was readable");
        assert!(near.get("b").is_none() && !put("b", B));
        near.restored(Feed::Generation);
        assert!(put("b", B) && !put("a", A), "only what was up before");
        near.flush();
        assert!(near.get("b").is_none() && put("b", B) && !put("a", A));
    }

    #[test]
    fn an_invalidation_during_the_comparison_is_not_undone() {
        let near = filled();
        let invalidated = |_: &Tag| {
            near.invalidate("k");
            Some(Generation::new(1))
        };
        // It was there when it was asked for; and is not put in again.
        assert!(near.compared("k", 7, invalidated).is_some());
        assert!(near.last_known("k").is_none());
    }

    #[test]
    fn an_entry_is_of_the_outage_that_it_was_read_before_or_in() {
        let near = filled();
        let at = |millis| Monotonic::from_origin(Duration::from_millis(millis));
        let age = |millis| near.in_outage("k", at(millis)).map(|(_, age)| age.as_millis());
        assert_eq!(age(20), None, "its feed is up");
        near.lost(Feed::Values(A), NOW);
        near.lost(Feed::Generation, at(15));
        assert_eq!(age(20), Some(10), "since the first feed was lost");
        let mut read = entry();
        let more = More { due: None, tags: [].into(), tags_seen: 0, read: Some((None, at(40))) };
        read.more = Some(Arc::new(more));
        assert!(near.keep("k", snapshot(&near, A), read.clone()));
        assert!(near.get("k").is_none() && near.last_known("k").is_some());
        assert_eq!(age(50), Some(10), "since it was read");
        let early = snapshot(&near, A);
        near.invalidate("k");
        assert!(!near.keep("k", early, read.clone()));
        assert!(near.last_known("k").is_none(), "it was changed since");
        assert!(near.keep("k", snapshot(&near, A), read));
        near.restored(Feed::Values(A));
        near.restored(Feed::Generation);
        assert_eq!(age(60), None, "the feed is back");
        assert!(near.get("k").is_none());
        near.lost(Feed::Values(A), at(70));
        assert_eq!(age(80), None, "from before an earlier loss");
    }
}
