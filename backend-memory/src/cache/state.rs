//! The state of the cache: entries, leases, generations and watchers, changed in one step each.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use stanchion::cache::{
    Fetched, Fill, FillOutcome, Generation, LeaseRequest, LeaseToken, Release, SetOptions, SetOutcome, Tag,
    Want, Watcher, When, schema_of,
};
use stanchion::key::{Key, Namespace};
use stanchion::time::{Monotonic, Timestamp, Ttl, days};
use stanchion::{Error, ErrorKind, Result};

use super::recency::Recency;
use crate::expiring::Expiring;
use crate::watchers::Watchers;

/// How long a generation is remembered. Later ones are greater all the same, since they are made of the time.
const GENERATION_KEPT: Duration = days(30);

/// Who has the lease on a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    Token(LeaseToken),
    /// Nobody: a load has failed a short while ago.
    Failed,
}

#[derive(Debug)]
pub(crate) struct State {
    entries: Expiring<Key, Bytes>,
    recency: Option<Recency>,
    leases: Expiring<Key, Holder>,
    generations: Expiring<Tag, Generation>,
    watchers: Watchers,
}

impl State {
    pub(crate) fn new(max_bytes: Option<usize>) -> Self {
        Self {
            entries: Expiring::default(),
            recency: max_bytes.map(Recency::new),
            leases: Expiring::default(),
            generations: Expiring::default(),
            watchers: Watchers::default(),
        }
    }

    /// Ends the watches of a handle.
    pub(crate) fn end_watches_of(&mut self, handle: u64) {
        self.watchers.end_all_of(handle);
    }

    /// The key was written: whatever is being loaded for it is out of date, and watchers are notified.
    fn written(&mut self, key: &Key, now: Monotonic) {
        self.leases.remove(key, now);
        self.watchers.changed(key.as_str());
    }

    /// A hit costs one look-up and takes no memory; a miss clears away a few expired entries.
    pub(super) fn get(&mut self, key: &Key, now: Monotonic) -> Option<Bytes> {
        let Some(value) = self.entries.get(key, now).cloned() else {
            self.purge(now);
            return None;
        };
        if let Some(recency) = &mut self.recency {
            recency.used(key);
        }
        Some(value)
    }

    fn purge(&mut self, now: Monotonic) {
        self.leases.purge(now);
        for (forgotten, _) in self.generations.purge(now) {
            self.watchers.changed(forgotten.key().as_str());
        }
        for (ended, _) in self.entries.purge(now) {
            self.watchers.changed(ended.as_str());
            if let Some(recency) = &mut self.recency {
                recency.removed(&ended);
            }
        }
    }

    fn put(&mut self, key: &Key, value: Bytes, deadline: Monotonic, now: Monotonic) {
        self.purge(now);
        let evicted =
            self.recency.as_mut().map(|recency| recency.stored(key, value.len())).unwrap_or_default();
        self.entries.insert(key.clone(), value, deadline);
        for key in evicted {
            self.entries.remove(&key, now);
            self.watchers.changed(key.as_str());
        }
    }

    /// One set, whose value was checked.
    pub(super) fn set(
        &mut self,
        key: &Key,
        value: &Bytes,
        options: &SetOptions,
        now: Monotonic,
    ) -> Result<SetOutcome> {
        let current = self.entries.get(key, now);
        let holds = match &options.when {
            When::Always => true,
            When::Absent => current.is_none(),
            When::Present => current.is_some(),
            When::Equals(expected) => current == Some(expected),
            other => return Err(Error::unsupported(format!("the condition {other:?} is not known"))),
        };
        if !holds {
            return Ok(SetOutcome::NotStored);
        }
        if options.schema > 0 && current.is_some_and(|current| schema_of(current) > options.schema) {
            self.take(key, now);
            self.written(key, now);
            return Ok(SetOutcome::Newer);
        }
        self.put(key, value.clone(), deadline(now, options.ttl), now);
        self.written(key, now);
        Ok(SetOutcome::Stored)
    }

    pub(super) fn fetch(&mut self, request: &LeaseRequest, now: Monotonic) -> Fetched {
        let holder = self.leases.get(&request.key, now).copied();
        let held = holder == Some(Holder::Token(request.token));
        let ends = self.leases.deadline(&request.key, now).unwrap_or(now);
        let remaining = ends.saturating_since(now);
        if request.want == Want::Keep {
            if held {
                self.leases.extend(&request.key, deadline(now, request.lease), now);
                return Fetched::Leased { current: None };
            }
            let remaining = if holder == Some(Holder::Failed) { Duration::ZERO } else { remaining };
            return Fetched::Busy { remaining, current: None };
        }
        let current = self.get(&request.key, now);
        if let (Want::IfAbsent, Some(value)) = (request.want, &current) {
            return Fetched::Hit(value.clone());
        }
        match holder {
            Some(Holder::Token(_)) if !held => Fetched::Busy { remaining, current },
            Some(Holder::Failed) if !request.despite_failure => Fetched::Failed { remaining, current },
            _ => {
                self.leases.purge(now);
                let holder = Holder::Token(request.token);
                self.leases.insert(request.key.clone(), holder, deadline(now, request.lease));
                Fetched::Leased { current }
            }
        }
    }

    pub(super) fn fill(&mut self, fill: &Fill, now: Monotonic) -> FillOutcome {
        if self.leases.get(&fill.key, now) != Some(&Holder::Token(fill.token)) {
            return FillOutcome::Fenced;
        }
        self.put(&fill.key, fill.value.clone(), deadline(now, fill.ttl), now);
        self.written(&fill.key, now);
        FillOutcome::Filled
    }

    /// The generation that is stored. A new one is made without a notification, since nobody can have mirrored it.
    pub(super) fn generation(&mut self, tag: &Tag, now: Monotonic, wall: Timestamp) -> Generation {
        if let Some(stored) = self.generations.get(tag, now) {
            return *stored;
        }
        let (made, has_replaced) = self.next_generation(tag, now, wall);
        if has_replaced {
            // One that had expired unnoticed: who mirrors it would take values that carry this one for invalidated.
            self.watchers.changed(tag.key().as_str());
        }
        made
    }

    pub(super) fn bump(&mut self, tag: &Tag, now: Monotonic, wall: Timestamp) -> Generation {
        let (next, _) = self.next_generation(tag, now, wall);
        self.watchers.changed(tag.key().as_str());
        next
    }

    /// A greater generation, and whether there was one before, which may have expired.
    fn next_generation(&mut self, tag: &Tag, now: Monotonic, wall: Timestamp) -> (Generation, bool) {
        let last = self.generations.get(tag, now).copied().unwrap_or_default();
        let next = Generation::new(wall.as_micros().max(last.get().saturating_add(1)));
        self.purge(now);
        let replaced = self.generations.insert(tag.clone(), next, now.saturating_add(GENERATION_KEPT));
        (next, replaced.is_some())
    }

    fn take(&mut self, key: &Key, now: Monotonic) -> bool {
        if let Some(recency) = &mut self.recency {
            recency.removed(key);
        }
        self.entries.remove(key, now).is_some()
    }

    /// The value, and what is left of its time to live.
    pub(super) fn get_with_ttl(&mut self, key: &Key, now: Monotonic) -> Option<(Bytes, Ttl)> {
        let value = self.get(key, now)?;
        let ends = self.entries.deadline(key, now)?;
        Some((value, Ttl::new(ends.saturating_since(now)).ok()?))
    }

    /// What is left of an entry's time to live.
    pub(super) fn ttl(&self, key: &Key, now: Monotonic) -> Result<Option<Ttl>> {
        let ends = self.entries.deadline(key, now);
        ends.map(|ends| Ttl::new(ends.saturating_since(now))).transpose()
    }

    /// Whether there was an entry to remove.
    pub(super) fn remove(&mut self, key: &Key, now: Monotonic) -> bool {
        let held = self.take(key, now);
        self.written(key, now);
        held
    }

    pub(super) fn add(&mut self, key: &Key, delta: i64, ttl: Ttl, now: Monotonic) -> Result<i64> {
        let current = match self.entries.get(key, now) {
            Some(bytes) => parse(bytes)?,
            None => 0,
        };
        let sum = current
            .checked_add(delta)
            .ok_or_else(|| Error::invalid("the counter would leave the range of i64"))?;
        let ends = self.entries.deadline(key, now).unwrap_or_else(|| deadline(now, ttl));
        self.put(key, Bytes::from(sum.to_string()), ends, now);
        self.written(key, now);
        Ok(sum)
    }

    pub(super) fn touch(&mut self, key: &Key, ttl: Ttl, now: Monotonic) -> bool {
        let touched = self.entries.extend(key, deadline(now, ttl), now);
        if touched {
            // A near cache may keep a copy until the old deadline only.
            self.watchers.changed(key.as_str());
        }
        touched
    }

    /// Gives a lease back, if it is the token's, and wakes those who wait for it.
    pub(super) fn release(&mut self, release: &Release, now: Monotonic) {
        let Release { key, token, failed, .. } = release;
        if self.leases.get(key, now) != Some(&Holder::Token(*token)) {
            return;
        }
        self.leases.remove(key, now);
        if let Some(remembered) = failed {
            self.leases.insert(key.clone(), Holder::Failed, deadline(now, *remembered));
        }
        self.watchers.changed(key.as_str());
    }

    /// Notifies this watcher from now on; answers the number to end it by.
    pub(super) fn watch(&mut self, handle: u64, namespace: &Namespace, watcher: Arc<dyn Watcher>) -> u64 {
        self.watchers.begin(handle, namespace, watcher)
    }

    pub(super) fn end_watch(&mut self, number: u64) {
        self.watchers.end(number);
    }
}

fn deadline(now: Monotonic, ttl: Ttl) -> Monotonic {
    now.saturating_add(ttl.as_duration())
}

/// A counter's decimal text, in the one form in which it is written: no sign but a minus, no zeros in front.
fn parse(bytes: &[u8]) -> Result<i64> {
    std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| text.parse::<i64>().ok().filter(|number| number.to_string() == text))
        .ok_or_else(|| Error::new(ErrorKind::Codec, "the key holds something that is no number"))
}

#[cfg(test)]
mod tests {
    use stanchion::cache::Shard;

    use super::*;
    use crate::shared::locked;

    fn key(id: &str) -> Key {
        Key::new("cache", "t", id).unwrap()
    }

    #[test]
    fn over_the_bound_the_least_recently_used_go() {
        let now = Monotonic::from_origin(Duration::ZERO);
        // A key such as "cache:t:a" has 9 bytes.
        let mut state = State::new(Some(327));
        let put = |state: &mut State, id: &str, bytes: usize| {
            let set = state.set(&key(id), &vec![0; bytes].into(), &SetOptions::new(Ttl::MAX), now);
            assert_eq!(set.unwrap(), SetOutcome::Stored);
        };
        let has = |state: &mut State, id: &str| state.get(&key(id), now).is_some();
        for id in ["a", "b", "c"] {
            put(&mut state, id, 100);
        }
        assert!(has(&mut state, "a"));
        put(&mut state, "d", 100);
        assert_eq!(["a", "b", "c"].map(|id| has(&mut state, id)), [true, false, true]);
        // Replacing a value counts its new size only.
        put(&mut state, "d", 50);
        assert_eq!(["a", "c", "d"].map(|id| has(&mut state, id)), [true; 3]);
        // What alone is over the bound is not kept, and evicts nothing else.
        put(&mut state, "e", 400);
        assert_eq!(["a", "c", "d", "e"].map(|id| has(&mut state, id)), [true, true, true, false]);
    }

    /// Keeps the keys that it is notified of.
    #[derive(Debug, Default)]
    struct Recorder(std::sync::Mutex<Vec<String>>);

    impl Watcher for Recorder {
        fn changed(&self, key: &str) {
            locked(&self.0).push(key.to_owned());
        }
        fn lost(&self, _: Shard) {}
        fn restored(&self, _: Shard) {}
    }

    fn after(days_since: u64) -> (Monotonic, Timestamp) {
        let life = days(days_since);
        (Monotonic::from_origin(life), Timestamp::from_secs(1_750_000_000).saturating_add(life))
    }

    #[test]
    fn a_generation_that_replaces_an_expired_one_is_notified() {
        let (mut state, watcher) = (State::new(None), Arc::new(Recorder::default()));
        let [names, _] = Tag::namespaces().unwrap();
        state.watchers.begin(0, &names, Arc::clone(&watcher) as Arc<dyn Watcher>);
        // More than are cleared away at once.
        let tags: Vec<Tag> = (0..100_u32).map(|n| Tag::new(n).unwrap()).collect();
        let (now, wall) = after(0);
        let first: Vec<_> = tags.iter().map(|tag| state.generation(tag, now, wall)).collect();
        assert!(locked(&watcher.0).is_empty());
        let (now, wall) = after(31);
        let last = &tags[99];
        assert!(state.generation(last, now, wall) > first[99]);
        assert!(locked(&watcher.0).iter().any(|key| key == last.key().as_str()));
    }

    #[test]
    fn what_is_never_read_again_does_not_pile_up() {
        let mut state = State::new(None);
        for n in 0..1_000_u64 {
            let (now, wall) = after(n);
            state.bump(&Tag::new(n).unwrap(), now, wall);
        }
        assert!(state.generations.len() < 50, "{} generations", state.generations.len());
        let keys: Vec<_> = (0..1_000_u64).map(|n| Key::new("cache", "t", n).unwrap()).collect();
        for key in &keys {
            let set = SetOptions::new(Ttl::MAX);
            let _stored = state.set(key, &Bytes::new(), &set, after(1_000).0).unwrap();
        }
        // Loads over values that are there, whose loaders have died.
        for (n, key) in (1_000..).zip(&keys) {
            let lease = Ttl::new(days(1)).unwrap();
            let request = LeaseRequest::new(key.clone(), LeaseToken::new([7; 16]), lease, Want::Anyway);
            assert!(matches!(state.fetch(&request, after(n).0), Fetched::Leased { .. }));
        }
        assert!(state.leases.len() < 50, "{} leases", state.leases.len());
    }
}
