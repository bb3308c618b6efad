//! One load in this process for any number of callers: each joins the load in flight, or leads one.

use std::sync::Arc;
use std::time::Duration;

use super::call::{CallBounds, at};
use super::chain::Chain;
use super::error::closed;
use super::failure::Failure;
use super::leader;
use super::plan::{LoadKind, LoadPlan, SkipIf};
use super::single_flight::{Outcome, Waiter};
use super::{Freshness, LoadError, Loaded, Loader, StaleReason, Value};
use crate::cache::read::Cached;
use crate::codec::Codec;
use crate::key::Key;
use crate::time::Monotonic;

/// How waiting for a load ended.
enum Waited<T> {
    Outcome(Outcome<T>),
    /// It takes longer than its soft timeout, and this may be served: the value, and for how long it has been stale.
    Slow((Option<Arc<T>>, Duration)),
    /// Somebody else's load was waited for long enough.
    Enough,
    /// The call is over.
    Over,
}

/// One caller's wait.
struct Call<T> {
    plan: LoadPlan<T>,
    bounds: CallBounds,
    /// When the stale value of the plan was found.
    found_at: Monotonic,
}

impl<T: Cached, C: Codec> Loader<T, C> {
    /// Serves by the load in flight, or leads one. Where there is a stale value, it is served once the soft timeout is over
    /// or the load has failed. Whoever has waited for somebody else's load for long enough loads alone.
    pub(in crate::cache) async fn shared<E, F, L>(
        self: &Arc<Self>,
        key: Key,
        mut plan: LoadPlan<T>,
        load: L,
        asked_at: Option<Monotonic>,
    ) -> Result<Value<T>, LoadError<E>>
    where
        L: FnOnce() -> F + Send + 'static,
        F: Future<Output = Result<Loaded<T>, E>> + Send + 'static,
        E: Send + Sync + 'static,
    {
        let reader = &self.reader;
        let chain = Chain::current();
        if chain.contains(self.store_number(), &key) {
            return Err(LoadError::Circular(key));
        }
        let found_at = reader.now();
        let bounds = CallBounds::new(&reader.policy, asked_at.unwrap_or(found_at), plan.stale.is_some());
        plan.lease_until = Some(bounds.lease);
        plan.end = bounds.hard;
        let mut call = Call { plan, bounds, found_at };
        let mut first = None;
        loop {
            let (mut waiter, leader) = match call.plan.skip_if {
                // Not with a load that began before.
                SkipIf::Never => self.in_flight.flights.join_new(&key),
                _ => self.in_flight.flights.join(&key),
            };
            let Some(waits) = chain.wait_for(waiter.number()) else {
                return Err(LoadError::Circular(key));
            };
            if let Some(leader) = leader {
                let is_bounded = self.is_bounded(&call.plan);
                let work = leader::lead(Arc::clone(self), key, call.plan.clone(), load, leader, chain);
                self.start(std::slice::from_mut(&mut waiter), LoadKind::Foreground, is_bounded, work)?;
                return self.led(waiter, call).await;
            }
            waiter.follows(&mut first);
            match self.wait(&mut waiter, &mut call, false).await {
                Waited::Outcome(Outcome::Value(value)) if call.plan.absence || value.is_some() => {
                    return Ok((value, Freshness::Fresh));
                }
                // It found that there is none, which is no answer for this caller.
                Waited::Outcome(Outcome::Value(_)) => call.plan.present = true,
                Waited::Outcome(Outcome::Failed(failure)) if !failure.is_timeout() => {
                    return self.instead(&call, &failure);
                }
                // Another's time is over, which says nothing of this caller's.
                Waited::Outcome(_) if reader.environment.tasks.is_closing() => {
                    return Err(closed().into());
                }
                Waited::Outcome(_) => {
                    if let Some(stale) = self.servable(&call).filter(|_| self.is_backing_off(&key)) {
                        return Ok(self.stale(stale, StaleReason::LoaderFailed));
                    }
                }
                Waited::Slow(stale) => {
                    // It may be the load of a caller that set no bound.
                    waiter.leave_running_if_bounded();
                    return Ok(self.stale(stale, StaleReason::LoaderSlow));
                }
                Waited::Enough => {
                    waiter.detach();
                    // It waits for that load no longer, which may now wait for this one.
                    drop((waiter, waits));
                    return self.alone(&key, &call, load, chain).await;
                }
                Waited::Over => return self.timed_out(&call),
            }
        }
    }

    /// What the load that this caller leads ends with.
    async fn led<E: Send + Sync + 'static>(
        &self,
        mut waiter: Waiter<T>,
        mut call: Call<T>,
    ) -> Result<Value<T>, LoadError<E>> {
        match self.wait(&mut waiter, &mut call, true).await {
            Waited::Outcome(Outcome::Value(value)) => Ok((value, Freshness::Fresh)),
            Waited::Outcome(Outcome::Failed(failure)) => self.instead(&call, &failure),
            // The task was aborted: the stores were closed under it.
            Waited::Outcome(_) => Err(closed().into()),
            Waited::Slow(stale) => {
                waiter.leave_running();
                Ok(self.stale(stale, StaleReason::LoaderSlow))
            }
            Waited::Enough | Waited::Over => self.timed_out(&call),
        }
    }

    /// Waits for a load; for somebody else's only as long as that is bounded.
    async fn wait(&self, waiter: &mut Waiter<T>, call: &mut Call<T>, leads: bool) -> Waited<T> {
        let clock = &*self.reader.environment.clock;
        let (enough, hard) = if leads {
            (None, call.bounds.hard_end_of_leader(self.reader.policy.store_deadline))
        } else {
            (Some(call.bounds.wait), call.bounds.hard_end())
        };
        loop {
            let soft = call.bounds.soft;
            let next = [soft, enough, hard].into_iter().flatten().min();
            tokio::select! {
                biased;
                outcome = waiter.outcome() => return Waited::Outcome(outcome),
                () = at(clock, next) => {}
            }
            let now = self.reader.now();
            let is_over = |end: Option<Monotonic>| end.is_some_and(|end| end <= now);
            if is_over(soft) {
                // Once: what may not be served by now may not be later.
                call.bounds.soft = None;
                if let Some(stale) = self.servable(call) {
                    return Waited::Slow(stale);
                }
            }
            match () {
                () if is_over(hard) => return Waited::Over,
                () if is_over(enough) => return Waited::Enough,
                () => {}
            }
        }
    }

    /// Loads for this caller alone, without a lease: what is loaded is served and not stored. Within the caller's own task, so
    /// that it ends with the call.
    async fn alone<E, F, L>(
        &self,
        key: &Key,
        call: &Call<T>,
        load: L,
        chain: Chain,
    ) -> Result<Value<T>, LoadError<E>>
    where
        L: FnOnce() -> F,
        F: Future<Output = Result<Loaded<T>, E>>,
        E: Send + Sync + 'static,
    {
        let slow = async {
            at(&*self.reader.environment.clock, call.bounds.soft).await;
            match self.servable(call) {
                Some(stale) => stale,
                None => std::future::pending().await,
            }
        };
        let loaded = tokio::select! {
            biased;
            loaded = self.run_alone(vec![key.clone()], load, call.bounds.hard, chain) => loaded,
            stale = slow => return Ok(self.stale(stale, StaleReason::LoaderSlow)),
        };
        match loaded {
            Ok(loaded) => {
                self.succeeded(key, loaded.value.is_some());
                self.refreshed(key, call.plan.skip_if);
                Ok((loaded.value.map(Arc::new), Freshness::Fresh))
            }
            Err(failure) => {
                self.remember(key, &failure, call.plan.is_dispensable());
                self.instead(call, &failure)
            }
        }
    }

    /// The value that may be served in place of the load, by now.
    fn servable(&self, call: &Call<T>) -> Option<(Option<Arc<T>>, Duration)> {
        let (value, age) = call.plan.stale.clone()?;
        let age = age.saturating_add(self.reader.now().saturating_since(call.found_at));
        self.reader.policy.makes_up(value.is_some(), age).then_some((value, age))
    }

    /// In place of a load that failed.
    fn instead<E: Send + Sync + 'static>(
        &self,
        call: &Call<T>,
        failure: &Failure,
    ) -> Result<Value<T>, LoadError<E>> {
        let why = if failure.is_stores() { StaleReason::StoreFailed } else { StaleReason::LoaderFailed };
        self.servable(call).map(|stale| self.stale(stale, why)).ok_or_else(|| failure.error())
    }

    /// In place of a load that takes longer than the call may.
    fn timed_out<E: Send + Sync + 'static>(&self, call: &Call<T>) -> Result<Value<T>, LoadError<E>> {
        let (_, after) = call.bounds.hard.unwrap_or_default();
        self.instead(call, &Failure::TimedOut(after))
    }
}
