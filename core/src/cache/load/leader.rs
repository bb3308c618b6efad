//! The load itself, in a task of its own.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::error::newer_schema;
use super::lease::{Permission, Permit};
use super::plan::{LoadKind, LoadPlan, Storing};
use super::single_flight::{Leader, Progress};
use super::{LoadError, Loaded, Loader};
use crate::cache::read::Cached;
use crate::codec::Codec;
use crate::key::Key;

/// What a load ended with.
struct LoadResult<T> {
    value: Option<Arc<T>>,
    /// Something may have been written or invalidated since it was begun.
    maybe_stale: bool,
}

/// Loads, and serves the waiters and the caller.
pub(super) async fn lead<T, C, E, F, L>(
    loader: Arc<Loader<T, C>>,
    key: Key,
    plan: LoadPlan<T>,
    load: L,
    mut leader: Leader<T>,
    report: oneshot::Sender<Result<Option<Arc<T>>, LoadError<E>>>,
) where
    T: Cached,
    C: Codec,
    L: FnOnce() -> F + Send + 'static,
    F: Future<Output = Result<Loaded<T>, E>> + Send + 'static,
    E: Send + 'static,
{
    // Besides the loader, the caller's tags and `Serialize` may panic.
    let work = AssertUnwindSafe(loader.load(&key, &plan, load, &mut leader)).catch_unwind();
    let outcome = work.await.unwrap_or(Err(LoadError::Panicked));
    if outcome.is_err() && (plan.stale.is_some() || plan.kind == LoadKind::Background) {
        let now = loader.reader.now();
        // Before the waiters are woken, so that they find it.
        loader.backoff.begin(&key, now.saturating_add(loader.reader.policy.backoff), now);
    }
    let progress = match &outcome {
        Ok(LoadResult { value, maybe_stale: false }) => Progress::Loaded(value.clone()),
        Ok(LoadResult { value, maybe_stale: true }) => leader.maybe_stale(value.clone()),
        Err(_) => Progress::Failed,
    };
    leader.finish(progress);
    // The caller may have left; the value is stored all the same.
    let _ = report.send(outcome.map(|loaded| loaded.value));
}

impl<T: Cached, C: Codec> Loader<T, C> {
    /// Gets the permission to store, loads, and stores.
    async fn load<E, F, L>(
        &self,
        key: &Key,
        plan: &LoadPlan<T>,
        load: L,
        leader: &mut Leader<T>,
    ) -> Result<LoadResult<T>, LoadError<E>>
    where
        L: FnOnce() -> F + Send,
        F: Future<Output = Result<Loaded<T>, E>> + Send,
    {
        let mut permit = None;
        // With the store away nobody can tell, and the loader serves all.
        let mut maybe_stale = plan.storing == Storing::NewerSchema;
        if plan.storing == Storing::Yes {
            match self.permission(key, plan, leader).await? {
                // It was right when it was read.
                Permission::Needless(value) => return Ok(LoadResult { value, maybe_stale: true }),
                Permission::Granted(granted) => permit = Some(*granted),
                // What can't be stored is loaded for nobody.
                Permission::Refused(why) if plan.kind == LoadKind::Background => {
                    return Err(why.unwrap_or_else(newer_schema).into());
                }
                Permission::Refused(why) => maybe_stale = why.is_none(),
            }
        }
        leader.begin();
        let begun = self.reader.now();
        let loaded = self.run(load, permit.as_ref()).await;
        let took = self.reader.now().saturating_since(begun);
        self.reader.counts.load_time.add(took);
        let mut loaded = loaded.inspect_err(|_| self.reader.counts.load_failures.one())?;
        self.backoff.end(key);
        let value = loaded.value.take().map(Arc::new);
        // Whoever waits asked before this. Whatever they asked after has voided the lease, or moved a generation.
        leader.detach();
        if let Some(permit) = permit {
            let (under, proves) =
                (permit.generations(&self.reader.namespace_tag), permit.proof.proves_freshness());
            // Only what is stored by a lease proves that nothing was written meanwhile.
            maybe_stale = true;
            if loaded.store {
                match self.store(key, permit, value.as_deref(), &loaded, took).await {
                    Ok(stored) => maybe_stale = !stored || !proves || self.is_invalidated(&under).await,
                    Err(error) => self.not_stored(&error),
                }
            }
        }
        Ok(LoadResult { value, maybe_stale })
    }

    /// Runs the loader to its end, its hard timeout or its panic, and keeps the lease meanwhile.
    async fn run<E, F, L>(&self, load: L, permit: Option<&Permit>) -> Result<Loaded<T>, LoadError<E>>
    where
        L: FnOnce() -> F,
        F: Future<Output = Result<Loaded<T>, E>>,
    {
        self.reader.counts.loads.one();
        // The call of the loader may panic as well as its future.
        let work = AssertUnwindSafe(async { load().await }).catch_unwind();
        let keeping = async {
            match permit {
                Some(permit) => self.keep(&permit.guard).await,
                None => std::future::pending().await,
            }
        };
        let hard_timeout = async {
            match self.reader.policy.hard_timeout {
                Some(hard) => {
                    self.reader.environment.sleep(hard).await;
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
            hard = hard_timeout => Err(LoadError::TimedOut(hard)),
            never = &mut keeping => match never {},
        }
    }
}
