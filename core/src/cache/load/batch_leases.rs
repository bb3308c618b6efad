//! Permission to store what a batch loads: the leases that can be had at once, or what was there on a store without leases.

use std::collections::HashMap;
use std::time::Duration;

use super::batch::Missing;
use super::fill::{ToStore, new_token, unchanged};
use super::lease::Proof;
use super::lease_guard::LeaseGuard;
use super::{Loaded, Loader};
use crate::cache::read::{Cached, Generations, is_callers};
use crate::cache::store::{CacheLeases, Fetched, LeaseRequest, Tag, Want};
use crate::cache::wire::{Read, Stamp};
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::key::Key;

/// The permits of a batch, and the generations from before its load.
pub(super) struct Permits {
    /// Those of the entries that may be stored.
    pub(super) proofs: HashMap<Key, Proof>,
    generations: Generations,
    pub(super) guard: LeaseGuard,
    /// Why some are missing, if a part of the store is away.
    pub(super) refused: Option<Error>,
}

impl<T: Cached, C: Codec> Loader<T, C> {
    /// The permits that can be had now; the rest is loaded and not stored.
    pub(super) async fn permits<I>(&self, missing: &[Missing<I, T>]) -> Result<Permits> {
        let reader = &self.reader;
        let missing: Vec<_> = missing.iter().filter(|missing| missing.store).collect();
        let mut requests = Vec::new();
        let leases = reader.gate.store().leases();
        if leases.is_some() {
            for missing in &missing {
                let want = if missing.present { Want::Anyway } else { Want::IfAbsent };
                let token = new_token(&*reader.environment.random)?;
                requests.push(LeaseRequest::new(missing.key.clone(), token, reader.policy.lease, want));
            }
        }
        let guard = LeaseGuard::of(reader.gate.store(), &reader.environment.tasks, &requests);
        let mut permits =
            Permits { proofs: HashMap::new(), generations: Generations::default(), guard, refused: None };
        if missing.is_empty() {
            return Ok(permits);
        }
        match leases {
            Some(leases) => self.leases(leases, requests, &mut permits).await?,
            None => self.conditions(missing.iter().map(|missing| missing.key.clone()), &mut permits).await?,
        }
        if permits.proofs.is_empty() {
            return Ok(permits);
        }
        let tags: Vec<Tag> =
            permits.proofs.keys().flat_map(|key| reader.tags_of(reader.identifier(key))).collect();
        permits.generations = reader.generations_at_hand(tags.iter()).await?;
        if let Some(error) = permits.generations.failure.clone() {
            self.drop_unstamped(&mut permits, &error);
        }
        Ok(permits)
    }

    /// What would be stored without one of its generations is not: nobody is to wait for it.
    fn drop_unstamped(&self, permits: &mut Permits, why: &Error) {
        let Permits { proofs, generations, guard, refused } = permits;
        let mut unneeded = Vec::new();
        proofs.retain(|key, proof| {
            let tags = self.reader.tags_of(self.reader.identifier(key));
            let is_stamped = self.reader.stamped(generations, tags).is_some();
            if !is_stamped {
                *refused = Some(why.clone());
                if let Proof::Lease(token) = proof {
                    unneeded.push(*token);
                }
            }
            is_stamped
        });
        guard.release(&unneeded);
    }

    async fn leases(
        &self,
        leases: &dyn CacheLeases,
        requests: Vec<LeaseRequest>,
        permits: &mut Permits,
    ) -> Result<()> {
        let ask = |part: Vec<LeaseRequest>| async move { leases.fetch(&part).await };
        let gate = &self.reader.gate;
        let failed = |error: &Error| gate.failed_unless_callers(error);
        let answers = gate.ask_each(requests.clone(), |request| &request.key, ask, failed).await;
        for (request, answer) in requests.into_iter().zip(answers) {
            match answer {
                // Of a newer schema since it was looked at: left alone, and the guard releases the lease.
                Ok(Fetched::Leased { current: Some(bytes) })
                    if matches!(self.reader.wire.read(&request.key, &bytes), Read::Newer) => {}
                Ok(Fetched::Leased { .. }) => {
                    permits.proofs.insert(request.key, Proof::Lease(request.token));
                }
                Ok(_) => permits.guard.settle(request.token),
                Err(error) => {
                    permits.guard.refused(request.token, &error);
                    if is_callers(&error) {
                        return Err(error);
                    }
                    permits.refused = Some(error);
                }
            }
        }
        Ok(())
    }

    /// On a store without leases: what is there before the load.
    async fn conditions(&self, keys: impl Iterator<Item = Key>, permits: &mut Permits) -> Result<()> {
        let keys: Vec<Key> = keys.collect();
        let snapshots: Vec<_> = match &self.in_flight.writes {
            Some(writes) => {
                keys.iter().map(|key| Some(writes.snapshot(self.reader.identifier(key)))).collect()
            }
            None => vec![None; keys.len()],
        };
        let (gate, store) = (&self.reader.gate, self.reader.gate.store());
        let failed = |error: &Error| gate.failed_unless_callers(error);
        let ask = |part: Vec<Key>| async move { store.get_many(&part).await };
        let found = gate.ask_each(keys.clone(), |key| key, ask, failed).await;
        for ((key, found), snapshot) in keys.into_iter().zip(found).zip(snapshots) {
            match found {
                Ok(Some(bytes)) if matches!(self.reader.wire.read(&key, &bytes), Read::Newer) => {}
                Ok(found) => {
                    permits.proofs.insert(key, Proof::Unchanged(unchanged(found), snapshot));
                }
                Err(error) if is_callers(&error) => return Err(error),
                Err(error) => permits.refused = Some(error),
            }
        }
        Ok(())
    }

    /// The generations of the tags that these values were given by their loader, those that may have been invalidated since
    /// it began left out.
    pub(super) async fn late_of<'a>(
        &self,
        loaded: impl Iterator<Item = &'a Loaded<T>>,
        took: Duration,
    ) -> Generations
    where
        T: 'a,
    {
        let mut tags: Vec<Tag> = loaded.flat_map(|value| &value.tags).cloned().collect();
        tags.sort_unstable();
        tags.dedup();
        if tags.is_empty() || self.reader.generations.is_none() {
            return Generations::default();
        }
        match self.late_each(&tags, took, |error| self.reader.gate.failed(error)).await {
            Ok(late) => late.into_iter().filter_map(Result::ok).flatten().collect(),
            Err(error) => {
                self.not_stored(&error);
                Generations::default()
            }
        }
    }

    /// A loaded value as it is to be stored; `None` if it is not.
    #[expect(clippy::too_many_arguments, reason = "what one value of a batch is made of")]
    pub(super) fn to_store(
        &self,
        key: &Key,
        proof: Proof,
        value: Option<&T>,
        loaded: &Loaded<T>,
        permits: &Permits,
        late: &Generations,
        took: Duration,
    ) -> Result<Option<ToStore>> {
        let reader = &self.reader;
        let random = &*reader.environment.random;
        if reader.generations.is_none() && !loaded.tags.is_empty() {
            return Err(reader.no_tags());
        }
        let Some(life) = reader.policy.life_of(loaded.ttl, value.is_some(), random)? else {
            return Ok(None);
        };
        let tags = reader.stamped(&permits.generations, reader.tags_of(reader.identifier(key)));
        let Some(mut tags) = tags else { return Ok(None) };
        let namespace = tags.pop().map(|(_, generation)| generation);
        for tag in &loaded.tags {
            let Some(generation) = late.of(tag) else {
                reader.counts.fenced.one();
                return Ok(None);
            };
            tags.push((tag.clone(), generation));
        }
        let stamp = Stamp::new(reader.gate.store().now(), life, took, namespace, tags);
        let bytes = reader.wire.encode(key, value, stamp, random)?;
        reader.gate.store().capabilities().check_value(bytes.len())?;
        Ok(Some(ToStore { key: key.clone(), bytes, kept: reader.policy.kept(life), proof }))
    }
}
