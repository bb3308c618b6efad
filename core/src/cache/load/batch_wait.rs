//! How one caller of a batch waits: for its own load, and for those of others, as long as that is bounded.

use std::collections::HashMap;
use std::future::ready;
use std::hash::Hash;
use std::sync::Arc;

use futures_util::stream::{FuturesUnordered, StreamExt};

use super::Loader;
use super::batch::{Answers, Batch};
use super::batch_load::{Led, lead_many};
use super::call::{CallBounds, at};
use super::chain::{Chain, LoadNumber, Waits};
use super::error::closed;
use super::failure::Failure;
use super::found::{Found, LeftOut};
use super::plan::LoadKind;
use super::single_flight::{Outcome, Waiter};
use crate::cache::read::Cached;
use crate::codec::Codec;
use crate::error::Result;

/// One caller of a batch, and where each of its missing values stands.
pub(super) struct Waiting<'a, I, T, E, C, L> {
    loader: &'a Arc<Loader<T, C>>,
    batch: &'a mut Batch<I, T, E>,
    load: L,
    chain: Chain,
    bounds: CallBounds,
    /// The first load that each has waited for.
    first: Vec<Option<LoadNumber>>,
    /// The load of somebody else that each waits for, or has waited for.
    joined: Vec<Option<LoadNumber>>,
}

/// A load of one value that is joined.
struct Joined<T> {
    index: usize,
    waiter: Waiter<T>,
    /// For as long as it is waited for, and no longer: it may wait for this one then.
    _waits: Waits,
    is_led: bool,
}

/// A wait for the load of one value of a batch.
async fn outcome_of<T>(mut joined: Joined<T>) -> (usize, Outcome<T>) {
    (joined.index, joined.waiter.outcome().await)
}

/// What is to be done for a value whose load has ended.
enum Next {
    Nothing,
    Begin,
    Alone,
}

/// Loads that are waited for, by the places of their values.
struct Open<Fut> {
    waits: FuturesUnordered<Fut>,
    indexes: Vec<usize>,
}

impl<Fut> Open<Fut> {
    fn new() -> Self {
        Self { waits: FuturesUnordered::new(), indexes: Vec::new() }
    }

    fn push(&mut self, index: usize, wait: Fut) {
        self.waits.push(wait);
        self.indexes.push(index);
    }

    /// Leaves the loads.
    fn take(&mut self) -> Vec<usize> {
        self.waits = FuturesUnordered::new();
        std::mem::take(&mut self.indexes)
    }
}

impl<'a, I, T, E, C, L, F> Waiting<'a, I, T, E, C, L>
where
    T: Cached,
    C: Codec,
    I: Clone + Eq + Hash + Send + Sync + 'static,
    L: FnOnce(Vec<I>) -> F + Clone + Send + 'static,
    F: Future<Output = std::result::Result<Vec<(I, Found<T, E>)>, E>> + Send + 'static,
    E: Send + Sync + 'static,
{
    pub(super) fn new(loader: &'a Arc<Loader<T, C>>, batch: &'a mut Batch<I, T, E>, load: L) -> Self {
        let bounds = CallBounds::new(&loader.reader.policy, batch.asked_at, false);
        let (first, joined) = (vec![None; batch.missing.len()], vec![None; batch.missing.len()]);
        Self { loader, batch, load, chain: Chain::current(), bounds, first, joined }
    }

    /// Waits until each has its answer.
    pub(super) async fn all(mut self) -> Result<()> {
        let loader = self.loader;
        let clock = &*loader.reader.environment.clock;
        let mut over = self.bounds.hard_end_of_leader(loader.reader.policy.store_deadline);
        let (mut led, mut joined) = (Open::new(), Open::new());
        let (mut alone, mut left_out) = (FuturesUnordered::new(), Vec::new());
        let mut begin: Vec<usize> = (0..self.batch.missing.len()).collect();
        loop {
            for load in self.join(std::mem::take(&mut begin))? {
                let open = if load.is_led { &mut led } else { &mut joined };
                open.push(load.index, outcome_of(load));
            }
            let wait = (!joined.indexes.is_empty()).then_some(self.bounds.wait);
            let nobody_waits = led.indexes.is_empty() && joined.indexes.is_empty() && alone.is_empty();
            if nobody_waits && left_out.is_empty() {
                return Ok(());
            }
            tokio::select! {
                biased;
                Some((index, outcome)) = led.waits.next() => {
                    led.indexes.retain(|other| *other != index);
                    let _ = self.ended(index, outcome, true)?;
                }
                Some((index, outcome)) = joined.waits.next() => {
                    joined.indexes.retain(|other| *other != index);
                    match self.ended(index, outcome, false)? {
                        Next::Nothing => {}
                        Next::Begin => begin.push(index),
                        Next::Alone => left_out.push(index),
                    }
                }
                // Once no other has ended: those of one load are loaded at once.
                () = ready(()), if !left_out.is_empty() => alone.push(self.alone(std::mem::take(&mut left_out))),
                Some((indexes, loaded)) = alone.next() => {
                    let indexes: Vec<usize> = indexes;
                    self.loaded_alone(&indexes, loaded);
                }
                () = at(clock, wait) => {
                    let indexes = joined.take();
                    for index in &indexes {
                        if let Some(number) = self.joined[*index] {
                            loader.in_flight.flights.detach_own(&self.batch.missing[*index].key, number);
                        }
                    }
                    alone.push(self.alone(indexes));
                }
                () = at(clock, over) => {
                    over = None;
                    let after = self.bounds.hard.unwrap_or_default().1;
                    for index in led.take().into_iter().chain(joined.take()) {
                        loader.fail(self.batch, index, &Failure::TimedOut(after));
                    }
                }
            }
        }
    }

    /// Joins the loads of these values, and begins one of those that nobody loads.
    fn join(&mut self, indexes: Vec<usize>) -> Result<Vec<Joined<T>>> {
        if indexes.is_empty() {
            return Ok(Vec::new());
        }
        let flights = &self.loader.in_flight.flights;
        let joins = flights.join_many(indexes.iter().map(|index| &self.batch.missing[*index].key));
        let (mut joined, mut led) = (Vec::new(), Vec::new());
        let (mut own, mut waiters) = (Vec::new(), Vec::new());
        for (index, (mut waiter, leader)) in indexes.into_iter().zip(joins) {
            let missing = &self.batch.missing[index];
            let Some(waits) = self.chain.wait_for(waiter.number()) else {
                let error = super::LoadError::Circular(missing.key.clone());
                self.batch.refuse(index, &error);
                continue;
            };
            if let Some(leader) = leader {
                let (id, key, plan) = (missing.id.clone(), missing.key.clone(), missing.plan.clone());
                led.push(Led { place: index, id, key, plan, leader });
                own.push((index, waits));
                waiters.push(waiter);
            } else {
                waiter.follows(&mut self.first[index]);
                self.joined[index] = Some(waiter.number());
                joined.push(Joined { index, waiter, _waits: waits, is_led: false });
            }
        }
        if !led.is_empty() {
            let is_bounded = led.iter().all(|led| self.loader.is_bounded(&led.plan));
            let (loader, load, left_out) = (Arc::clone(self.loader), self.load.clone(), self.batch.left_out);
            let work = lead_many(loader, led, load, left_out, self.batch.stored.clone(), self.chain.clone());
            self.loader.start(&mut waiters, LoadKind::Foreground, is_bounded, work)?;
            let own = own.into_iter().zip(waiters);
            joined.extend(own.map(|((index, waits), waiter)| Joined {
                index,
                waiter,
                _waits: waits,
                is_led: true,
            }));
        }
        Ok(joined)
    }

    /// What the end of a load means, and what is to be done for this value.
    fn ended(&mut self, index: usize, outcome: Outcome<T>, is_own: bool) -> Result<Next> {
        match outcome {
            Outcome::Value(value) => self.batch.answer(index, value.as_ref()),
            Outcome::Failed(failure) if is_own || !failure.is_timeout() => {
                self.loader.fail(self.batch, index, &failure);
            }
            Outcome::LeftOut if is_own => self.batch.answer(index, None),
            // The own task was aborted: the stores were closed under it.
            _ if is_own || self.loader.reader.environment.tasks.is_closing() => return Err(closed()),
            // Begun again, those who wait would load one after the other where it is left out each time.
            Outcome::LeftOut => return Ok(Next::Alone),
            // Another's time is over, which says nothing of this caller's.
            Outcome::Failed(_) | Outcome::Again => return Ok(Next::Begin),
        }
        Ok(Next::Nothing)
    }

    /// Loads these for this caller alone.
    fn alone(
        &self,
        mut indexes: Vec<usize>,
    ) -> impl Future<Output = (Vec<usize>, Answers<I, T, E>)> + use<'a, I, T, E, C, L, F> {
        indexes.sort_unstable();
        let missing = |index: &usize| &self.batch.missing[*index];
        let keys = indexes.iter().map(|index| missing(index).key.clone()).collect();
        let ids = indexes.iter().map(|index| missing(index).id.clone()).collect();
        let (loader, load, end, chain) =
            (self.loader, self.load.clone(), self.bounds.hard, self.chain.clone());
        async move { (indexes, loader.run_alone(keys, || load(ids), end, chain).await) }
    }

    fn loaded_alone(&mut self, indexes: &[usize], loaded: Answers<I, T, E>) {
        let mut found: HashMap<I, Found<T, E>> = match loaded {
            Ok(found) => found.into_iter().collect(),
            Err(failure) => {
                for index in indexes {
                    self.failed_alone(*index, &failure);
                }
                return;
            }
        };
        for index in indexes {
            match found.remove(&self.batch.missing[*index].id) {
                Some(Found::Value(loaded)) => {
                    self.succeeded_alone(*index, loaded.value.is_some());
                    self.batch.answer(*index, loaded.value.map(Arc::new).as_ref());
                }
                Some(Found::Absent) => {
                    self.succeeded_alone(*index, false);
                    self.batch.answer(*index, None);
                }
                None => {
                    if self.batch.left_out == LeftOut::Absent {
                        self.succeeded_alone(*index, false);
                    }
                    self.batch.answer(*index, None);
                }
                Some(Found::Failed(error)) => self.failed_alone(*index, &Failure::loader(error)),
            }
        }
    }

    fn succeeded_alone(&self, index: usize, is_value: bool) {
        self.loader.succeeded(&self.batch.missing[index].key, is_value);
    }

    fn failed_alone(&mut self, index: usize, failure: &Failure) {
        let missing = &self.batch.missing[index];
        self.loader.remember(&missing.key, failure, missing.plan.is_dispensable());
        self.loader.fail(self.batch, index, failure);
    }
}
