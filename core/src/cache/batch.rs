//! Many values at once: one trip per master for all of them.

mod fill;
mod look;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::inner::Inner;
use super::judge::Found;
use super::lease_guard::LeaseGuard;
use super::write::OwnWrite;
use super::{
    Cache, Freshness, Generation, LeaseToken, LoadError, Loaded, Served, SetEntry, SetOutcome, StaleReason,
    Tag, When,
};
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::key::{Identifier, Key};

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static, C: Codec> Cache<T, C> {
    /// The values, in the order of the identifiers, in one trip per master for those that are not near.
    ///
    /// # Errors
    /// As [`get`](Self::get), for all of them; `InvalidInput` for more than the backend takes in one batch, 10,000 unless set.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn get_many<I: Identifier>(&self, ids: &[I]) -> Result<Vec<Option<Arc<T>>>> {
        let keys = self.keys(ids)?;
        let found = self.0.look_many(&keys).await?;
        found
            .into_iter()
            .map(|found| match found {
                Found::Fresh { value, .. } => Ok(value),
                Found::Down(error) => Err(error),
                _ => Ok(None),
            })
            .collect()
    }

    fn keys<I: Identifier>(&self, ids: &[I]) -> Result<Vec<Key>> {
        ids.iter().map(|id| self.key(id)).collect()
    }

    /// Sets the values, whatever is there, in one trip per master. Not one atomic step: on an error some may be set.
    ///
    /// # Errors
    /// Those of [every method](Cache#errors); `InvalidInput` also for more than the backend takes in one batch, 10,000 unless
    /// set. An argument that is refused is refused before anything is set.
    ///
    /// # Cancel safety
    /// Dropping the future leaves each value either set or not.
    pub async fn set_many<I: Identifier>(&self, values: &[(I, T)]) -> Result<()> {
        let inner = &*self.0;
        let keys = values.iter().map(|(id, _)| self.key(id)).collect::<Result<Vec<_>>>()?;
        let tags: Vec<Vec<Tag>> = keys.iter().map(|key| inner.tags_of(inner.identifier(key))).collect();
        let known = inner.generations_of(tags.iter().flatten()).await?;
        let mut entries = Vec::with_capacity(values.len());
        for ((key, (_, value)), tags) in keys.iter().zip(values).zip(tags) {
            let stamped = known.stamp(tags, inner);
            let (bytes, options) = inner.prepare(key, value, None, stamped, When::Always)?;
            entries.push(SetEntry::new(key.clone(), bytes, options));
        }
        let _own = OwnWrite::of(&inner.told, &keys);
        let outcomes = inner.store.set_many(&entries).await?;
        let stored = entries.iter().zip(outcomes).filter(|(_, outcome)| *outcome == SetOutcome::Stored);
        inner.counts.bytes_written.add(stored.map(|(entry, _)| entry.value.len() as u64).sum());
        Ok(())
    }

    /// Removes the values and says how many there were, in one trip per master.
    ///
    /// # Errors
    /// Those of [every method](Cache#errors); `InvalidInput` also for more than the backend takes in one batch, 10,000 unless
    /// set. On another error some may be removed; removing again does no harm.
    ///
    /// # Cancel safety
    /// Dropping the future leaves each value either removed or not.
    pub async fn remove_many<I: Identifier>(&self, ids: &[I]) -> Result<u64> {
        self.0.remove(&self.keys(ids)?).await
    }

    /// The values, in the order of the identifiers; what is missing is loaded by one call of the loader, for all of it,
    /// and stored. The loader answers what it has, in any order; what it does not answer is `None`, and is remembered as
    /// absent where there is a [`negative_ttl`](super::CacheBuilder::negative_ttl).
    ///
    /// A value that another process is loading at the same time is loaded here too, and not stored. One that can't be
    /// stored, as it is too large, say, is served all the same, and spoils none of the others. If the loader fails, stale
    /// values are served where there is one for each that is missing ([`fail_safe`](super::CacheBuilder::fail_safe)).
    /// Nothing is loaded ahead of its end ([`eager`](super::CacheBuilder::eager)), and a batch has no timeout but its
    /// caller's.
    ///
    /// # Errors
    /// The loader's, or why the call could not be made at all.
    ///
    /// # Cancel safety
    /// Dropping the future drops the load, and gives its leases back.
    pub async fn get_or_load_many<I, E, V, F, L>(
        &self,
        ids: &[I],
        load: L,
    ) -> Result<Vec<Option<Arc<T>>>, LoadError<E>>
    where
        I: Identifier + Clone + Eq + Hash,
        L: FnOnce(Vec<I>) -> F,
        F: Future<Output = Result<Vec<(I, V)>, E>>,
        V: Into<Loaded<T>>,
    {
        let served = self.serve_many(ids, load).await?;
        Ok(served.into_iter().map(|served| served.map(|served| served.value)).collect())
    }

    /// As [`get_or_load_many`](Self::get_or_load_many), and tells of each whether it is stale.
    ///
    /// # Errors
    /// As [`get_or_load_many`](Self::get_or_load_many).
    ///
    /// # Cancel safety
    /// As [`get_or_load_many`](Self::get_or_load_many).
    pub async fn serve_many<I, E, V, F, L>(
        &self,
        ids: &[I],
        load: L,
    ) -> Result<Vec<Option<Served<T>>>, LoadError<E>>
    where
        I: Identifier + Clone + Eq + Hash,
        L: FnOnce(Vec<I>) -> F,
        F: Future<Output = Result<Vec<(I, V)>, E>>,
        V: Into<Loaded<T>>,
    {
        Ok(self.fill_many(ids, load, InOutage::Load).await?.values)
    }

    /// As [`serve_many`](Self::serve_many), and counts.
    pub(super) async fn fill_many<I, E, V, F, L>(
        &self,
        ids: &[I],
        load: L,
        in_outage: InOutage,
    ) -> Result<Filled<T>, LoadError<E>>
    where
        I: Identifier + Clone + Eq + Hash,
        L: FnOnce(Vec<I>) -> F,
        F: Future<Output = Result<Vec<(I, V)>, E>>,
        V: Into<Loaded<T>>,
    {
        let inner = &*self.0;
        let keys = self.keys(ids)?;
        let found = inner.look_many(&keys).await?;
        let mut filled = Filled { values: vec![None; ids.len()], present: 0, stored: 0, unreachable: 0 };
        // Each missing identifier once, in the order asked.
        let mut missing: Vec<Missing<I, T>> = Vec::new();
        let mut places: HashMap<&I, usize> = HashMap::new();
        for (place, ((id, key), found)) in ids.iter().zip(&keys).zip(found).enumerate() {
            let (present, store, stale) = match found {
                Found::Fresh { value, .. } => {
                    filled.values[place] = value.map(fresh);
                    filled.present += 1;
                    continue;
                }
                Found::Nothing { present } => (present, true, None),
                Found::Stale { value, age } => {
                    (true, true, (age <= inner.policy.fail_safe).then_some((value, age)))
                }
                Found::Newer => (false, false, None),
                Found::Down(_) if in_outage == InOutage::PassOver => {
                    filled.unreachable += 1;
                    continue;
                }
                Found::Down(error) => {
                    let known = inner.last_resort(inner.identifier(key));
                    if inner.policy.fail_closed && known.is_none() {
                        return Err(error.into());
                    }
                    (false, false, known)
                }
            };
            if let Some((value, age)) = &stale {
                let why = match () {
                    () if inner.throttled.is(key, inner.now()) => Some(StaleReason::LoaderFailed),
                    () if inner.policy.fail_closed && !store => Some(StaleReason::StoreFailed),
                    () => None,
                };
                if let Some(why) = why {
                    filled.values[place] = inner.stale_one(value.clone(), *age, why);
                    continue;
                }
            }
            let index = *places.entry(id).or_insert_with(|| {
                let (id, key) = (id.clone(), key.clone());
                missing.push(Missing { id, key, present, store, stale, at: Vec::new() });
                missing.len() - 1
            });
            missing[index].at.push(place);
        }
        if missing.is_empty() {
            return Ok(filled);
        }
        let mut leased = inner.lease_many(&missing).await?;
        if inner.policy.fail_closed
            && let Some(error) = leased.refused.take()
        {
            let served = inner.stale_many(missing, &mut filled, StaleReason::StoreFailed);
            return if served { Ok(filled) } else { Err(error.into()) };
        }
        inner.counts.loads.one();
        let begun = inner.now();
        let ids = missing.iter().map(|missing| missing.id.clone()).collect();
        let loaded = tokio::select! {
            biased;
            loaded = load(ids) => loaded,
            never = inner.keep(&leased.guard) => match never {},
        };
        let took = inner.now().saturating_since(begun);
        inner.counts.load_time.add(took);
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                inner.counts.load_failures.one();
                let served = inner.stale_many(missing, &mut filled, StaleReason::LoaderFailed);
                return if served { Ok(filled) } else { Err(LoadError::Loader(error)) };
            }
        };
        let mut loaded: HashMap<I, Loaded<T>> =
            loaded.into_iter().map(|(id, value)| (id, value.into())).collect();
        leased.took = took;
        leased.late = inner.late_of(loaded.values(), took).await;
        let mut fills = Vec::new();
        for missing in &missing {
            let mut value = loaded.remove(&missing.id).unwrap_or_else(Loaded::none);
            let held = value.value.take().map(Arc::new);
            if value.store
                && let Some(token) = leased.tokens.get(&missing.key).copied()
            {
                // One that can't be stored is served all the same, and spoils none of the others.
                match inner.to_fill(&missing.key, token, held.as_deref(), &value, &leased) {
                    Ok(fill) => fills.extend(fill),
                    Err(error) => inner.not_filled(&error),
                }
            }
            for place in &missing.at {
                filled.values[*place] = held.clone().map(fresh);
            }
        }
        filled.stored = inner.fill_all(fills, &mut leased).await;
        Ok(filled)
    }
}

/// What becomes of values that the store does not answer for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InOutage {
    /// The loader serves.
    Load,
    /// There is nothing to be filled.
    PassOver,
}

const fn fresh<T>(value: Arc<T>) -> Served<T> {
    Served { value, freshness: Freshness::Fresh }
}

/// What a batch was filled with.
pub(super) struct Filled<T> {
    pub(super) values: Vec<Option<Served<T>>>,
    /// How many were there.
    pub(super) present: u64,
    /// How many were stored.
    pub(super) stored: u64,
    /// How many were passed over, since the store did not answer.
    pub(super) unreachable: u64,
}

/// An identifier without a value.
struct Missing<I, T> {
    id: I,
    key: Key,
    present: bool,
    store: bool,
    /// Served if the load fails: the value, and how long its life has been over.
    stale: Option<(Option<Arc<T>>, Duration)>,
    /// Where it was asked for.
    at: Vec<usize>,
}

/// The leases of a batch, and the generations from before its load.
struct LeasedMany {
    tokens: HashMap<Key, LeaseToken>,
    generations: Generations,
    guard: LeaseGuard,
    /// How long the load took.
    took: Duration,
    /// The generations of the tags that the loader gave.
    late: Generations,
    /// Why there are no leases, if the store is away.
    refused: Option<Error>,
}

/// Generations that were read.
#[derive(Debug, Default)]
struct Generations(HashMap<Tag, Generation>);

impl Generations {
    fn of(&self, tag: &Tag) -> Option<Generation> {
        self.0.get(tag).copied()
    }

    /// Tags with their generations, the namespace's last.
    fn stamp<T, C>(&self, mut tags: Vec<Tag>, inner: &Inner<T, C>) -> Vec<(Tag, Generation)> {
        if inner.mirror.is_none() {
            return Vec::new();
        }
        tags.push(inner.namespace_tag.clone());
        tags.into_iter().filter_map(|tag| self.of(&tag).map(|generation| (tag, generation))).collect()
    }
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static, C: Codec> Inner<T, C> {
    fn stale_one(&self, value: Option<Arc<T>>, age: Duration, why: StaleReason) -> Option<Served<T>> {
        self.counts.stale_served.one();
        value.map(|value| Served { value, freshness: Freshness::Stale { age, why } })
    }

    /// In place of a load: serves stale values if there is one for each. A loader that failed is left alone then.
    fn stale_many<I>(&self, missing: Vec<Missing<I, T>>, filled: &mut Filled<T>, why: StaleReason) -> bool {
        if missing.iter().any(|missing| missing.stale.is_none()) {
            return false;
        }
        for Missing { key, stale, at, .. } in missing {
            let now = self.now();
            if why == StaleReason::LoaderFailed {
                self.throttled.until(&key, now.saturating_add(self.policy.throttle), now);
            }
            let Some((value, age)) = stale else { continue };
            for place in at {
                filled.values[place] = self.stale_one(value.clone(), age, why);
            }
        }
        true
    }
}
