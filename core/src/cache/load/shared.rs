//! One load in this process for any number of callers: each joins the load in flight, or leads one.

use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::oneshot;
use tracing::{Instrument, Span};

use super::error::closed;
use super::leader;
use super::plan::{LoadKind, LoadPlan, SkipIf};
use super::single_flight::Waiter;
use super::{Freshness, LoadError, Loaded, Loader, StaleReason, Value};
use crate::cache::read::Cached;
use crate::codec::Codec;
use crate::error::Result;
use crate::key::Key;

impl<T: Cached, C: Codec> Loader<T, C> {
    /// Serves by the load in flight, or leads one. Where there is a stale value, it is served once the soft timeout is over
    /// or the load has failed.
    pub(in crate::cache) async fn shared<E, F, L>(
        self: &Arc<Self>,
        key: Key,
        mut plan: LoadPlan<T>,
        load: L,
    ) -> Result<Value<T>, LoadError<E>>
    where
        L: FnOnce() -> F + Send + 'static,
        F: Future<Output = Result<Loaded<T>, E>> + Send + 'static,
        E: Send + 'static,
    {
        let (reader, policy) = (&self.reader, &self.reader.policy);
        let asked_at = reader.now();
        // What may be served in place of the load, by now.
        let servable = |plan: &LoadPlan<T>| {
            let (value, age) = plan.stale.clone()?;
            let age = age.saturating_add(reader.now().saturating_since(asked_at));
            (age <= policy.fail_safe).then_some((value, age))
        };
        let soft = policy.soft_timeout.filter(|_| plan.stale.is_some());
        let give_up_at = soft.map(|soft| asked_at.saturating_add(soft));
        let soft_timeout = async {
            match give_up_at {
                Some(at) => reader.environment.clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        }
        .fuse();
        tokio::pin!(soft_timeout);
        let mut first = None;
        loop {
            let (mut waiter, leader) = match plan.skip_if {
                // Not with a load that began before.
                SkipIf::Never => self.in_flight.flights.join_new(&key),
                _ => self.in_flight.flights.join(&key),
            };
            let Some(leader) = leader else {
                waiter.follows(&mut first);
                let outcome = tokio::select! {
                    biased;
                    outcome = waiter.outcome() => outcome,
                    stale = stale_after(&mut soft_timeout, || servable(&plan)) => {
                        waiter.leave_running();
                        return Ok(self.stale(stale, StaleReason::LoaderSlow));
                    }
                };
                match outcome {
                    Some(value) if plan.absence || value.is_some() => return Ok((value, Freshness::Fresh)),
                    // It found that there is none, which is no answer for this caller.
                    Some(_) => plan.present = true,
                    None if reader.environment.tasks.is_closing() => return Err(closed().into()),
                    None => {
                        let backoff = || self.backoff.is_active(&key, reader.now());
                        if let Some(stale) = servable(&plan).filter(|_| backoff()) {
                            return Ok(self.stale(stale, StaleReason::LoaderFailed));
                        }
                    }
                }
                continue;
            };
            let (report, own) = oneshot::channel();
            let work = leader::lead(Arc::clone(self), key.clone(), plan.clone(), load, leader, report);
            self.start(&mut waiter, plan.kind, work)?;
            let outcome = tokio::select! {
                biased;
                outcome = own => outcome,
                stale = stale_after(&mut soft_timeout, || servable(&plan)) => {
                    waiter.leave_running();
                    return Ok(self.stale(stale, StaleReason::LoaderSlow));
                }
            };
            return match (outcome, servable(&plan)) {
                (Ok(Ok(value)), _) => Ok((value, Freshness::Fresh)),
                (Ok(Err(LoadError::Store(_))), Some(stale)) => {
                    Ok(self.stale(stale, StaleReason::StoreFailed))
                }
                (Ok(Err(_)), Some(stale)) => Ok(self.stale(stale, StaleReason::LoaderFailed)),
                (Ok(Err(error)), None) => Err(error),
                // The task was aborted: the stores were closed under it.
                (Err(_), _) => Err(closed().into()),
            };
        }
    }

    /// Loads in the background what is still served, unless a load of it is in flight.
    pub(super) fn reload<E, F, L>(self: &Arc<Self>, key: Key, plan: LoadPlan<T>, load: L)
    where
        L: FnOnce() -> F + Send + 'static,
        F: Future<Output = Result<Loaded<T>, E>> + Send + 'static,
        E: Send + 'static,
    {
        let (mut waiter, Some(leader)) = self.in_flight.flights.join(&key) else {
            return;
        };
        let (report, _nobody) = oneshot::channel();
        waiter.leave_running();
        // A closed cache loads nothing more.
        let work = leader::lead(Arc::clone(self), key, plan, load, leader, report);
        let _ = self.start(&mut waiter, LoadKind::Background, work);
    }

    /// Starts the task of a load.
    fn start(
        &self,
        waiter: &mut Waiter<T>,
        kind: LoadKind,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Result<()> {
        let tasks = &self.reader.environment.tasks;
        let (caller, cache) = (Span::current(), self.reader.keys.namespace());
        let task = match kind {
            LoadKind::Foreground => {
                let span = tracing::debug_span!("cache.load", %cache);
                // Within the caller's span too: so the loader's spans are below it also where this one is not recorded.
                tasks.spawn(work.instrument(span).instrument(caller))?
            }
            LoadKind::Background => {
                // The caller's request may be over before it: linked to it, and not a part of it.
                let span = tracing::info_span!(parent: None, "cache.reload", %cache);
                span.follows_from(&caller);
                tasks.spawn(work.instrument(span))?
            }
        };
        waiter.run_by(task.abort_handle());
        if self.reader.policy.background {
            waiter.leave_running();
        }
        Ok(())
    }
}

/// What is stale, once the timeout is over; never, if by then there is nothing that may be served.
async fn stale_after<S>(timeout: impl Future<Output = ()>, stale: impl FnOnce() -> Option<S>) -> S {
    timeout.await;
    match stale() {
        Some(stale) => stale,
        None => std::future::pending().await,
    }
}
