//! Loading many values by one call of a loader.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use super::batch_leases::Permits;
use super::{Freshness, LoadError, Loaded, Loader, Served, StaleReason};
use crate::cache::read::{Cached, Lookup};
use crate::codec::Codec;
use crate::key::Key;

/// What becomes of values that the store does not answer for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cache) enum InOutage {
    /// The loader serves.
    Load,
    /// They are skipped: there is nothing to be filled.
    Skip,
}

/// What a batch was served with.
pub(in crate::cache) struct BatchResult<T> {
    pub(in crate::cache) values: Vec<Option<Served<T>>>,
    /// How many were there.
    pub(in crate::cache) present: u64,
    /// How many were stored.
    pub(in crate::cache) stored: u64,
    /// How many were skipped, since the store did not answer.
    pub(in crate::cache) unreachable: u64,
}

/// An identifier without a value.
pub(super) struct Missing<I, T> {
    pub(super) id: I,
    pub(super) key: Key,
    pub(super) present: bool,
    /// Whether what is loaded is to be stored.
    pub(super) store: bool,
    /// Served if the load fails: the value, and for how long it has been stale.
    stale: Option<(Option<Arc<T>>, Duration)>,
    /// Where it was asked for.
    places: Vec<usize>,
}

const fn fresh<T>(value: Arc<T>) -> Served<T> {
    Served { value, freshness: Freshness::Fresh }
}

impl<T: Cached, C: Codec> Loader<T, C> {
    /// The values of identifiers, in the order of their keys; what is missing is loaded by one call, and stored.
    pub(in crate::cache) async fn serve_many<I, E, V, F, L>(
        &self,
        ids: &[I],
        keys: &[Key],
        load: L,
        in_outage: InOutage,
    ) -> Result<BatchResult<T>, LoadError<E>>
    where
        I: Clone + Eq + Hash,
        L: FnOnce(Vec<I>) -> F,
        F: Future<Output = Result<Vec<(I, V)>, E>>,
        V: Into<Loaded<T>>,
    {
        let reader = &self.reader;
        let found = reader.lookup_many(keys).await?;
        let mut result = BatchResult { values: vec![None; ids.len()], present: 0, stored: 0, unreachable: 0 };
        let missing = self.missing(ids, keys, found, in_outage, &mut result)?;
        if missing.is_empty() {
            return Ok(result);
        }
        let mut permits = self.permits(&missing).await?;
        if reader.policy.fail_closed
            && let Some(error) = permits.refused.take()
        {
            let served = self.stale_many(missing, &mut result, StaleReason::StoreFailed);
            return if served { Ok(result) } else { Err(error.into()) };
        }
        reader.counts.loads.one();
        let begun = reader.now();
        let ids = missing.iter().map(|missing| missing.id.clone()).collect();
        let loaded = tokio::select! {
            biased;
            loaded = load(ids) => loaded,
            never = self.keep(&permits.guard) => match never {},
        };
        let took = reader.now().saturating_since(begun);
        reader.counts.load_time.add(took);
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                reader.counts.load_failures.one();
                let served = self.stale_many(missing, &mut result, StaleReason::LoaderFailed);
                return if served { Ok(result) } else { Err(LoadError::Loader(error)) };
            }
        };
        let loaded = loaded.into_iter().map(|(id, value)| (id, value.into())).collect();
        self.store_many(&missing, loaded, &mut permits, took, &mut result).await;
        Ok(result)
    }

    /// Serves what was found and may be; answers each identifier without a value once, in the order asked.
    fn missing<I: Clone + Eq + Hash, E>(
        &self,
        ids: &[I],
        keys: &[Key],
        found: Vec<Lookup<T>>,
        in_outage: InOutage,
        result: &mut BatchResult<T>,
    ) -> Result<Vec<Missing<I, T>>, LoadError<E>> {
        let (reader, fail_closed) = (&self.reader, self.reader.policy.fail_closed);
        let mut missing: Vec<Missing<I, T>> = Vec::new();
        let mut known: HashMap<&I, usize> = HashMap::new();
        for (place, ((id, key), found)) in ids.iter().zip(keys).zip(found).enumerate() {
            let (present, store, stale) = match found {
                Lookup::Fresh { value, .. } => {
                    result.values[place] = value.map(fresh);
                    result.present += 1;
                    continue;
                }
                Lookup::Missing { present } => (present, true, None),
                Lookup::Stale { value, age } => {
                    (true, true, (age <= reader.policy.fail_safe).then_some((value, age)))
                }
                Lookup::NewerSchema => (false, false, None),
                Lookup::Unavailable(_) if in_outage == InOutage::Skip => {
                    result.unreachable += 1;
                    continue;
                }
                Lookup::Unavailable(error) => {
                    let known = reader.last_known(reader.identifier(key));
                    if fail_closed && known.is_none() {
                        return Err(error.into());
                    }
                    (false, false, known)
                }
            };
            if let Some((value, age)) = &stale {
                let why = match () {
                    () if self.backoff.is_active(key, reader.now()) => Some(StaleReason::LoaderFailed),
                    () if fail_closed && !store => Some(StaleReason::StoreFailed),
                    () => None,
                };
                if let Some(why) = why {
                    result.values[place] = self.stale_one(value.clone(), *age, why);
                    continue;
                }
            }
            let index = *known.entry(id).or_insert_with(|| {
                let (id, key) = (id.clone(), key.clone());
                missing.push(Missing { id, key, present, store, stale, places: Vec::new() });
                missing.len() - 1
            });
            missing[index].places.push(place);
        }
        Ok(missing)
    }

    /// Serves what was loaded, and stores it where there is a permit.
    async fn store_many<I: Eq + Hash>(
        &self,
        missing: &[Missing<I, T>],
        mut loaded: HashMap<I, Loaded<T>>,
        permits: &mut Permits,
        took: Duration,
        result: &mut BatchResult<T>,
    ) {
        let late = self.late_of(loaded.values(), took).await;
        let mut entries = Vec::new();
        for missing in missing {
            let mut value = loaded.remove(&missing.id).unwrap_or_else(Loaded::none);
            let held = value.value.take().map(Arc::new);
            if value.store
                && let Some(proof) = permits.proofs.get(&missing.key).cloned()
            {
                // One that can't be stored is served all the same, and spoils none of the others.
                match self.to_store(&missing.key, proof, held.as_deref(), &value, permits, &late, took) {
                    Ok(entry) => entries.extend(entry),
                    Err(error) => self.not_stored(&error),
                }
            }
            for place in &missing.places {
                result.values[*place] = held.clone().map(fresh);
            }
        }
        result.stored = self.store_all(entries, &mut permits.guard).await;
    }

    fn stale_one(&self, value: Option<Arc<T>>, age: Duration, why: StaleReason) -> Option<Served<T>> {
        self.reader.counts.stale_served.one();
        value.map(|value| Served { value, freshness: Freshness::Stale { age, why } })
    }

    /// In place of a load: serves stale values if there is one for each. A loader that failed is not run again for a while.
    fn stale_many<I>(
        &self,
        missing: Vec<Missing<I, T>>,
        result: &mut BatchResult<T>,
        why: StaleReason,
    ) -> bool {
        if missing.iter().any(|missing| missing.stale.is_none()) {
            return false;
        }
        for Missing { key, stale, places, .. } in missing {
            let now = self.reader.now();
            if why == StaleReason::LoaderFailed {
                self.backoff.begin(&key, now.saturating_add(self.reader.policy.backoff), now);
            }
            let Some((value, age)) = stale else { continue };
            for place in places {
                result.values[place] = self.stale_one(value.clone(), age, why);
            }
        }
        true
    }
}
