//! Loading what is missing or stale: single flight in this process, a lease in the deployment, and storing what was loaded.
//!
//! A caller comes in by [`Loader::serve`]: what the store holds is served if it may be; else the caller joins the load in
//! flight or leads one ([`shared`]), whose [leader] takes the [lease], [runs](run) the loader and [stores](fill) the value.
//! Batches do the same for many keys at once: [`batch`] asks and waits, [`batch_load`] loads.
//!
//! Every wait for somebody else's load ends by a bound of the [call], after which the caller loads alone.

mod background;
mod batch;
mod batch_leases;
mod batch_load;
mod batch_wait;
mod call;
mod chain;
mod error;
mod failure;
mod fill;
mod found;
mod in_flight;
mod leader;
mod lease;
mod lease_guard;
mod lease_waiters;
mod loaded;
mod plan;
mod run;
mod shared;
mod single_flight;
mod unleased;
mod write_fence;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Semaphore;

pub(super) use self::batch::{BatchResult, InOutage};
pub use self::error::LoadError;
pub use self::failure::SharedFailure;
pub use self::found::Found;
pub(super) use self::found::LeftOut;
pub(super) use self::in_flight::LoadsInFlight;
pub use self::loaded::{Freshness, Loaded, Served, StaleReason};
pub(super) use self::plan::LoadPlan;
use self::plan::{SkipIf, Storing};
use super::near::InvalidationListener;
use super::read::{Cached, Lookup, Reader};
use super::store::{Watch, Watcher};
use crate::codec::Codec;
use crate::error::Error;
use crate::key::Key;

/// What a read was served with.
pub(super) type Value<T> = (Option<Arc<T>>, Freshness);

/// Loads the values of one cache.
pub(super) struct Loader<T, C> {
    reader: Arc<Reader<C>>,
    listener: Arc<InvalidationListener>,
    in_flight: Arc<LoadsInFlight<T>>,
    /// Permits for loads in the background.
    background: Arc<Semaphore>,
    /// Whether the listener is on the feed already, for the near cache.
    is_watching: bool,
    /// The feed for those who wait for a lease, made at the first need where there is no near cache.
    late_watch: OnceLock<Option<Watch>>,
}

impl<T, C> fmt::Debug for Loader<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Loader({:?})", self.reader)
    }
}

impl<T, C> Loader<T, C> {
    pub(super) fn new(
        reader: Arc<Reader<C>>,
        listener: Arc<InvalidationListener>,
        in_flight: Arc<LoadsInFlight<T>>,
        is_watching: bool,
    ) -> Self {
        let background = Arc::new(Semaphore::new(reader.policy.background_loads));
        Self { reader, listener, in_flight, background, is_watching, late_watch: OnceLock::new() }
    }

    /// Makes sure that those who wait for another process's load are woken by it.
    fn watch_for_waiters(&self) {
        if self.is_watching {
            return;
        }
        // Without a feed they look again after a pause.
        if let Some(feed) = self.reader.gate.store().feed() {
            let listener = Arc::clone(&self.listener) as Arc<dyn Watcher>;
            self.late_watch.get_or_init(|| feed.watch(self.reader.keys.namespace(), listener).ok());
        }
    }

    /// The loader of this key has answered, and what it said.
    fn succeeded(&self, key: &Key, is_value: bool) {
        self.in_flight.recent.forget(self.reader.identifier(key));
        if !is_value {
            // There is none, also for when the store is away.
            self.reader.forget_near(key);
        }
    }

    /// A value was loaded whatever is there: what is near is older, also where the new one can't be stored.
    fn refreshed(&self, key: &Key, skip_if: SkipIf) {
        if let (SkipIf::Never, Some(near)) = (skip_if, &self.reader.near) {
            near.invalidate(self.reader.identifier(key));
        }
    }

    /// Counts a value that is served stale.
    fn stale(&self, (value, age): (Option<Arc<T>>, Duration), why: StaleReason) -> Value<T> {
        self.reader.counts.stale_served.one();
        (value, Freshness::Stale { age, why })
    }

    /// A loaded value is over a bound: it is served and not stored. Its loader can't know better, so that nobody is woken by it.
    fn too_large(&self, error: &Error) {
        self.reader.counts.unstorable.one();
        let namespace = self.reader.keys.namespace();
        tracing::debug!(%namespace, %error, "a loaded value is too large to be stored; it is loaded each time");
    }

    /// A loaded value is served and not stored, for this reason.
    fn not_stored(&self, error: &Error) {
        use crate::error::ErrorKind::{Codec, InvalidInput, Unsupported};
        if matches!(error.kind(), InvalidInput | Codec | Unsupported) {
            self.reader.counts.unstorable.one();
            let namespace = self.reader.keys.namespace();
            tracing::warn!(%namespace, %error, "a loaded value can't be stored; it is loaded each time");
        } else {
            self.reader.gate.failed(error);
        }
    }
}

impl<T: Cached, C: Codec> Loader<T, C> {
    /// The value from the store or the loader.
    pub(super) async fn serve<E, F, L>(
        self: &Arc<Self>,
        key: Key,
        absence: bool,
        load: L,
    ) -> Result<Value<T>, LoadError<E>>
    where
        L: FnOnce() -> F + Send + 'static,
        F: Future<Output = Result<Loaded<T>, E>> + Send + 'static,
        E: Send + Sync + 'static,
    {
        let reader = &self.reader;
        // The clock is read here only where the whole call is bounded.
        let asked_at = reader.policy.hard_timeout.map(|_| reader.now());
        let mut plan = LoadPlan::foreground(absence);
        match reader.lookup(&key).await? {
            Lookup::Fresh { value, due, until, .. } if absence || value.is_some() => {
                reader.counts.store_hits.one();
                if due {
                    self.reload_due(key, until, absence, load);
                }
                return Ok((value, Freshness::Fresh));
            }
            Lookup::Stale { value, age } if absence || value.is_some() => {
                if self.is_backing_off(&key) {
                    return Ok(self.stale((value, age), StaleReason::LoaderFailed));
                }
                if reader.policy.revalidates(value.is_some(), age) {
                    self.reload(key, LoadPlan::background(absence, SkipIf::Fresh), load);
                    return Ok(self.stale((value, age), StaleReason::Revalidating));
                }
                plan.stale = Some((value, age));
                plan.present = true;
            }
            Lookup::Fresh { .. } | Lookup::Stale { .. } => plan.present = true,
            Lookup::Missing { present } => plan.present = present,
            Lookup::NewerSchema => plan.storing = Storing::NewerSchema,
            Lookup::Unavailable(error) => {
                plan.storing = Storing::Unavailable;
                let known = reader.last_known(reader.identifier(&key));
                plan.stale = known.filter(|(value, _)| absence || value.is_some());
                if let (Some(stale), true) = (&plan.stale, self.is_backing_off(&key)) {
                    return Ok(self.stale(stale.clone(), StaleReason::LoaderFailed));
                }
                if reader.policy.fail_closed {
                    return match plan.stale {
                        Some(stale) => Ok(self.stale(stale, StaleReason::StoreFailed)),
                        None => Err(error.into()),
                    };
                }
            }
        }
        reader.counts.misses.one();
        if let Some(failure) = self.in_flight.recent.failure(reader.identifier(&key), reader.now()) {
            return match plan.stale.filter(|(value, age)| reader.policy.makes_up(value.is_some(), *age)) {
                Some(stale) => Ok(self.stale(stale, StaleReason::LoaderFailed)),
                None => Err(failure.error()),
            };
        }
        // On the heap, so that it is no part of every hit's future.
        Box::pin(self.shared(key, plan, load, asked_at)).await
    }
}
