//! Loading: one load in this process by a flight, one in the deployment by a lease.

mod fill;
mod lease;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use tracing::Instrument;

use self::lease::{Leased, Taken};
use super::flight::{Pilot, Progress, Seat};
use super::inner::{Inner, Value};
use super::judge::Found;
use super::{Freshness, LoadError, Loaded, StaleReason};
use crate::codec::Codec;
use crate::error::{Error, ErrorKind, Result};
use crate::key::Key;
use crate::time::Timestamp;

/// Which value that turns up before the load makes it needless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unless {
    /// A fresh one: somebody else was quicker.
    Fresh,
    /// A fresh one that is not the one whose life ends then, which is to be loaded anew before its end.
    Another(Timestamp),
    /// None: it is loaded whatever is there.
    Never,
}

/// Whether what is loaded is to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Store {
    Yes,
    /// No: a value of a newer schema is there, which is left alone.
    Newer,
    /// No: the store does not answer.
    Down,
}

/// For whom a load is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whom {
    /// The caller, who waits.
    Caller,
    /// Those who come later: the caller was served.
    Later,
}

/// What was known before a load.
pub(super) struct Prior<T> {
    /// Served if the load fails or is slow: the value, and how long its life has been over.
    pub(super) stale: Option<(Option<Arc<T>>, Duration)>,
    /// There are bytes to be overwritten.
    pub(super) present: bool,
    /// Whether the loaded value is to be stored.
    pub(super) store: Store,
    /// Whether a fresh value that is there all the same ends the load.
    pub(super) unless: Unless,
    /// Whether the knowledge that there is no value is an answer.
    pub(super) absence: bool,
    pub(super) whom: Whom,
}

impl<T> Clone for Prior<T> {
    fn clone(&self) -> Self {
        Self { stale: self.stale.clone(), ..*self }
    }
}

/// What a load ended with.
struct Landed<T> {
    value: Option<Arc<T>>,
    /// Something may have been written or dropped since it was begun.
    overtaken: bool,
}

fn newer() -> Error {
    Error::new(ErrorKind::Unsupported, "a value of a newer schema is there, which is left alone")
}

pub(super) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the stores were closed during the load")
        .with_operation("cache.get_or_load")
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static, C: Codec> Inner<T, C> {
    /// The value from the near cache, the store or the loader.
    pub(super) async fn serve<E, F, L>(
        self: &Arc<Self>,
        key: Key,
        absence: bool,
        load: L,
    ) -> Result<Value<T>, LoadError<E>>
    where
        L: FnOnce() -> F + Send + 'static,
        F: Future<Output = Result<Loaded<T>, E>> + Send + 'static,
        E: Send + 'static,
    {
        let mut prior = Prior {
            stale: None,
            present: false,
            store: Store::Yes,
            unless: Unless::Fresh,
            absence,
            whom: Whom::Caller,
        };
        match self.look(&key).await? {
            Found::Fresh { value, due, until } if absence || value.is_some() => {
                self.counts.store_hits.one();
                if due {
                    self.reload_due(key, until, absence, load);
                }
                return Ok((value, Freshness::Fresh));
            }
            Found::Stale { value, age } if absence || value.is_some() => {
                if self.throttled.is(&key, self.now()) {
                    return Ok(self.stale((value, age), StaleReason::LoaderFailed));
                }
                if age <= self.policy.stale {
                    self.reload_later(key, Prior { present: true, whom: Whom::Later, ..prior }, load);
                    return Ok(self.stale((value, age), StaleReason::Revalidating));
                }
                prior.stale = Some((value, age));
                prior.present = true;
            }
            Found::Fresh { .. } | Found::Stale { .. } => prior.present = true,
            Found::Nothing { present } => prior.present = present,
            Found::Newer => prior.store = Store::Newer,
            Found::Down(error) => {
                prior.store = Store::Down;
                let known = self.last_resort(self.identifier(&key));
                prior.stale = known.filter(|(value, _)| absence || value.is_some());
                if let (Some(stale), true) = (&prior.stale, self.throttled.is(&key, self.now())) {
                    return Ok(self.stale(stale.clone(), StaleReason::LoaderFailed));
                }
                if self.policy.fail_closed {
                    return match prior.stale {
                        Some(stale) => Ok(self.stale(stale, StaleReason::StoreFailed)),
                        None => Err(error.into()),
                    };
                }
            }
        }
        self.counts.misses.one();
        // On the heap, so that it is no part of every hit's future.
        Box::pin(self.shared(key, prior, load)).await
    }

    fn stale(&self, (value, age): (Option<Arc<T>>, Duration), why: StaleReason) -> Value<T> {
        self.counts.stale_served.one();
        (value, Freshness::Stale { age, why })
    }

    /// One load in this process for any number of waiters.
    pub(super) async fn shared<E, F, L>(
        self: &Arc<Self>,
        key: Key,
        mut prior: Prior<T>,
        load: L,
    ) -> Result<Value<T>, LoadError<E>>
    where
        L: FnOnce() -> F + Send + 'static,
        F: Future<Output = Result<Loaded<T>, E>> + Send + 'static,
        E: Send + 'static,
    {
        let asked_at = self.now();
        // What may be served in place of the load, by now.
        let aged = |prior: &Prior<T>| {
            let (value, age) = prior.stale.clone()?;
            let age = age.saturating_add(self.now().saturating_since(asked_at));
            (age <= self.policy.fail_safe).then_some((value, age))
        };
        let patience = self.policy.soft_timeout.filter(|_| prior.stale.is_some());
        let give_up_at = patience.map(|soft| asked_at.saturating_add(soft));
        let impatient = async {
            match give_up_at {
                Some(at) => self.environment.clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        }
        .fuse();
        tokio::pin!(impatient);
        let mut first = None;
        loop {
            let (mut seat, pilot) = match prior.unless {
                // Not with a load that began before.
                Unless::Never => self.flights.board_anew(&key),
                _ => self.flights.board(&key),
            };
            let Some(pilot) = pilot else {
                seat.follows(&mut first);
                let arrival = tokio::select! {
                    biased;
                    arrival = seat.arrival() => arrival,
                    stale = impatient_for(&mut impatient, || aged(&prior)) => {
                        seat.leave_running();
                        return Ok(self.stale(stale, StaleReason::LoaderSlow));
                    }
                };
                match arrival {
                    Some(value) if prior.absence || value.is_some() => return Ok((value, Freshness::Fresh)),
                    // It found that there is none, which is no answer for this caller.
                    Some(_) => prior.present = true,
                    None if self.environment.tasks.is_closing() => return Err(closed().into()),
                    None => {
                        if let Some(stale) = aged(&prior).filter(|_| self.throttled.is(&key, self.now())) {
                            return Ok(self.stale(stale, StaleReason::LoaderFailed));
                        }
                    }
                }
                continue;
            };
            let (report, own) = oneshot::channel();
            let flight = fly(Arc::clone(self), key.clone(), prior.clone(), load, pilot, report);
            self.take_off(&mut seat, flight)?;
            let outcome = tokio::select! {
                biased;
                outcome = own => outcome,
                stale = impatient_for(&mut impatient, || aged(&prior)) => {
                    seat.leave_running();
                    return Ok(self.stale(stale, StaleReason::LoaderSlow));
                }
            };
            return match (outcome, aged(&prior)) {
                (Ok(Ok(value)), _) => Ok((value, Freshness::Fresh)),
                (Ok(Err(LoadError::Store(_))), Some(stale)) => {
                    Ok(self.stale(stale, StaleReason::StoreFailed))
                }
                (Ok(Err(_)), Some(stale)) => Ok(self.stale(stale, StaleReason::LoaderFailed)),
                (Ok(Err(error)), None) => Err(error),
                // The task was cut off: the stores were closed under it.
                (Err(_), _) => Err(closed().into()),
            };
        }
    }

    fn take_off(&self, seat: &mut Seat<T>, flight: impl Future<Output = ()> + Send + 'static) -> Result<()> {
        let span = tracing::debug_span!("cache.load", cache = %self.namespace);
        let task = self.environment.tasks.spawn(flight.instrument(span))?;
        seat.piloted_by(task.abort_handle());
        if self.policy.background {
            seat.leave_running();
        }
        Ok(())
    }

    /// Loads in the background what is fresh until then and due, unless the loader is to be left alone.
    pub(super) fn reload_due<E, F, L>(self: &Arc<Self>, key: Key, until: Timestamp, absence: bool, load: L)
    where
        L: FnOnce() -> F + Send + 'static,
        F: Future<Output = Result<Loaded<T>, E>> + Send + 'static,
        E: Send + 'static,
    {
        if !self.throttled.is(&key, self.now()) {
            let unless = Unless::Another(until);
            let prior =
                Prior { stale: None, present: true, store: Store::Yes, unless, absence, whom: Whom::Later };
            self.reload_later(key, prior, load);
        }
    }

    /// Loads in the background what is still served, unless that is under way.
    fn reload_later<E, F, L>(self: &Arc<Self>, key: Key, prior: Prior<T>, load: L)
    where
        L: FnOnce() -> F + Send + 'static,
        F: Future<Output = Result<Loaded<T>, E>> + Send + 'static,
        E: Send + 'static,
    {
        let (mut seat, Some(pilot)) = self.flights.board(&key) else {
            return;
        };
        let (report, _nobody) = oneshot::channel();
        seat.leave_running();
        // A closed cache loads nothing more.
        let _ = self.take_off(&mut seat, fly(Arc::clone(self), key, prior, load, pilot, report));
    }

    /// Takes the lease, loads, and fills.
    async fn lead<E, F, L>(
        &self,
        key: &Key,
        prior: &Prior<T>,
        load: L,
        pilot: &mut Pilot<T>,
    ) -> Result<Landed<T>, LoadError<E>>
    where
        L: FnOnce() -> F + Send,
        F: Future<Output = Result<Loaded<T>, E>> + Send,
    {
        let mut lease = None;
        // With the store away nobody can tell, and the loader serves all.
        let mut overtaken = prior.store == Store::Newer;
        if prior.store == Store::Yes {
            match self.take_lease(key, prior, pilot).await? {
                // It was right when it was read.
                Taken::Value(value) => return Ok(Landed { value, overtaken: true }),
                Taken::Lease(leased) => lease = Some(leased),
                // What can't be stored is loaded for nobody.
                Taken::None(why) if prior.whom == Whom::Later => {
                    return Err(why.unwrap_or_else(newer).into());
                }
                Taken::None(why) => overtaken = why.is_none(),
            }
        }
        pilot.begin();
        let begun = self.now();
        let loaded = self.run(load, lease.as_ref()).await;
        let took = self.now().saturating_since(begun);
        self.counts.load_time.add(took);
        let mut loaded = loaded.inspect_err(|_| self.counts.load_failures.one())?;
        self.throttled.end(key);
        let value = loaded.value.take().map(Arc::new);
        // Whoever is aboard asked before this. Whatever they asked after has voided the lease, or moved a generation.
        pilot.close();
        if let Some(leased) = lease {
            let under = leased.generations(&self.namespace_tag);
            // Only what is stored proves that the lease was not voided.
            overtaken = true;
            if loaded.store {
                match self.fill(key, leased, value.as_deref(), &loaded, took).await {
                    Ok(filled) => overtaken = !filled || self.is_dropped(&under).await,
                    Err(error) => self.not_filled(&error),
                }
            }
        }
        Ok(Landed { value, overtaken })
    }

    /// Runs the loader to its end, its hard timeout or its panic, and keeps the lease meanwhile.
    async fn run<E, F, L>(&self, load: L, lease: Option<&Leased>) -> Result<Loaded<T>, LoadError<E>>
    where
        L: FnOnce() -> F,
        F: Future<Output = Result<Loaded<T>, E>>,
    {
        self.counts.loads.one();
        // The call of the loader may panic as well as its future.
        let work = AssertUnwindSafe(async { load().await }).catch_unwind();
        let keeping = async {
            match lease {
                Some(lease) => self.keep(&lease.guard).await,
                None => std::future::pending().await,
            }
        };
        let too_long = async {
            match self.policy.hard_timeout {
                Some(hard) => {
                    self.environment.sleep(hard).await;
                    hard
                }
                None => std::future::pending().await,
            }
        };
        tokio::pin!(keeping);
        tokio::select! {
            biased;
            done = work => match done {
                Ok(Ok(loaded)) => Ok(loaded),
                Ok(Err(error)) => Err(LoadError::Loader(error)),
                Err(_) => Err(LoadError::Panicked),
            },
            hard = too_long => Err(LoadError::TimedOut(hard)),
            never = &mut keeping => match never {},
        }
    }
}

/// What is stale, once patience is over; never, if by then there is nothing that may be served.
async fn impatient_for<S>(patience: impl Future<Output = ()>, stale: impl FnOnce() -> Option<S>) -> S {
    patience.await;
    match stale() {
        Some(stale) => stale,
        None => std::future::pending().await,
    }
}

/// The load itself, in its own task.
async fn fly<T, C, E, F, L>(
    cache: Arc<Inner<T, C>>,
    key: Key,
    prior: Prior<T>,
    load: L,
    mut pilot: Pilot<T>,
    report: oneshot::Sender<Result<Option<Arc<T>>, LoadError<E>>>,
) where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
    C: Codec,
    L: FnOnce() -> F + Send + 'static,
    F: Future<Output = Result<Loaded<T>, E>> + Send + 'static,
    E: Send + 'static,
{
    // Besides the loader, the caller's tags and `Serialize` may panic.
    let work = AssertUnwindSafe(cache.lead(&key, &prior, load, &mut pilot)).catch_unwind();
    let outcome = work.await.unwrap_or(Err(LoadError::Panicked));
    if outcome.is_err() && (prior.stale.is_some() || prior.whom == Whom::Later) {
        // Before those who wait are told, so that they find it.
        cache.throttled.until(&key, cache.now().saturating_add(cache.policy.throttle), cache.now());
    }
    let progress = match &outcome {
        Ok(Landed { value, overtaken: false }) => Progress::Loaded(value.clone()),
        Ok(Landed { value, overtaken: true }) => pilot.aged(value.clone()),
        Err(_) => Progress::Failed,
    };
    pilot.land(progress);
    let outcome = outcome.map(|landed| landed.value);
    // The caller may have left; the value is stored all the same.
    let _ = report.send(outcome);
}
