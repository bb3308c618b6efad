//! Loading many values by one call of a loader: what is asked, joined and waited for by one caller.
//!
//! Each value that is missing is a load as any other: one that is in flight is joined, and those that this caller leads are
//! loaded together ([`super::batch_load`]).

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::batch_load::{Led, lead_many};
use super::batch_wait::Waiting;
use super::call::CallBounds;
use super::chain::Chain;
use super::failure::Failure;
use super::found::{Found, LeftOut};
use super::plan::{LoadPlan, SkipIf, Storing};
use super::{Freshness, LoadError, Loader, Served, StaleReason};
use crate::cache::read::{Cached, Lookup};
use crate::codec::Codec;
use crate::error::Result;
use crate::key::Key;
use crate::time::Monotonic;

/// What becomes of values that the store does not answer for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cache) enum InOutage {
    /// The loader serves.
    Load,
    /// They are skipped: there is nothing to be filled.
    Skip,
}

/// What one identifier was served with.
pub(in crate::cache) type ServedOne<T, E> = std::result::Result<Option<Served<T>>, LoadError<E>>;

/// What a batch was served with.
pub(in crate::cache) struct BatchResult<T, E> {
    /// In the order in which they were asked for.
    pub(in crate::cache) values: Vec<ServedOne<T, E>>,
    /// How many were there.
    pub(in crate::cache) present: u64,
    /// How many this call has stored.
    pub(in crate::cache) stored: u64,
    /// How many were skipped, since the store did not answer.
    pub(in crate::cache) unreachable: u64,
}

/// An identifier without a value.
pub(super) struct Missing<I, T> {
    pub(super) id: I,
    pub(super) key: Key,
    pub(super) plan: LoadPlan<T>,
    /// Where it was asked for.
    places: Vec<usize>,
}

/// A batch that is being served.
pub(super) struct Batch<I, T, E> {
    pub(super) missing: Vec<Missing<I, T>>,
    pub(super) result: BatchResult<T, E>,
    pub(super) left_out: LeftOut,
    /// When the batch was asked for, and its stale values found.
    pub(super) asked_at: Monotonic,
    /// How many of its own loads were stored; those that run have it too.
    pub(super) stored: watch::Sender<u64>,
}

/// What a loader answered for the identifiers that it was called for.
pub(super) type Answers<I, T, E> = std::result::Result<Vec<(I, Found<T, E>)>, Failure>;

impl<I, T, E> Batch<I, T, E> {
    /// Answers one with what was loaded.
    pub(super) fn answer(&mut self, index: usize, value: Option<&Arc<T>>) {
        for place in &self.missing[index].places {
            self.result.values[*place] = Ok(value.cloned().map(fresh));
        }
    }

    /// Answers one with an error.
    pub(super) fn refuse(&mut self, index: usize, error: &LoadError<E>) {
        for place in &self.missing[index].places {
            self.result.values[*place] = Err(error.clone());
        }
    }
}

const fn fresh<T>(value: Arc<T>) -> Served<T> {
    Served { value, freshness: Freshness::Fresh }
}

impl<T: Cached, C: Codec> Loader<T, C> {
    /// The values of identifiers, in the order of their keys; what is missing is loaded by one call, and stored.
    pub(in crate::cache) async fn serve_many<I, E, F, L>(
        self: &Arc<Self>,
        ids: &[I],
        keys: &[Key],
        load: L,
        (in_outage, left_out): (InOutage, LeftOut),
    ) -> Result<BatchResult<T, E>>
    where
        I: Clone + Eq + Hash + Send + Sync + 'static,
        L: FnOnce(Vec<I>) -> F + Clone + Send + 'static,
        F: Future<Output = std::result::Result<Vec<(I, Found<T, E>)>, E>> + Send + 'static,
        E: Send + Sync + 'static,
    {
        let asked_at = self.reader.now();
        let found = self.reader.lookup_many(keys, in_outage == InOutage::Load).await?;
        let values = ids.iter().map(|_| Ok(None)).collect();
        let result = BatchResult { values, present: 0, stored: 0, unreachable: 0 };
        let (stored, mut count) = watch::channel(0);
        let mut batch = Batch { missing: Vec::new(), result, left_out, asked_at, stored };
        let due = self.sort(ids, keys, found, in_outage, &mut batch);
        if !due.is_empty() {
            self.reload_many(due, load.clone(), left_out);
        }
        if !batch.missing.is_empty() {
            self.load_missing(&mut batch, load).await?;
        }
        let Batch { mut result, stored, .. } = batch;
        drop(stored);
        if in_outage == InOutage::Skip {
            // It is filled for the sake of what is stored: until its own loads are over, which may be after they are answered.
            while count.changed().await.is_ok() {}
        }
        result.stored = *count.borrow();
        Ok(result)
    }

    /// Serves what was found and may be; notes each identifier without a value once, in the order asked, and answers those that
    /// are to be loaded in the background.
    fn sort<I, E>(
        &self,
        ids: &[I],
        keys: &[Key],
        found: Vec<Lookup<T>>,
        in_outage: InOutage,
        batch: &mut Batch<I, T, E>,
    ) -> Vec<(I, Key)>
    where
        I: Clone + Eq + Hash,
        E: Send + Sync + 'static,
    {
        let (reader, policy) = (&self.reader, &self.reader.policy);
        let bounds = CallBounds::new(policy, batch.asked_at, false);
        let plan =
            LoadPlan { lease_until: Some(bounds.lease), end: bounds.hard, ..LoadPlan::foreground(true) };
        let (mut known, mut due): (HashMap<&I, usize>, Vec<(I, Key)>) = (HashMap::new(), Vec::new());
        let chain = Chain::current();
        for (place, ((id, key), found)) in ids.iter().zip(keys).zip(found).enumerate() {
            let mut plan = plan.clone();
            match found {
                Lookup::Fresh { value, unconfirmed, .. } => {
                    let freshness = Freshness::of_near(unconfirmed);
                    batch.result.values[place] = Ok(value.map(|value| Served { value, freshness }));
                    batch.result.present += 1;
                    continue;
                }
                Lookup::Missing { present } => plan.present = present,
                Lookup::Stale { value, age } => {
                    let why = match () {
                        () if self.is_backing_off(key) => Some(StaleReason::LoaderFailed),
                        () if policy.revalidates(value.is_some(), age) => {
                            due.push((id.clone(), key.clone()));
                            Some(StaleReason::Revalidating)
                        }
                        () => None,
                    };
                    if let Some(why) = why {
                        batch.result.values[place] = Ok(self.stale_one(value, age, why));
                        continue;
                    }
                    plan.present = true;
                    plan.stale = Some((value, age));
                }
                Lookup::NewerSchema => plan.storing = Storing::NewerSchema,
                Lookup::Unavailable(_) if in_outage == InOutage::Skip => {
                    batch.result.unreachable += 1;
                    continue;
                }
                Lookup::Unavailable(error) => {
                    plan.storing = Storing::Unavailable;
                    plan.stale = reader.last_known(reader.identifier(key));
                    if policy.fail_closed {
                        batch.result.values[place] =
                            self.instead_of_one(&plan, Duration::ZERO, &Failure::Store(error));
                        continue;
                    }
                    if let (Some((value, age)), true) = (&plan.stale, self.is_backing_off(key)) {
                        let stale = self.stale_one(value.clone(), *age, StaleReason::LoaderFailed);
                        batch.result.values[place] = Ok(stale);
                        continue;
                    }
                }
            }
            if chain.contains(self.store_number(), key) {
                batch.result.values[place] = Err(LoadError::Circular(key.clone()));
                continue;
            }
            if let Some(failure) = self.in_flight.recent.failure(reader.identifier(key), reader.now()) {
                batch.result.values[place] = self.instead_of_one(&plan, Duration::ZERO, &failure);
                continue;
            }
            let index = *known.entry(id).or_insert_with(|| {
                let (id, key) = (id.clone(), key.clone());
                batch.missing.push(Missing { id, key, plan, places: Vec::new() });
                batch.missing.len() - 1
            });
            batch.missing[index].places.push(place);
        }
        due
    }

    /// Loads in the background what was served stale.
    fn reload_many<I, E, F, L>(self: &Arc<Self>, due: Vec<(I, Key)>, load: L, left_out: LeftOut)
    where
        I: Clone + Eq + Hash + Send + Sync + 'static,
        L: FnOnce(Vec<I>) -> F + Clone + Send + 'static,
        F: Future<Output = std::result::Result<Vec<(I, Found<T, E>)>, E>> + Send + 'static,
        E: Send + Sync + 'static,
    {
        let (recent, now) = (&self.in_flight.recent, self.reader.now());
        let is_due = |key: &Key| !recent.is_loading_elsewhere(self.reader.identifier(key), now);
        let due: Vec<_> = due.into_iter().filter(|(_, key)| is_due(key)).collect();
        let joined = self.in_flight.flights.join_many(due.iter().map(|(_, key)| key));
        let (mut waiters, mut led) = (Vec::new(), Vec::new());
        for ((id, key), (waiter, leader)) in due.into_iter().zip(joined) {
            if let Some(leader) = leader {
                let plan = LoadPlan::background(true, SkipIf::Fresh);
                led.push(Led { place: led.len(), id, key, plan, leader });
                waiters.push(waiter);
            }
        }
        if !led.is_empty() {
            // Nobody waits for it: it is within no other load.
            let work =
                lead_many(Arc::clone(self), led, load, left_out, watch::Sender::new(0), Chain::default());
            self.in_background(&mut waiters, work);
        }
    }

    /// In place of a load that failed, so long after the batch was asked for.
    fn instead_of_one<E: Send + Sync + 'static>(
        &self,
        plan: &LoadPlan<T>,
        since: Duration,
        failure: &Failure,
    ) -> ServedOne<T, E> {
        let why = if failure.is_stores() { StaleReason::StoreFailed } else { StaleReason::LoaderFailed };
        match &plan.stale {
            Some((value, age)) if self.reader.policy.makes_up(value.is_some(), age.saturating_add(since)) => {
                Ok(self.stale_one(value.clone(), age.saturating_add(since), why))
            }
            _ => Err(failure.error()),
        }
    }

    fn stale_one(&self, value: Option<Arc<T>>, age: Duration, why: StaleReason) -> Option<Served<T>> {
        self.reader.counts.stale_served.one();
        value.map(|value| Served { value, freshness: Freshness::Stale { age, why } })
    }

    /// Answers one of a batch whose load has failed: with its stale value, where there is one.
    pub(super) fn fail<I, E: Send + Sync + 'static>(
        &self,
        batch: &mut Batch<I, T, E>,
        index: usize,
        failure: &Failure,
    ) {
        let since = self.reader.now().saturating_since(batch.asked_at);
        for place in &batch.missing[index].places {
            batch.result.values[*place] = self.instead_of_one(&batch.missing[index].plan, since, failure);
        }
    }

    /// Loads what is missing, or waits for those that load it.
    async fn load_missing<I, E, F, L>(self: &Arc<Self>, batch: &mut Batch<I, T, E>, load: L) -> Result<()>
    where
        I: Clone + Eq + Hash + Send + Sync + 'static,
        L: FnOnce(Vec<I>) -> F + Clone + Send + 'static,
        F: Future<Output = std::result::Result<Vec<(I, Found<T, E>)>, E>> + Send + 'static,
        E: Send + Sync + 'static,
    {
        // On the heap, so that it is no part of the future of a batch of hits.
        Box::pin(Waiting::new(self, batch, load).all()).await
    }
}
