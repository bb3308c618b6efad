//! Loading: one load in this process by a flight, one in the deployment by a lease.

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
use super::wire::Stamp;
use super::{
    Fetched, Fill, FillOutcome, Freshness, Generation, LeaseRequest, LeaseToken, LoadError, Loaded, Tag,
    Want, Why,
};
use crate::codec::Codec;
use crate::error::{Error, ErrorKind, Result};
use crate::key::Key;
use crate::random::jittered;

/// Which value that turns up before the load makes it needless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unless {
    /// A fresh one: somebody else was quicker.
    Fresh,
    /// A fresh one that is not to be loaded anew before its end.
    NotDue,
    /// None: it is loaded whatever is there.
    Never,
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
}

impl<T> Clone for Prior<T> {
    fn clone(&self) -> Self {
        Self { stale: self.stale.clone(), ..*self }
    }
}

/// A lease on filling an entry, and the generations under which the value is loaded.
struct Leased {
    token: LeaseToken,
    namespace: Option<Generation>,
    tags: Vec<(Tag, Generation)>,
    guard: LeaseGuard,
}

/// What came of asking for a lease.
enum Taken<T> {
    Lease(Leased),
    /// Somebody else has loaded it.
    Value(Option<Arc<T>>),
    /// The store is away.
    None,
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
        let mut prior = Prior { stale: None, present: false, store: true, unless: Unless::Fresh, absence };
        match self.look(&key).await? {
            Found::Fresh { value, due } if absence || value.is_some() => {
                self.counts.store_hits.one();
                if due {
                    let unless = self.policy.unless_due();
                    self.reload_later(key, Prior { present: true, unless, ..prior }, load);
                }
                return Ok((value, Freshness::Fresh));
            }
            Found::Stale { value, age } if absence || value.is_some() => {
                if age <= self.policy.stale {
                    self.reload_later(key, Prior { present: true, ..prior }, load);
                    return Ok(self.stale((value, age), Why::Revalidating));
                }
                if self.throttled.is(&key, self.now()) {
                    return Ok(self.stale((value, age), Why::LoaderFailed));
                }
                prior.stale = Some((value, age));
                prior.present = true;
            }
            Found::Fresh { .. } | Found::Stale { .. } => prior.present = true,
            Found::Nothing { present } => prior.present = present,
            Found::Newer => prior.store = false,
            Found::Down(_) => {
                prior.store = false;
                let known = self.last_resort(self.identifier(&key));
                prior.stale = known.filter(|(value, _)| absence || value.is_some());
                if let (Some(stale), true) = (&prior.stale, self.throttled.is(&key, self.now())) {
                    return Ok(self.stale(stale.clone(), Why::LoaderFailed));
                }
            }
        }
        self.counts.misses.one();
        self.shared(key, prior, load).await
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
        let patience = self.policy.soft_timeout.filter(|_| prior.stale.is_some());
        let give_up_at = patience.map(|soft| self.now().saturating_add(soft));
        let impatient = async {
            match give_up_at {
                Some(at) => self.environment.clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(impatient);
        loop {
            let (mut seat, pilot) = self.flights.board(&key);
            let Some(pilot) = pilot else {
                let arrival = tokio::select! {
                    biased;
                    arrival = seat.arrival() => arrival,
                    () = &mut impatient => {
                        seat.leave_running();
                        return Ok(self.given_up(prior, Why::LoaderSlow));
                    }
                };
                match arrival {
                    Some(value) if prior.absence || value.is_some() => return Ok((value, Freshness::Fresh)),
                    // It found that there is none, which is no answer for this caller.
                    Some(_) => prior.present = true,
                    None if self.environment.tasks.is_closing() => return Err(closed().into()),
                    None if prior.stale.is_some() && self.throttled.is(&key, self.now()) => {
                        return Ok(self.given_up(prior, Why::LoaderFailed));
                    }
                    None => {}
                }
                continue;
            };
            let (report, own) = oneshot::channel();
            let flight = fly(Arc::clone(self), key.clone(), prior.clone(), load, pilot, report);
            self.take_off(&mut seat, flight)?;
            let outcome = tokio::select! {
                biased;
                outcome = own => outcome,
                () = &mut impatient => {
                    seat.leave_running();
                    return Ok(self.given_up(prior, Why::LoaderSlow));
                }
            };
            return match outcome {
                Ok(Ok(value)) => Ok((value, Freshness::Fresh)),
                Ok(Err(error)) if prior.stale.is_some() => {
                    drop(error);
                    self.throttled.until(&key, self.now().saturating_add(self.policy.throttle), self.now());
                    Ok(self.given_up(prior, Why::LoaderFailed))
                }
                Ok(Err(error)) => Err(error),
                // The task was cut off: the stores were closed under it.
                Err(_) => Err(closed().into()),
            };
        }
    }

    /// What is served in place of a load.
    fn given_up(&self, prior: Prior<T>, why: Why) -> Value<T> {
        // Only asked for where there is one.
        self.stale(prior.stale.unwrap_or((None, Duration::ZERO)), why)
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
    ) -> Result<Option<Arc<T>>, LoadError<E>>
    where
        L: FnOnce() -> F + Send,
        F: Future<Output = Result<Loaded<T>, E>> + Send,
    {
        let mut lease = None;
        if prior.store {
            match self.take_lease(key, prior).await? {
                Taken::Value(value) => return Ok(value),
                Taken::Lease(leased) => lease = Some(leased),
                Taken::None => {}
            }
        }
        let begun = self.now();
        let loaded = self.run(key, load, lease.as_ref()).await;
        let took = self.now().saturating_since(begun);
        self.counts.load_micros.add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        let mut loaded = loaded.inspect_err(|_| self.counts.load_failures.one())?;
        self.throttled.end(key);
        let value = loaded.value.take().map(Arc::new);
        if let Some(leased) = lease
            && loaded.store
            && let Err(error) = self.fill(key, leased, value.as_deref(), &loaded, took).await
        {
            self.store_failed(&error);
        }
        Ok(value)
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
            let answer = match self.ask(self.store.fetch(&[request])).await {
                Ok(mut answers) => answers.pop(),
                Err(error) if is_callers(&error) => return Err(error),
                Err(error) => {
                    self.store_failed(&error);
                    return Ok(Taken::None);
                }
            };
            let (current, busy_for) = match answer {
                Some(Fetched::Hit(value)) => (Some(value), None),
                Some(Fetched::Leased { current }) => {
                    let held = vec![(key.clone(), token)];
                    let guard =
                        LeaseGuard::new(Arc::clone(&self.store), self.environment.tasks.clone(), held);
                    if let Some(value) = self.needless(key, prior, current, before).await? {
                        // The guard gives the lease back.
                        return Ok(Taken::Value(value));
                    }
                    return self.leased(identifier, token, guard).await;
                }
                Some(Fetched::Busy { remaining, current }) => (current, Some(remaining)),
                None => return Ok(Taken::None),
            };
            if let Some(value) = self.needless(key, prior, current, before).await? {
                return Ok(Taken::Value(value));
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
        }
    }

    /// The value that makes the load needless, if it is there by now.
    async fn needless(
        &self,
        key: &Key,
        prior: &Prior<T>,
        current: Option<Bytes>,
        before: Before,
    ) -> Result<Option<Option<Arc<T>>>> {
        // Plain bytes don't say how old they are: if they were found wanting before, they are.
        let Some(bytes) = current.filter(|_| !(self.wire.plain && prior.present)) else {
            return Ok(None);
        };
        Ok(match (self.judged(key, &bytes, None, before).await?, prior.unless) {
            (Found::Fresh { .. }, Unless::Never) | (Found::Fresh { due: true, .. }, Unless::NotDue) => None,
            (Found::Fresh { value, .. }, _) if prior.absence || value.is_some() => Some(value),
            _ => None,
        })
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
            Err(error) => {
                self.store_failed(&error);
                Ok(Taken::None)
            }
        }
    }

    /// Runs the loader to its end, its hard timeout or its panic, and keeps the lease meanwhile.
    async fn run<E, F, L>(
        &self,
        key: &Key,
        load: L,
        lease: Option<&Leased>,
    ) -> Result<Loaded<T>, LoadError<E>>
    where
        L: FnOnce() -> F,
        F: Future<Output = Result<Loaded<T>, E>>,
    {
        self.counts.loads.one();
        // The call of the loader may panic as well as its future.
        let work = AssertUnwindSafe(async { load().await }).catch_unwind();
        let keeping = async {
            match lease {
                Some(lease) => self.keep(key, lease.token).await,
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
            () = &mut keeping => Err(closed().into()),
        }
    }

    /// Asks for the lease again and again; never resolves.
    async fn keep(&self, key: &Key, token: LeaseToken) {
        loop {
            self.environment.sleep(self.policy.lease.as_duration() / 3).await;
            let request = LeaseRequest::new(key.clone(), token, self.policy.lease, Want::Keep);
            // A lease that a write has voided is gone; what is loaded is served and not stored.
            let kept = self.ask(self.store.fetch(&[request])).await;
            if kept.is_ok_and(|answers| !matches!(answers.first(), Some(Fetched::Leased { .. }))) {
                std::future::pending::<()>().await;
            }
        }
    }

    async fn fill(
        &self,
        key: &Key,
        mut leased: Leased,
        value: Option<&T>,
        loaded: &Loaded<T>,
        took: Duration,
    ) -> Result<()> {
        let Some(life) = self.life_of(loaded.ttl, value.is_some())? else {
            return Ok(());
        };
        if !loaded.tags.is_empty() {
            let Some(late) = self.late_generations(&loaded.tags, took).await? else {
                self.counts.fenced.one();
                return Ok(());
            };
            leased.tags.extend(late);
        }
        let stamp = Stamp {
            fresh_until: self.store.now().saturating_add(life.as_duration()),
            load_millis: u32::try_from(took.as_millis()).unwrap_or(u32::MAX),
            namespace: leased.namespace,
            tags: leased.tags,
        };
        let bytes = self.wire.encode(key, value, stamp, &*self.environment.random)?;
        let size = bytes.len() as u64;
        let fill = Fill::new(key.clone(), leased.token, bytes, self.policy.kept(life));
        match self.store.fill(&[fill]).await?.first() {
            Some(FillOutcome::Filled) => self.counts.bytes_written.add(size),
            _ => self.counts.fenced.one(),
        }
        leased.guard.settle(key);
        Ok(())
    }

    /// The generations of tags that are known only after the load; `None` if one of them may have been dropped
    /// since the load began: it is not older than that.
    async fn late_generations(&self, tags: &[Tag], took: Duration) -> Result<Option<Vec<(Tag, Generation)>>> {
        if self.mirror.is_none() {
            return Err(Error::unsupported("plain values carry no tags"));
        }
        let asked_at = self.now();
        let generations = self.ask(self.store.generations(tags)).await?;
        let since = took.saturating_add(self.now().saturating_since(asked_at));
        let late = tags
            .iter()
            .zip(generations)
            .map(|(tag, (generation, age))| (age > since).then(|| (tag.clone(), generation)));
        Ok(late.collect())
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
    let outcome = cache.lead(&key, &prior, load).await;
    if outcome.is_err() && prior.stale.is_some() {
        // Before those who wait are told, so that they find it.
        cache.throttled.until(&key, cache.now().saturating_add(cache.policy.throttle), cache.now());
    }
    pilot.land(match &outcome {
        Ok(value) => Progress::Loaded(value.clone()),
        Err(_) => Progress::Failed,
    });
    // The caller may have left; the value is stored all the same.
    let _ = report.send(outcome);
}
