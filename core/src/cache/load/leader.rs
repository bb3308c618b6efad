//! The load itself, in a task of its own.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use super::chain::Chain;
use super::failure::Failure;
use super::fill::Stored;
use super::lease::Permission;
use super::plan::{LoadKind, LoadPlan, Storing};
use super::single_flight::{Leader, Progress};
use super::{Loaded, Loader};
use crate::cache::read::Cached;
use crate::codec::Codec;
use crate::key::Key;
use crate::time::Monotonic;

/// What a load ended with.
enum LoadEnd<T> {
    Value {
        value: Option<Arc<T>>,
        /// Something may have been written or invalidated since it was begun.
        maybe_stale: bool,
    },
    /// A background load that is none of this process's business.
    Nothing,
}

/// Loads, and serves those who wait.
pub(super) async fn lead<T, C, E, F, L>(
    loader: Arc<Loader<T, C>>,
    key: Key,
    plan: LoadPlan<T>,
    load: L,
    mut leader: Leader<T>,
    chain: Chain,
) where
    T: Cached,
    C: Codec,
    L: FnOnce() -> F + Send + 'static,
    F: Future<Output = Result<Loaded<T>, E>> + Send + 'static,
    E: Send + Sync + 'static,
{
    // Besides the loader, the caller's tags and `Serialize` may panic.
    let work = AssertUnwindSafe(loader.load(&key, &plan, load, &mut leader, chain)).catch_unwind();
    let progress = match work.await.unwrap_or(Err(Failure::Panicked)) {
        Ok(LoadEnd::Value { value, maybe_stale: false }) => Progress::Loaded(value),
        Ok(LoadEnd::Value { value, maybe_stale: true }) => leader.maybe_stale(value),
        Ok(LoadEnd::Nothing) => Progress::Ended,
        Err(failure) => {
            // Before those who wait are woken, so that they find it.
            loader.remember(&key, &failure, plan.is_dispensable());
            Progress::Failed(failure)
        }
    };
    leader.finish(progress);
}

impl<T: Cached, C: Codec> Loader<T, C> {
    /// Gets the permission to store, loads, and stores.
    async fn load<E, F, L>(
        &self,
        key: &Key,
        plan: &LoadPlan<T>,
        load: L,
        leader: &mut Leader<T>,
        chain: Chain,
    ) -> Result<LoadEnd<T>, Failure>
    where
        L: FnOnce() -> F + Send,
        F: Future<Output = Result<Loaded<T>, E>> + Send,
        E: Send + Sync + 'static,
    {
        let reader = &self.reader;
        let mut permit = None;
        // With the store away nobody can tell, and the loader serves all.
        let mut maybe_stale = plan.storing == Storing::NewerSchema;
        if plan.storing == Storing::Yes {
            match self.permission(key, plan, leader).await.map_err(Failure::Store)? {
                // It was right when it was read.
                Permission::Needless(value) => return Ok(LoadEnd::Value { value, maybe_stale: true }),
                Permission::Granted(granted) => permit = Some(*granted),
                Permission::Failed(failure) => return Err(failure),
                Permission::Taken(remaining) => {
                    self.loads_elsewhere(key, remaining);
                    return Ok(LoadEnd::Nothing);
                }
                // What can't be stored is loaded for nobody.
                Permission::Refused(_) if plan.kind == LoadKind::Background => {
                    self.back_off(key);
                    return Ok(LoadEnd::Nothing);
                }
                Permission::Refused(why) => maybe_stale = why.is_none(),
                Permission::Unleased => maybe_stale = true,
            }
        }
        leader.begin();
        let begun = reader.now();
        let chain = chain.with(leader.number(), self.store_number(), vec![key.clone()]);
        let end = self.end_of(plan);
        let loaded = self.run(load, permit.as_ref().map(|permit| &permit.guard), end, chain).await;
        let took = reader.now().saturating_since(begun);
        let mut loaded = match loaded {
            Ok(loaded) => loaded,
            Err(failure) => {
                if let Some(mut permit) = permit {
                    self.give_back(&mut permit.guard, Some(&failure)).await;
                }
                return Err(failure);
            }
        };
        self.succeeded(key, loaded.value.is_some());
        self.refreshed(key, plan.skip_if);
        let value = loaded.value.take().map(Arc::new);
        // Whoever waits asked before this. Whatever they asked after has voided the lease, or moved a generation.
        leader.detach();
        if let Some(mut permit) = permit {
            let (under, proves) =
                (permit.generations(&reader.namespace_tag), permit.proof.proves_freshness());
            // Only what is stored by a lease proves that nothing was written meanwhile.
            maybe_stale = true;
            let stored = if loaded.store {
                let storing = std::pin::pin!(self.store(key, &mut permit, value.as_deref(), &loaded, took));
                self.answering(storing, plan.end, || leader.answer_early(leader.maybe_stale(value.clone())))
                    .await
            } else {
                Stored::NotWanted
            };
            match stored {
                Stored::Yes => maybe_stale = !proves || self.is_invalidated(&under).await,
                // Nobody is to wait for it, here or elsewhere.
                Stored::NotWanted | Stored::Fenced => self.give_back(&mut permit.guard, None).await,
                // The guard tries once more, and nobody waits for that.
                Stored::Unanswered => {}
            }
        }
        Ok(LoadEnd::Value { value, maybe_stale })
    }

    /// Waits until what was loaded is stored. Its callers wait for that no longer than for a read, and not beyond the `end` of their
    /// call: then they are answered before it.
    pub(super) async fn answering<F: Future + Unpin>(
        &self,
        mut storing: F,
        end: Option<(Monotonic, Duration)>,
        answer: impl FnOnce(),
    ) -> F::Output {
        let until = self.reader.now().saturating_add(self.reader.policy.store_deadline);
        let until = end.map_or(until, |(end, _)| until.min(end));
        tokio::select! {
            biased;
            stored = &mut storing => return stored,
            () = self.reader.environment.clock.sleep_until(until) => answer(),
        }
        storing.await
    }

    /// Whether a load ends by a bound of its own, and not only when nobody waits for it.
    pub(super) fn is_bounded(&self, plan: &LoadPlan<T>) -> bool {
        plan.kind == LoadKind::Background || plan.end.is_some() || self.is_left_running(plan)
    }

    /// Whether a load may go on when its caller was served.
    fn is_left_running(&self, plan: &LoadPlan<T>) -> bool {
        let policy = &self.reader.policy;
        policy.background || (policy.soft_timeout.is_some() && plan.stale.is_some())
    }

    /// When a load has to end, and after how long.
    pub(super) fn end_of(&self, plan: &LoadPlan<T>) -> Option<(Monotonic, Duration)> {
        if plan.kind == LoadKind::Foreground && !self.is_left_running(plan) {
            return plan.end;
        }
        let longest = self.reader.policy.longest_load();
        let end = (self.reader.now().saturating_add(longest), longest);
        Some(plan.end.map_or(end, |own| own.min(end)))
    }
}
