//! Loading: one load in this process by a flight, one in the deployment by a lease.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use tracing::Instrument;

use super::flight::{Pilot, Progress, Seat};
use super::inner::{Before, Inner, Value, is_callers};
use super::judge::Found;
use super::lease_guard::LeaseGuard;
use super::write::OwnWrite;
use super::{
    Fetched, Fill, FillOutcome, Freshness, Generation, LeaseRequest, LeaseToken, LoadError, Loaded, Tag,
    Want, Why,
};
use crate::codec::Codec;
use crate::error::{Error, ErrorKind, Result};
use crate::key::Key;
use crate::random::jittered;
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
    /// The loaded value is to be stored.
    pub(super) store: bool,
    /// Whether a fresh value that is there all the same ends the load.
    pub(super) unless: Unless,
    /// Whether the knowledge that there is no value is an answer.
    pub(super) absence: bool,
    pub(super) whom: Whom,
}

impl<T> Prior<T> {
    /// What a value that is there all the same means for the load.
    fn verdict(&self, found: Found<T>) -> Verdict<T> {
        match (found, self.unless) {
            (Found::Newer, _) => Verdict::LeaveAlone,
            (Found::Fresh { .. }, Unless::Never) => Verdict::Load,
            (Found::Fresh { until, .. }, Unless::Another(known)) if is_same_life(until, known) => {
                Verdict::Load
            }
            (Found::Fresh { value, .. }, _) if self.absence || value.is_some() => Verdict::Serve(value),
            _ => Verdict::Load,
        }
    }
}

impl<T> Clone for Prior<T> {
    fn clone(&self) -> Self {
        Self { stale: self.stale.clone(), ..*self }
    }
}

/// Whether two ends are of one life. That of a plain value follows from what is left to it when it is read, and so is
/// known to within a trip.
fn is_same_life(one: Timestamp, other: Timestamp) -> bool {
    const TRIP: Duration = Duration::from_millis(100);
    one.saturating_since(other).max(other.saturating_since(one)) <= TRIP
}

/// A lease on filling an entry, and the generations under which the value is loaded.
struct Leased {
    token: LeaseToken,
    namespace: Option<Generation>,
    tags: Vec<(Tag, Generation)>,
    guard: LeaseGuard,
}

/// What a load ended with.
struct Landed<T> {
    value: Option<Arc<T>>,
    /// Something was written or dropped during the load: the value is of before, and right for the loader's caller alone.
    overtaken: bool,
}

impl Leased {
    /// All the generations that were known before the load.
    fn generations(&self, namespace: &Tag) -> Vec<(Tag, Generation)> {
        let namespace = self.namespace.map(|generation| (namespace.clone(), generation));
        self.tags.iter().cloned().chain(namespace).collect()
    }
}

/// What came of asking for a lease.
enum Taken<T> {
    Lease(Leased),
    /// Somebody else has loaded it.
    Value(Option<Arc<T>>),
    /// What is loaded is not to be stored: the store is away, for this reason, or has a value of a newer schema.
    None(Option<Error>),
}

/// What becomes of a load when a value is there before it.
enum Verdict<T> {
    Load,
    /// It is needless.
    Serve(Option<Arc<T>>),
    /// It is of a newer schema: what is loaded is not to be stored.
    LeaveAlone,
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
            store: true,
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
                    return Ok(self.stale((value, age), Why::LoaderFailed));
                }
                if age <= self.policy.stale {
                    self.reload_later(key, Prior { present: true, whom: Whom::Later, ..prior }, load);
                    return Ok(self.stale((value, age), Why::Revalidating));
                }
                prior.stale = Some((value, age));
                prior.present = true;
            }
            Found::Fresh { .. } | Found::Stale { .. } => prior.present = true,
            Found::Nothing { present } => prior.present = present,
            Found::Newer => prior.store = false,
            Found::Down(error) => {
                prior.store = false;
                let known = self.last_resort(self.identifier(&key));
                prior.stale = known.filter(|(value, _)| absence || value.is_some());
                if let (Some(stale), true) = (&prior.stale, self.throttled.is(&key, self.now())) {
                    return Ok(self.stale(stale.clone(), Why::LoaderFailed));
                }
                if self.policy.fail_closed {
                    return match prior.stale {
                        Some(stale) => Ok(self.stale(stale, Why::StoreFailed)),
                        None => Err(error.into()),
                    };
                }
            }
        }
        self.counts.misses.one();
        // On the heap, so that it is no part of every hit's future.
        Box::pin(self.shared(key, prior, load)).await
    }

    fn stale(&self, (value, age): (Option<Arc<T>>, Duration), why: Why) -> Value<T> {
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
        loop {
            let (mut seat, pilot) = match prior.unless {
                // Not with a load that began before.
                Unless::Never => self.flights.board_anew(&key),
                _ => self.flights.board(&key),
            };
            let Some(pilot) = pilot else {
                let arrival = tokio::select! {
                    biased;
                    arrival = seat.arrival() => arrival,
                    stale = impatient_for(&mut impatient, || aged(&prior)) => {
                        seat.leave_running();
                        return Ok(self.stale(stale, Why::LoaderSlow));
                    }
                };
                match arrival {
                    Some(value) if prior.absence || value.is_some() => return Ok((value, Freshness::Fresh)),
                    // It found that there is none, which is no answer for this caller.
                    Some(_) => prior.present = true,
                    None if self.environment.tasks.is_closing() => return Err(closed().into()),
                    None => {
                        if let Some(stale) = aged(&prior).filter(|_| self.throttled.is(&key, self.now())) {
                            return Ok(self.stale(stale, Why::LoaderFailed));
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
                    return Ok(self.stale(stale, Why::LoaderSlow));
                }
            };
            return match (outcome, aged(&prior)) {
                (Ok(Ok(value)), _) => Ok((value, Freshness::Fresh)),
                (Ok(Err(LoadError::Store(_))), Some(stale)) => Ok(self.stale(stale, Why::StoreFailed)),
                (Ok(Err(_)), Some(stale)) => Ok(self.stale(stale, Why::LoaderFailed)),
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
            let prior = Prior { stale: None, present: true, store: true, unless, absence, whom: Whom::Later };
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
        pilot: &Pilot<T>,
    ) -> Result<Landed<T>, LoadError<E>>
    where
        L: FnOnce() -> F + Send,
        F: Future<Output = Result<Loaded<T>, E>> + Send,
    {
        let mut lease = None;
        if prior.store {
            match self.take_lease(key, prior).await? {
                Taken::Value(value) => return Ok(Landed { value, overtaken: false }),
                Taken::Lease(leased) => lease = Some(leased),
                // What can't be stored is loaded for nobody.
                Taken::None(why) if prior.whom == Whom::Later => {
                    return Err(why.unwrap_or_else(newer).into());
                }
                Taken::None(_) => {}
            }
        }
        let begun = self.now();
        let loaded = self.run(load, lease.as_ref()).await;
        let took = self.now().saturating_since(begun);
        self.counts.load_time.add(took);
        let mut loaded = loaded.inspect_err(|_| self.counts.load_failures.one())?;
        self.throttled.end(key);
        let value = loaded.value.take().map(Arc::new);
        // Whoever is aboard asked before this. Whatever they asked after has voided the lease, or moved a generation.
        pilot.close();
        let mut overtaken = false;
        if let Some(leased) = lease
            && loaded.store
        {
            let under = leased.generations(&self.namespace_tag);
            match self.fill(key, leased, value.as_deref(), &loaded, took).await {
                Ok(filled) => overtaken = !filled || self.is_dropped(&under).await,
                Err(error) => self.not_filled(&error),
            }
        }
        Ok(Landed { value, overtaken })
    }

    /// Whether one of these generations is over. Costs no trip while the feed is up.
    async fn is_dropped(&self, under: &[(Tag, Generation)]) -> bool {
        let Some(mirror) = &self.mirror else { return false };
        let tags: Vec<Tag> = under.iter().map(|(tag, _)| tag.clone()).collect();
        match self.ask(mirror.generations(&tags)).await {
            Ok(current) => under.iter().zip(current).any(|((_, before), now)| *before != now),
            Err(error) => {
                self.store_failed(&error);
                false
            }
        }
    }

    async fn take_lease(&self, key: &Key, prior: &Prior<T>) -> Result<Taken<T>> {
        const FIRST_PAUSE: Duration = Duration::from_millis(20);
        const LONGEST_PAUSE: Duration = Duration::from_millis(250);
        let identifier = self.identifier(key);
        let mut token = [0; 16];
        self.environment.random.fill(&mut token)?;
        let token = LeaseToken::new(token);
        let mut want =
            if prior.present || prior.unless == Unless::Never { Want::Anyway } else { Want::IfAbsent };
        let mut pause = FIRST_PAUSE;
        loop {
            // Before asking, so that no news in between is missed.
            let mut wait = self.told.waiters.wait_for(identifier);
            let before = Before { again: prior.present, ..self.before(identifier) };
            let request = LeaseRequest::new(key.clone(), token, self.policy.lease, want);
            let requests = [request];
            let mut guard = LeaseGuard::of(&self.store, &self.environment.tasks, &requests);
            let answer = match self.ask(self.store.fetch(&requests)).await {
                Ok(mut answers) => answers.pop(),
                Err(error) => {
                    guard.refused(&error);
                    if is_callers(&error) {
                        return Err(error);
                    }
                    return self.without_lease(error);
                }
            };
            let (current, busy_for) = match answer {
                Some(Fetched::Leased { current }) => {
                    return match self.verdict(key, prior, current, before).await? {
                        Verdict::Load => self.leased(identifier, token, guard).await,
                        // The guard gives the lease back.
                        Verdict::Serve(value) => Ok(Taken::Value(value)),
                        Verdict::LeaveAlone => Ok(Taken::None(None)),
                    };
                }
                Some(Fetched::Hit(value)) => (Some(value), None),
                Some(Fetched::Busy { remaining, current }) => (current, Some(remaining)),
                None => {
                    return Err(Error::new(
                        ErrorKind::Internal,
                        "the store answered nothing to a request for a lease",
                    ));
                }
            };
            guard.settle(token);
            match self.verdict(key, prior, current, before).await? {
                Verdict::Load => {}
                Verdict::Serve(value) => return Ok(Taken::Value(value)),
                Verdict::LeaveAlone => return Ok(Taken::None(None)),
            }
            // What is there does not count.
            want = Want::Anyway;
            let Some(remaining) = busy_for else {
                continue;
            };
            self.counts.lease_waits.one();
            self.watch_for_waiters();
            let nap = jittered(&*self.environment.random, pause).min(remaining.max(Duration::from_millis(1)));
            pause = (pause * 2).min(LONGEST_PAUSE);
            tokio::select! {
                biased;
                () = wait.news() => {}
                () = self.environment.tasks.closing() => return Err(closed()),
                () = self.environment.sleep(nap) => {}
            }
            if self.wire.plain {
                // Their bytes don't say how old they are; what is left to them in the store does.
                if let Verdict::Serve(value) = prior.verdict(self.look(key).await?) {
                    return Ok(Taken::Value(value));
                }
            }
        }
    }

    /// What a value that is there before the load means for it.
    async fn verdict(
        &self,
        key: &Key,
        prior: &Prior<T>,
        current: Option<Bytes>,
        before: Before,
    ) -> Result<Verdict<T>> {
        // Plain bytes don't say how old they are: if they were found wanting before, they are.
        let Some(bytes) = current.filter(|_| !(self.wire.plain && prior.present)) else {
            return Ok(Verdict::Load);
        };
        Ok(prior.verdict(self.judged(key, &bytes, None, before).await?))
    }

    /// A lease with the generations of the tags that are known before the load begins.
    async fn leased(&self, identifier: &str, token: LeaseToken, guard: LeaseGuard) -> Result<Taken<T>> {
        let Some(mirror) = &self.mirror else {
            return Ok(Taken::Lease(Leased { token, namespace: None, tags: Vec::new(), guard }));
        };
        let mut tags = self.tags_of(identifier);
        tags.push(self.namespace_tag.clone());
        match self.ask(mirror.generations(&tags)).await {
            Ok(mut generations) => {
                let namespace = generations.pop();
                tags.pop();
                let tags = tags.into_iter().zip(generations).collect();
                Ok(Taken::Lease(Leased { token, namespace, tags, guard }))
            }
            Err(error) if is_callers(&error) => Err(error),
            Err(error) => self.without_lease(error),
        }
    }

    /// The store did not grant a lease, since it is away.
    fn without_lease(&self, error: Error) -> Result<Taken<T>> {
        self.store_failed(&error);
        if self.policy.fail_closed { Err(error) } else { Ok(Taken::None(Some(error))) }
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

    /// Asks for the leases again and again; never resolves.
    pub(super) async fn keep(&self, guard: &LeaseGuard) -> Infallible {
        let request = |(key, token): (&Key, LeaseToken)| {
            LeaseRequest::new(key.clone(), token, self.policy.lease, Want::Keep)
        };
        let mut requests: Vec<_> = guard.held().map(request).collect();
        while !requests.is_empty() {
            self.environment.sleep(self.policy.lease.as_duration() / 3).await;
            if let Ok(answers) = self.ask(self.store.fetch(&requests)).await {
                // A lease that a write has voided is gone; what is loaded is served and not stored.
                let mut kept = answers.into_iter().map(|answer| matches!(answer, Fetched::Leased { .. }));
                requests.retain(|_| kept.next().unwrap_or(false));
            }
        }
        std::future::pending().await
    }

    /// Stores what was loaded; `false` if something was written or dropped meanwhile.
    async fn fill(
        &self,
        key: &Key,
        mut leased: Leased,
        value: Option<&T>,
        loaded: &Loaded<T>,
        took: Duration,
    ) -> Result<bool> {
        let Some(life) = self.life_of(loaded.ttl, value.is_some())? else {
            return Ok(true);
        };
        if !loaded.tags.is_empty() {
            let late = self.late_generations(&loaded.tags, took).await?;
            let Some(late) = late.into_iter().collect::<Option<Vec<_>>>() else {
                self.counts.fenced.one();
                return Ok(false);
            };
            leased.tags.extend(late);
        }
        let stamp = self.stamp(life, took, leased.namespace, leased.tags);
        let bytes = self.wire.encode(key, value, stamp, &*self.environment.random)?;
        let size = bytes.len() as u64;
        let fill = Fill::new(key.clone(), leased.token, bytes, self.policy.kept(life));
        let outcome = {
            let _own = OwnWrite::of(&self.told, std::slice::from_ref(key));
            self.ask(self.store.fill(&[fill])).await?.pop()
        };
        leased.guard.settle(leased.token);
        let filled = outcome == Some(FillOutcome::Filled);
        if filled {
            self.counts.bytes_written.add(size);
        } else {
            self.counts.fenced.one();
        }
        Ok(filled)
    }

    /// The generations of tags that are known only after the load, in their order; `None` in place of one that may have
    /// been dropped since the load began: it is not older than that.
    pub(super) async fn late_generations(
        &self,
        tags: &[Tag],
        took: Duration,
    ) -> Result<Vec<Option<(Tag, Generation)>>> {
        let Some(mirror) = &self.mirror else {
            return Err(Error::unsupported("plain values carry no tags"));
        };
        let asked_at = self.now();
        let generations = self.ask(mirror.ask(tags)).await?;
        let since = took.saturating_add(self.now().saturating_since(asked_at));
        let late = |(tag, (generation, age)): (&Tag, (Generation, Duration))| {
            (age > since).then(|| (tag.clone(), generation))
        };
        Ok(tags.iter().zip(generations).map(late).collect())
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
    pilot: Pilot<T>,
    report: oneshot::Sender<Result<Option<Arc<T>>, LoadError<E>>>,
) where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
    C: Codec,
    L: FnOnce() -> F + Send + 'static,
    F: Future<Output = Result<Loaded<T>, E>> + Send + 'static,
    E: Send + 'static,
{
    // Besides the loader, the caller's tags and `Serialize` may panic.
    let work = AssertUnwindSafe(cache.lead(&key, &prior, load, &pilot)).catch_unwind();
    let outcome = work.await.unwrap_or(Err(LoadError::Panicked));
    if outcome.is_err() && (prior.stale.is_some() || prior.whom == Whom::Later) {
        // Before those who wait are told, so that they find it.
        cache.throttled.until(&key, cache.now().saturating_add(cache.policy.throttle), cache.now());
    }
    pilot.land(match &outcome {
        Ok(Landed { value, overtaken: false }) => Progress::Loaded(value.clone()),
        // Those who are aboard may have asked after that.
        Ok(Landed { overtaken: true, .. }) | Err(_) => Progress::Failed,
    });
    let outcome = outcome.map(|landed| landed.value);
    // The caller may have left; the value is stored all the same.
    let _ = report.send(outcome);
}
