//! Tasks that load, in the foreground and in the background.

use std::sync::Arc;

use tracing::{Instrument, Span};

use super::chain::{Chain, next_number};
use super::failure::Failure;
use super::leader;
use super::plan::{LoadKind, LoadPlan, SkipIf};
use super::single_flight::Waiter;
use super::{Loaded, Loader};
use crate::cache::read::Cached;
use crate::codec::Codec;
use crate::error::Result;
use crate::key::Key;
use crate::time::{Monotonic, Timestamp};

impl<T: Cached, C: Codec> Loader<T, C> {
    /// Loads in the background what is fresh until then and due, unless its loader has failed a short while ago.
    pub(in crate::cache) fn reload_due<E, F, L>(
        self: &Arc<Self>,
        key: Key,
        until: Timestamp,
        absence: bool,
        load: L,
    ) where
        L: FnOnce() -> F + Send + 'static,
        F: Future<Output = Result<Loaded<T>, E>> + Send + 'static,
        E: Send + Sync + 'static,
    {
        if !self.is_backing_off(&key) {
            self.reload(key, LoadPlan::background(absence, SkipIf::FreshOtherThan(until)), load);
        }
    }

    /// Loads in the background what is still served, unless a load of it is in flight, here or elsewhere, or as many run as
    /// may.
    pub(super) fn reload<E, F, L>(self: &Arc<Self>, key: Key, plan: LoadPlan<T>, load: L)
    where
        L: FnOnce() -> F + Send + 'static,
        F: Future<Output = Result<Loaded<T>, E>> + Send + 'static,
        E: Send + Sync + 'static,
    {
        if self.in_flight.recent.is_loading_elsewhere(self.reader.identifier(&key), self.reader.now()) {
            return;
        }
        let (waiter, Some(leader)) = self.in_flight.flights.join(&key) else {
            return;
        };
        // Nobody waits for it: it is within no other load.
        let work = leader::lead(Arc::clone(self), key, plan, load, leader, Chain::default());
        self.in_background(&mut [waiter], work);
    }

    /// Runs a load in the background, if there is a permit for it.
    pub(super) fn in_background(
        &self,
        waiters: &mut [Waiter<T>],
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let Ok(permit) = Arc::clone(&self.background).try_acquire_owned() else {
            self.reader.counts.reloads_skipped.add(waiters.len() as u64);
            return;
        };
        waiters.iter_mut().for_each(Waiter::leave_running);
        let work = async move {
            let _until_it_ends = permit;
            work.await;
        };
        // A closed cache loads nothing more.
        let _ = self.start(waiters, LoadKind::Background, true, work);
    }

    /// Starts the task of a load. `is_bounded`: it ends by a bound of its own.
    pub(super) fn start(
        &self,
        waiters: &mut [Waiter<T>],
        kind: LoadKind,
        is_bounded: bool,
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
        for waiter in waiters {
            waiter.run_by(task.abort_handle(), is_bounded);
            if self.reader.policy.background {
                waiter.leave_running();
            }
        }
        Ok(())
    }

    /// Runs a loader for its caller alone, who has waited for somebody else's load for long enough.
    pub(super) async fn run_alone<R, E, F, L>(
        &self,
        keys: Vec<Key>,
        load: L,
        end: Option<(Monotonic, std::time::Duration)>,
        chain: Chain,
    ) -> std::result::Result<R, Failure>
    where
        L: FnOnce() -> F,
        F: Future<Output = std::result::Result<R, E>>,
        E: Send + Sync + 'static,
    {
        self.reader.counts.waits_ended.add(keys.len() as u64);
        let number = next_number();
        // A new number, which nothing waits for yet.
        let _waits = chain.wait_for(number);
        let span = tracing::debug_span!("cache.load", cache = %self.reader.keys.namespace());
        self.run(load, None, end, chain.with(number, self.store_number(), keys)).instrument(span).await
    }
}
