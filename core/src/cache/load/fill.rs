//! Storing what was loaded, unless something was written or invalidated meanwhile.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::in_flight::LoadsInFlight;
use super::lease::{Permit, Proof};
use super::lease_guard::LeaseGuard;
use super::{Loaded, Loader};
use crate::cache::near::{InvalidationListener, LocalFill, LocalWrite, Snapshot};
use crate::cache::read::Cached;
use crate::cache::store::{
    CacheStore, Fill, FillOutcome, Generation, LeaseToken, SetEntry, SetOptions, SetOutcome, Tag, When,
};
use crate::cache::wire::Stamp;
use crate::codec::Codec;
use crate::error::{Effect, Error, ErrorKind, Result};
use crate::key::Key;
use crate::time::Ttl;

/// A loaded value as it is to be stored.
pub(super) struct ToStore {
    pub(super) key: Key,
    pub(super) bytes: Bytes,
    /// How long the store keeps it.
    pub(super) kept: Ttl,
    pub(super) proof: Proof,
}

/// What became of a loaded value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    Yes,
    /// Something was written or invalidated meanwhile.
    Fenced,
    /// It is not to be stored, or can't be.
    NotWanted,
    /// The store did not say.
    Unanswered,
}

impl<T: Cached, C: Codec> Loader<T, C> {
    /// Stores what was loaded, unless something was written or invalidated meanwhile, or it is not to be stored.
    pub(super) async fn store(
        &self,
        key: &Key,
        permit: &mut Permit,
        value: Option<&T>,
        loaded: &Loaded<T>,
        took: Duration,
    ) -> Stored {
        match self.to_store(key, permit, value, loaded, took).await {
            Ok(Some(entry)) => {
                self.store_all(vec![entry], &mut permit.guard).await.pop().unwrap_or(Stored::Unanswered)
            }
            Ok(None) => Stored::NotWanted,
            Err(error) => {
                self.not_stored(&error);
                Stored::NotWanted
            }
        }
    }

    /// A loaded value as it is to be stored; `None` if it is not.
    async fn to_store(
        &self,
        key: &Key,
        permit: &Permit,
        value: Option<&T>,
        loaded: &Loaded<T>,
        took: Duration,
    ) -> Result<Option<ToStore>> {
        let policy = &self.reader.policy;
        let Some(life) = policy.life_of(loaded.ttl, value.is_some(), &*self.reader.environment.random)?
        else {
            return Ok(None);
        };
        let mut tags = permit.tags.clone();
        if !loaded.tags.is_empty() {
            let late = self.late_generations(&loaded.tags, took).await?;
            let Some(late) = late.into_iter().collect::<Option<Vec<_>>>() else {
                self.reader.counts.fenced.one();
                return Ok(None);
            };
            tags.extend(late);
        }
        let kept = policy.kept(life, value.is_some());
        let stamp = Stamp::new(self.reader.gate.store().now(), (life, kept), took, permit.namespace, tags);
        let bytes = self.encoded(key, value, stamp)?;
        let proof = permit.proof.clone();
        Ok(bytes.map(|bytes| ToStore { key: key.clone(), bytes, kept, proof }))
    }

    /// The bytes of a loaded value; `None` if they are over a bound.
    pub(super) fn encoded(&self, key: &Key, value: Option<&T>, stamp: Stamp) -> Result<Option<Bytes>> {
        let reader = &self.reader;
        let bytes = reader.wire.encode(key, value, stamp, &*reader.environment.random).and_then(|bytes| {
            reader.gate.store().capabilities().check_value(bytes.len())?;
            Ok(bytes)
        });
        match bytes {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                self.too_large(&error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Stores loaded values, in their order. One that could not be is counted and logged.
    pub(super) async fn store_all(&self, entries: Vec<ToStore>, guard: &mut LeaseGuard) -> Vec<Stored> {
        let sizes: Vec<usize> = entries.iter().map(|entry| entry.bytes.len()).collect();
        let (mut fills, mut sets) = (Vec::new(), Vec::new());
        for ToStore { key, bytes, kept, proof } in entries {
            match proof {
                Proof::Lease(token) => fills.push(Fill::new(key, token, bytes, kept)),
                Proof::Unchanged(when, unchanged) => {
                    sets.push((SetEntry::new(key, bytes, SetOptions::new(kept).when(when)), unchanged));
                }
            }
        }
        // Of one store they are of one kind.
        let stored = if sets.is_empty() { self.fill(fills, guard).await } else { self.set(sets).await };
        let count = |(size, stored): (usize, Result<bool>)| match stored {
            Ok(true) => {
                self.reader.counts.bytes_written.add(size as u64);
                Stored::Yes
            }
            Ok(false) => {
                self.reader.counts.fenced.one();
                Stored::Fenced
            }
            // Said once, for all that were to go to its shard.
            Err(_) => Stored::Unanswered,
        };
        sizes.into_iter().zip(stored).map(count).collect()
    }

    /// Stores under leases.
    async fn fill(&self, fills: Vec<Fill>, guard: &mut LeaseGuard) -> Vec<Result<bool>> {
        let gate = &self.reader.gate;
        let Some(leases) = gate.store().leases() else {
            // There is nothing to be filled then.
            return Vec::new();
        };
        let keys: Vec<Key> = fills.iter().map(|fill| fill.key.clone()).collect();
        let tokens: Vec<LeaseToken> = fills.iter().map(|fill| fill.token).collect();
        let outcomes = {
            let _own = LocalWrite::of(&self.listener, &keys);
            let ask = |part: Vec<Fill>| async move { leases.fill(&part).await };
            let failed = |error: &Error| self.not_stored(error);
            gate.store_each(fills, |fill| &fill.key, |fill| fill.value.len(), ask, failed).await
        };
        let settle = |(token, outcome): (LeaseToken, Result<FillOutcome>)| {
            let outcome = outcome?;
            guard.settle(token);
            Ok(outcome == FillOutcome::Filled)
        };
        tokens.into_iter().zip(outcomes).map(settle).collect()
    }

    /// Stores on the condition that nothing has changed. By a task of its own: whoever is aborted in between must not leave
    /// behind what was changed meanwhile.
    async fn set(&self, sets: Vec<(SetEntry, Option<Snapshot>)>) -> Vec<Result<bool>> {
        let gate = &self.reader.gate;
        // Begun within the gate: not at all while the store does not answer.
        let ask = |part: Vec<(SetEntry, Option<Snapshot>)>| async {
            let setting = set_unchanged(
                Arc::clone(gate.store()),
                Arc::clone(&self.in_flight),
                Arc::clone(&self.listener),
                part,
            );
            match self.reader.environment.tasks.spawn_last(setting)?.await {
                Ok(Some(outcome)) => outcome,
                _ => Err(super::error::closed()),
            }
        };
        let failed = |error: &Error| self.not_stored(error);
        gate.store_each(sets, |(entry, _)| &entry.key, |(entry, _)| entry.value.len(), ask, failed).await
    }

    /// Whether one of these generations is over. Costs no trip while the feed is up.
    pub(super) async fn is_invalidated(&self, under: &[(Tag, Generation)]) -> bool {
        let Some(generations) = &self.reader.generations else { return false };
        let tags: Vec<Tag> = under.iter().map(|(tag, _)| tag.clone()).collect();
        match self.reader.all_generations(generations, &tags).await {
            Ok(current) => under.iter().zip(current).any(|((_, before), now)| *before != now),
            Err(error) => {
                self.reader.gate.failed(&error);
                false
            }
        }
    }

    /// The generations of tags that are known only after the load, in their order; `None` in place of one that may have
    /// been invalidated since the load began: it is not older than that.
    pub(super) async fn late_generations(
        &self,
        tags: &[Tag],
        took: Duration,
    ) -> Result<Vec<Option<(Tag, Generation)>>> {
        self.late_each(tags, took, |_| ()).await?.into_iter().collect()
    }

    /// As [`late_generations`](Self::late_generations), each by itself; `failed` is called once for each shard of the store that
    /// does not answer.
    pub(super) async fn late_each(
        &self,
        tags: &[Tag],
        took: Duration,
        failed: impl Fn(&Error),
    ) -> Result<Vec<Result<Option<(Tag, Generation)>>>> {
        let Some(known) = &self.reader.generations else {
            return Err(self.reader.no_tags());
        };
        let asked_at = self.reader.now();
        let generations = self.reader.ask_generations(known, tags.to_vec(), failed).await;
        let since = took.saturating_add(self.reader.now().saturating_since(asked_at));
        let late = |(tag, answer): (&Tag, Result<(Generation, Duration)>)| {
            let (generation, age) = answer?;
            // Read past what is known of it.
            known.read(tag, generation);
            Ok((age > since).then(|| (tag.clone(), generation)))
        };
        Ok(tags.iter().zip(generations).map(late).collect())
    }
}

/// Sets values whose entries have not changed, and removes again what this process has changed meanwhile.
async fn set_unchanged<T: Send + Sync + 'static>(
    store: Arc<dyn CacheStore>,
    in_flight: Arc<LoadsInFlight<T>>,
    listener: Arc<InvalidationListener>,
    sets: Vec<(SetEntry, Option<Snapshot>)>,
) -> Result<Vec<bool>> {
    let is_unchanged = |snapshot: Option<Snapshot>| match (&in_flight.writes, snapshot) {
        (Some(writes), Some(snapshot)) => writes.is_unchanged(snapshot),
        _ => false,
    };
    let mut stored = vec![false; sets.len()];
    let (mut entries, mut places) = (Vec::new(), Vec::new());
    for (place, (entry, snapshot)) in sets.into_iter().enumerate() {
        // What was changed during the load is not set even for a moment.
        if is_unchanged(snapshot) {
            entries.push(entry);
            places.push((place, snapshot));
        }
    }
    if entries.is_empty() {
        return Ok(stored);
    }
    let keys: Vec<Key> = entries.iter().map(|entry| entry.key.clone()).collect();
    let outcomes = {
        let _own = LocalFill::of(&listener, &keys);
        store.set_many(&entries).await
    };
    let mut changed = Vec::new();
    for (at, ((place, snapshot), key)) in places.into_iter().zip(keys).enumerate() {
        let may_be_set = match &outcomes {
            Ok(outcomes) => outcomes.get(at) == Some(&SetOutcome::Stored),
            Err(error) => error.effect() == Effect::Unknown,
        };
        stored[place] = may_be_set && is_unchanged(snapshot);
        if may_be_set && !stored[place] {
            changed.push(key);
        }
    }
    if !changed.is_empty() {
        // Of what was loaded too: it is no change by which other loads in flight are out of date.
        let _own = LocalFill::of(&listener, &changed);
        store.remove_many(&changed).await?;
    }
    outcomes.map(|_| stored)
}

/// What a batch found before its load, as the condition under which it stores.
pub(super) fn unchanged(found: Option<Bytes>) -> When {
    found.map_or(When::Absent, When::Equals)
}

/// A new token for a lease.
pub(super) fn new_token(random: &dyn crate::random::Random) -> Result<LeaseToken> {
    let mut token = [0; 16];
    random.fill(&mut token)?;
    Ok(LeaseToken::new(token))
}
