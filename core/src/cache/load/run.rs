//! Runs a loader: to its end, its panic or its timeout, with its lease kept meanwhile.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;

use super::Loader;
use super::chain::Chain;
use super::failure::Failure;
use super::lease_guard::LeaseGuard;
use crate::cache::read::Cached;
use crate::cache::store::{CacheLeases, Fetched, LeaseRequest, LeaseToken, Release, Want};
use crate::codec::Codec;
use crate::key::Key;
use crate::time::{Monotonic, Ttl};

/// For how long waiters elsewhere can learn of a failure that is not remembered for anybody else: the longest pause between
/// two of their looks, twice.
const SHORTEST_MARK: Duration = Duration::from_millis(500);

impl<T: Cached, C: Codec> Loader<T, C> {
    /// Runs a loader, and counts it. Where it has to `end`, it is dropped then, and said to have timed out after that long.
    pub(super) async fn run<R, E, F, L>(
        &self,
        load: L,
        guard: Option<&LeaseGuard>,
        end: Option<(Monotonic, Duration)>,
        chain: Chain,
    ) -> Result<R, Failure>
    where
        L: FnOnce() -> F,
        F: Future<Output = Result<R, E>>,
        E: Send + Sync + 'static,
    {
        let (counts, begun) = (&self.reader.counts, self.reader.now());
        counts.loads.one();
        // The call of the loader may panic as well as its future.
        let work = AssertUnwindSafe(chain.scope(async { load().await })).catch_unwind();
        let keeping = async {
            match guard {
                Some(guard) => self.keep(guard).await,
                None => std::future::pending().await,
            }
        };
        let timeout = async {
            match end {
                Some((end, after)) => {
                    self.reader.environment.clock.sleep_until(end).await;
                    after
                }
                None => std::future::pending().await,
            }
        };
        tokio::pin!(keeping);
        let ended = tokio::select! {
            biased;
            done = work => match done {
                Ok(Ok(loaded)) => Ok(loaded),
                Ok(Err(error)) => Err(Failure::loader(error)),
                Err(_) => Err(Failure::Panicked),
            },
            after = timeout => Err(Failure::TimedOut(after)),
            never = &mut keeping => match never {},
        };
        counts.load_time.add(self.reader.now().saturating_since(begun));
        ended.inspect_err(|_| counts.load_failures.one())
    }

    /// Keeps the leases by asking for them again and again, for as long as a load may run for nobody; never resolves. One that
    /// is not kept runs out, and whoever waits for it loads.
    async fn keep(&self, guard: &LeaseGuard) -> Infallible {
        let (reader, lease) = (&self.reader, self.reader.policy.lease);
        let until = reader.now().saturating_add(reader.policy.longest_load());
        let request =
            |(key, token): (&Key, LeaseToken)| LeaseRequest::new(key.clone(), token, lease, Want::Keep);
        let mut requests: Vec<_> = guard.held().map(request).collect();
        while let (false, Some(leases)) = (requests.is_empty(), reader.gate.store().leases()) {
            reader.environment.sleep(lease.as_duration() / 3).await;
            if reader.now() >= until {
                break;
            }
            let ask = |part: Vec<LeaseRequest>| async move { CacheLeases::fetch(leases, &part).await };
            let answers = reader.gate.ask_each(requests.clone(), |request| &request.key, ask, |_| ()).await;
            // A lease that a write has voided is gone; what is loaded is served and not stored. One that could not be asked for
            // may be held still.
            let mut kept =
                answers.into_iter().map(|answer| matches!(answer, Ok(Fetched::Leased { .. }) | Err(_)));
            requests.retain(|_| kept.next().unwrap_or(false));
        }
        std::future::pending().await
    }

    /// Gives leases back that will not be filled, before anybody is answered; with the mark that their load has failed, where
    /// it has.
    pub(super) async fn give_back(&self, guard: &mut LeaseGuard, failure: Option<&Failure>) {
        let Some(leases) = self.reader.gate.store().leases() else { return };
        let mark = failure.filter(|failure| failure.is_loaders()).and_then(|_| {
            let remembered = self.reader.policy.failure_ttl;
            Ttl::new(if remembered.is_zero() { SHORTEST_MARK } else { remembered }).ok()
        });
        let release = |(key, token): (&Key, LeaseToken)| {
            let release = Release::new(key.clone(), token);
            mark.map_or(release.clone(), |mark| release.failed(mark))
        };
        let releases: Vec<Release> = guard.held().map(release).collect();
        if releases.is_empty() {
            return;
        }
        let tokens: Vec<LeaseToken> = releases.iter().map(|release| release.token).collect();
        let ask = |part: Vec<Release>| async move {
            leases.release(&part).await?;
            Ok(vec![(); part.len()])
        };
        let released = self.reader.gate.ask_each(releases, |release| &release.key, ask, |_| ()).await;
        for (token, released) in tokens.into_iter().zip(released) {
            if released.is_ok() {
                guard.settle(token);
            }
        }
    }

    /// Remembers a failure for those who ask next. Where nobody had to have the value, the loader is not run for a while.
    pub(super) fn remember(&self, key: &Key, failure: &Failure, is_dispensable: bool) {
        let now = self.reader.now();
        if is_dispensable {
            self.back_off(key);
        }
        if failure.is_loaders() {
            let until = now.saturating_add(failure.remembered(self.reader.policy.failure_ttl));
            self.in_flight.recent.failed(self.reader.identifier(key), failure, until, now);
        }
    }

    /// The loader of this key is not run for a while where a stale value is at hand.
    pub(super) fn back_off(&self, key: &Key) {
        let now = self.reader.now();
        let until = now.saturating_add(self.reader.policy.backoff);
        self.in_flight.recent.back_off(self.reader.identifier(key), until, now);
    }

    pub(super) fn is_backing_off(&self, key: &Key) -> bool {
        self.in_flight.recent.is_backing_off(self.reader.identifier(key), self.reader.now())
    }

    /// Another process has the lease for so long.
    pub(super) fn loads_elsewhere(&self, key: &Key, remaining: Duration) {
        let now = self.reader.now();
        let until = now.saturating_add(remaining);
        self.in_flight.recent.loads_elsewhere(self.reader.identifier(key), until, now);
    }

    /// Which store the keys are in, for chains of loads.
    pub(super) fn store_number(&self) -> usize {
        std::sync::Arc::as_ptr(self.reader.gate.store()).cast::<()>().addr()
    }
}
