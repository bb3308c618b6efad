//! Reading many entries: near, then the store, then the generations that are needed.

use super::{Assessment, Before, Cached, Lookup, NearHit, Reader, Stored, is_callers};
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::key::Key;
use crate::time::Timestamp;

/// The entries of a batch that are not near: where each was asked for, and what was so before the read.
struct Asked {
    places: Vec<usize>,
    keys: Vec<Key>,
    before: Vec<Before>,
}

/// What was found of a batch so far, by place.
type Places<T> = Vec<Option<Lookup<T>>>;

impl<C: Codec> Reader<C> {
    /// Reads many entries, in the order of the keys. `in_outage`: whether near copies are an answer while their feed is away, where
    /// that is asked for.
    pub(in crate::cache) async fn lookup_many<T: Cached>(
        &self,
        keys: &[Key],
        in_outage: bool,
    ) -> Result<Vec<Lookup<T>>> {
        let near = |key: &Key| {
            // Nothing of a batch is loaded ahead of its end.
            let NearHit { value, unconfirmed, .. } = self.near_hit(self.identifier(key), true, in_outage)?;
            Some(Lookup::Fresh { value, due: false, until: Timestamp::default(), unconfirmed })
        };
        let mut found: Places<T> = keys.iter().map(near).collect();
        let places: Vec<usize> = (0..keys.len()).filter(|place| found[*place].is_none()).collect();
        if !places.is_empty() {
            let keys: Vec<Key> = places.iter().map(|place| keys[*place].clone()).collect();
            let before = keys.iter().map(|key| self.before(key)).collect();
            let asked = Asked { places, keys, before };
            // As a whole, also where each shard would take its part.
            let capabilities = self.gate.store().capabilities();
            capabilities
                .check_batch(asked.keys.len())
                .map_err(|error| error.with_operation("cache.get_many"))?;
            let stored = self.stored_many(asked.keys.clone()).await;
            self.assess_many(&asked, &stored, &mut found).await?;
        }
        Ok(found.into_iter().flatten().inspect(|found| self.count_miss(found)).collect())
    }

    fn count_miss<T>(&self, found: &Lookup<T>) {
        match found {
            // Near hits are counted where they are found; here they are few beside a trip.
            Lookup::Fresh { .. } => {}
            _ => self.counts.misses.one(),
        }
    }

    fn count_hit<T>(&self, found: &Lookup<T>) {
        if matches!(found, Lookup::Fresh { .. }) {
            self.counts.store_hits.one();
        }
    }

    /// What is stored under each key, asked of each shard by itself.
    async fn stored_many(&self, keys: Vec<Key>) -> Vec<Result<Option<Stored>>> {
        let stored = self.ask_many(keys).await;
        self.gate.learn(stored.iter().flatten().flatten().map(|(bytes, _)| bytes.len()));
        stored
    }

    async fn ask_many(&self, keys: Vec<Key>) -> Vec<Result<Option<Stored>>> {
        let (gate, store) = (&self.gate, self.gate.store());
        let failed = |error: &Error| gate.failed_unless_callers(error);
        if self.wire.plain {
            let ask = |part: Vec<Key>| async move { store.get_many_with_ttl(&part).await };
            let found = gate.values_each(keys, ask, failed).await;
            let stored = |(bytes, left)| (bytes, Some(left));
            return found.into_iter().map(|one| one.map(|one| one.map(stored))).collect();
        }
        let ask = |part: Vec<Key>| async move { store.get_many(&part).await };
        let found = gate.values_each(keys, ask, failed).await;
        found.into_iter().map(|one| one.map(|one| one.map(|bytes| (bytes, None)))).collect()
    }

    async fn assess_many<T: Cached>(
        &self,
        asked: &Asked,
        stored: &[Result<Option<Stored>>],
        found: &mut Places<T>,
    ) -> Result<()> {
        let (mut needed, mut open) = (Vec::new(), Vec::new());
        for (index, place) in asked.places.iter().enumerate() {
            let (bytes, left) = match &stored[index] {
                Ok(Some(stored)) => stored,
                Ok(None) => {
                    self.forget_near(&asked.keys[index]);
                    found[*place] = Some(Lookup::Missing { present: false });
                    continue;
                }
                Err(error) if is_callers(error) => return Err(error.clone()),
                Err(error) => {
                    found[*place] = Some(Lookup::Unavailable(error.clone()));
                    continue;
                }
            };
            let known = |tag: &_| self.known_generation(tag);
            match self.assess(&asked.keys[index], bytes, *left, asked.before[index], known) {
                Assessment::Done(one) => {
                    self.count_hit(&one);
                    found[*place] = Some(one);
                }
                Assessment::NeedsGenerations(tags) => {
                    needed.extend(tags);
                    open.push((index, *place));
                }
            }
        }
        if open.is_empty() {
            return Ok(());
        }
        let read = self.generations_at_hand(needed.iter()).await?;
        for (index, place) in open {
            let Ok(Some((bytes, left))) = &stored[index] else {
                continue;
            };
            let one = self.assess_with(&asked.keys[index], bytes, *left, asked.before[index], &read);
            self.count_hit(&one);
            found[place] = Some(one);
        }
        Ok(())
    }
}
