//! Permission to store what is loaded: a lease, by which one process in the deployment loads, which is waited for, taken
//! over when its holder dies, and kept while the load runs.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Loader;
use super::error::closed;
use super::fill::new_token;
use super::lease_guard::LeaseGuard;
use super::plan::{Decision, LoadPlan, SkipIf};
use super::single_flight::Leader;
use crate::cache::near::Snapshot;
use crate::cache::read::{Before, Cached, is_callers};
use crate::cache::store::{CacheLeases, Fetched, Generation, LeaseRequest, LeaseToken, Tag, Want, When};
use crate::codec::Codec;
use crate::error::{Error, ErrorKind, Result};
use crate::key::Key;
use crate::random::jittered;

/// The first and the longest pause between two requests for a lease that another process holds.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// Permission to store what is loaded, and the generations under which it is loaded.
pub(super) struct Permit {
    pub(super) proof: Proof,
    pub(super) namespace: Option<Generation>,
    pub(super) tags: Vec<(Tag, Generation)>,
    pub(super) guard: LeaseGuard,
}

/// By what it is known, when a loaded value is stored, that nothing was written since the load began.
#[derive(Debug, Clone)]
pub(super) enum Proof {
    /// The lease is live.
    Lease(LeaseToken),
    /// What was there before is there still, and this process has changed nothing.
    Unchanged(When, Option<Snapshot>),
}

impl Proof {
    /// Whether a value that was stored by this is fresh for everybody who asked before.
    pub(super) const fn proves_freshness(&self) -> bool {
        matches!(self, Self::Lease(_))
    }
}

impl Permit {
    /// All the generations that were known before the load.
    pub(super) fn generations(&self, namespace: &Tag) -> Vec<(Tag, Generation)> {
        let namespace = self.namespace.map(|generation| (namespace.clone(), generation));
        self.tags.iter().cloned().chain(namespace).collect()
    }
}

/// What came of asking for permission to store.
pub(super) enum Permission<T> {
    Granted(Box<Permit>),
    /// Somebody else has loaded it.
    Needless(Option<Arc<T>>),
    /// What is loaded is not to be stored: the store is away, for this reason, or has a value of a newer schema.
    Refused(Option<Error>),
}

impl<T> Permission<T> {
    fn granted(permit: Permit) -> Self {
        Self::Granted(Box::new(permit))
    }
}

impl<T: Cached, C: Codec> Loader<T, C> {
    /// Asks for permission to store what is to be loaded: for a lease where the store has them, waiting while another
    /// process holds it.
    pub(super) async fn permission(
        &self,
        key: &Key,
        plan: &LoadPlan<T>,
        leader: &mut Leader<T>,
    ) -> Result<Permission<T>> {
        let reader = &self.reader;
        let Some(leases) = reader.gate.store().leases() else {
            return self.unleased(key, plan, leader).await;
        };
        let identifier = reader.identifier(key);
        let token = new_token(&*reader.environment.random)?;
        let mut want =
            if plan.present || plan.skip_if == SkipIf::Never { Want::Anyway } else { Want::IfAbsent };
        let mut pause = FIRST_PAUSE;
        loop {
            // Before asking, so that no change in between is missed.
            let mut wait = self.in_flight.waiters.wait_for(identifier);
            let before = Before { again: plan.present, ..reader.before(key) };
            let request = LeaseRequest::new(key.clone(), token, reader.policy.lease, want);
            let requests = [request];
            let mut guard = LeaseGuard::of(reader.gate.store(), &reader.environment.tasks, &requests);
            leader.begin();
            let answer = match reader.gate.ask(reader.shard_of(key), leases.fetch(&requests)).await {
                Ok(mut answers) => answers.pop(),
                Err(error) => {
                    guard.refused(token, &error);
                    if is_callers(&error) {
                        return Err(error);
                    }
                    return self.refused(error);
                }
            };
            let (current, busy_for) = match answer {
                Some(Fetched::Leased { current }) => {
                    return match self.decision(key, plan, current, before).await? {
                        Decision::Load => self.permitted(identifier, Proof::Lease(token), guard).await,
                        // The guard releases the lease.
                        Decision::Serve(value) => Ok(Permission::Needless(value)),
                        Decision::LeaveAlone => Ok(Permission::Refused(None)),
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
            match self.decision(key, plan, current, before).await? {
                Decision::Load => {}
                Decision::Serve(value) => return Ok(Permission::Needless(value)),
                Decision::LeaveAlone => return Ok(Permission::Refused(None)),
            }
            // What is there can't be served.
            want = Want::Anyway;
            let Some(remaining) = busy_for else {
                continue;
            };
            reader.counts.lease_waits.one();
            self.watch_for_waiters();
            let shortest = Duration::from_millis(1);
            let next = jittered(&*reader.environment.random, pause).min(remaining.max(shortest));
            pause = (pause * 2).min(LONGEST_PAUSE);
            tokio::select! {
                biased;
                () = wait.changed() => {}
                () = reader.environment.tasks.closing() => return Err(closed()),
                () = reader.environment.sleep(next) => {}
            }
            if reader.wire.plain {
                // Their bytes don't say how old they are; what is left to them in the store does.
                leader.begin();
                if let Decision::Serve(value) = plan.decide(reader.lookup(key).await?) {
                    return Ok(Permission::Needless(value));
                }
            }
        }
    }

    /// What a value that is there before the load means for it.
    async fn decision(
        &self,
        key: &Key,
        plan: &LoadPlan<T>,
        current: Option<Bytes>,
        before: Before,
    ) -> Result<Decision<T>> {
        // Plain bytes don't say how old they are: if they could not be served before, they can't be now.
        let Some(bytes) = current.filter(|_| !(self.reader.wire.plain && plan.present)) else {
            return Ok(Decision::Load);
        };
        Ok(plan.decide(self.reader.assessed(key, &bytes, None, before).await?))
    }

    /// A permit with the generations of the tags that are known before the load begins.
    pub(super) async fn permitted(
        &self,
        identifier: &str,
        proof: Proof,
        guard: LeaseGuard,
    ) -> Result<Permission<T>> {
        let reader = &self.reader;
        let Some(generations) = &reader.generations else {
            return Ok(Permission::granted(Permit { proof, namespace: None, tags: Vec::new(), guard }));
        };
        let mut tags = reader.tags_of(identifier);
        tags.push(reader.namespace_tag.clone());
        match reader.all_generations(generations, &tags).await {
            Ok(mut generations) => {
                let namespace = generations.pop();
                tags.pop();
                let tags = tags.into_iter().zip(generations).collect();
                Ok(Permission::granted(Permit { proof, namespace, tags, guard }))
            }
            Err(error) if is_callers(&error) => Err(error),
            Err(error) => self.refused(error),
        }
    }

    /// The store is away.
    pub(super) fn refused(&self, error: Error) -> Result<Permission<T>> {
        self.reader.gate.failed(&error);
        if self.reader.policy.fail_closed { Err(error) } else { Ok(Permission::Refused(Some(error))) }
    }

    /// Keeps the leases by asking for them again and again; never resolves.
    pub(super) async fn keep(&self, guard: &LeaseGuard) -> Infallible {
        let lease = self.reader.policy.lease;
        let request =
            |(key, token): (&Key, LeaseToken)| LeaseRequest::new(key.clone(), token, lease, Want::Keep);
        let mut requests: Vec<_> = guard.held().map(request).collect();
        while let (false, Some(leases)) = (requests.is_empty(), self.reader.gate.store().leases()) {
            self.reader.environment.sleep(lease.as_duration() / 3).await;
            let ask = |part: Vec<LeaseRequest>| async move { CacheLeases::fetch(leases, &part).await };
            let answers =
                self.reader.gate.ask_each(requests.clone(), |request| &request.key, ask, |_| ()).await;
            // A lease that a write has voided is gone; what is loaded is served and not stored. One that could not be asked for
            // may be held still.
            let mut kept =
                answers.into_iter().map(|answer| matches!(answer, Ok(Fetched::Leased { .. }) | Err(_)));
            requests.retain(|_| kept.next().unwrap_or(false));
        }
        std::future::pending().await
    }
}
