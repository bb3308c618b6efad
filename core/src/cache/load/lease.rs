//! One load in the deployment: by a lease, which is waited for, taken over and kept.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Prior, Unless, closed};
use crate::cache::flight::Pilot;
use crate::cache::inner::{Before, Inner, is_callers};
use crate::cache::judge::Found;
use crate::cache::lease_guard::LeaseGuard;
use crate::cache::{CacheLeases, Fetched, Generation, LeaseRequest, LeaseToken, Tag, Want};
use crate::codec::Codec;
use crate::error::{Error, ErrorKind, Result};
use crate::key::Key;
use crate::random::jittered;
use crate::time::Timestamp;

/// A lease on filling an entry, and the generations under which the value is loaded.
pub(super) struct Leased {
    pub(super) token: LeaseToken,
    pub(super) namespace: Option<Generation>,
    pub(super) tags: Vec<(Tag, Generation)>,
    pub(super) guard: LeaseGuard,
}

impl Leased {
    /// All the generations that were known before the load.
    pub(super) fn generations(&self, namespace: &Tag) -> Vec<(Tag, Generation)> {
        let namespace = self.namespace.map(|generation| (namespace.clone(), generation));
        self.tags.iter().cloned().chain(namespace).collect()
    }
}

/// What came of asking for a lease.
pub(super) enum Taken<T> {
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

/// Whether two ends are of one life. That of a plain value follows from what is left to it when it is read, and so is
/// known to within a trip.
fn is_same_life(one: Timestamp, other: Timestamp) -> bool {
    const TRIP: Duration = Duration::from_millis(100);
    one.saturating_since(other).max(other.saturating_since(one)) <= TRIP
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static, C: Codec> Inner<T, C> {
    pub(super) async fn take_lease(
        &self,
        key: &Key,
        prior: &Prior<T>,
        pilot: &mut Pilot<T>,
    ) -> Result<Taken<T>> {
        if self.store.leases().is_none() {
            return Ok(Taken::None(None));
        }
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
            pilot.begin();
            let answer = match self.ask(self.leases()?.fetch(&requests)).await {
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
                pilot.begin();
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

    pub(in crate::cache) fn leases(&self) -> Result<&dyn CacheLeases> {
        self.store.leases().ok_or_else(|| Error::unsupported("this store has no leases"))
    }

    /// The store did not grant a lease, since it is away.
    fn without_lease(&self, error: Error) -> Result<Taken<T>> {
        self.store_failed(&error);
        if self.policy.fail_closed { Err(error) } else { Ok(Taken::None(Some(error))) }
    }

    /// Asks for the leases again and again; never resolves.
    pub(in crate::cache) async fn keep(&self, guard: &LeaseGuard) -> Infallible {
        let request = |(key, token): (&Key, LeaseToken)| {
            LeaseRequest::new(key.clone(), token, self.policy.lease, Want::Keep)
        };
        let mut requests: Vec<_> = guard.held().map(request).collect();
        while !requests.is_empty() {
            self.environment.sleep(self.policy.lease.as_duration() / 3).await;
            let Ok(leases) = self.leases() else { break };
            if let Ok(answers) = self.ask(leases.fetch(&requests)).await {
                // A lease that a write has voided is gone; what is loaded is served and not stored.
                let mut kept = answers.into_iter().map(|answer| matches!(answer, Fetched::Leased { .. }));
                requests.retain(|_| kept.next().unwrap_or(false));
            }
        }
        std::future::pending().await
    }
}
