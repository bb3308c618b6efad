//! Permission to store what is loaded: a lease, by which one process in the deployment loads, which is waited for, taken
//! over when its holder dies, and kept while the load runs.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Loader;
use super::error::closed;
use super::failure::Failure;
use super::fill::new_token;
use super::lease_guard::LeaseGuard;
use super::plan::{Decision, LoadKind, LoadPlan, SkipIf};
use super::single_flight::Leader;
use crate::cache::near::Snapshot;
use crate::cache::read::{Before, Cached, Work, is_callers};
use crate::cache::store::{Fetched, Generation, LeaseRequest, LeaseToken, Tag, Want, When};
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
    /// The lease.
    pub(super) const fn token(&self) -> Option<LeaseToken> {
        match self {
            Self::Lease(token) => Some(*token),
            Self::Unchanged(..) => None,
        }
    }

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
    /// Another process has held the lease for as long as one waits: what is loaded is not to be stored.
    Unleased,
    /// Another process has the lease for so long, and a background load does not wait for it.
    Taken(Duration),
    /// Another process's load has failed.
    Failed(Failure),
}

/// What came of asking for a lease, or for what stands in for it.
pub(super) enum Leased<T> {
    Granted(Proof, LeaseGuard),
    /// As the permission of that name.
    Not(Permission<T>),
}

impl<T> Permission<T> {
    fn granted(permit: Permit) -> Self {
        Self::Granted(Box::new(permit))
    }
}

/// What an answer to a request for a lease means for the load.
pub(super) enum Answered<T> {
    /// The lease is held.
    Granted,
    /// It is not, and that is the end of it.
    Not(Permission<T>),
    /// What is there can't be served. Another process has the lease for so long, if there is a time.
    Again(Option<Duration>),
}

impl<T: Cached, C: Codec> Loader<T, C> {
    /// Asks for permission to store what is to be loaded, with the generations from before the load.
    pub(super) async fn permission(
        &self,
        key: &Key,
        plan: &LoadPlan<T>,
        leader: &mut Leader<T>,
    ) -> Result<Permission<T>> {
        match self.leased(key, plan, leader, false).await? {
            Leased::Granted(proof, guard) => self.permitted(self.reader.identifier(key), proof, guard).await,
            Leased::Not(permission) => Ok(permission),
        }
    }

    /// Asks for a lease where the store has them. While another process holds it, a foreground load waits, for a bounded time.
    /// `has_waited`: it was asked for before.
    pub(super) async fn leased(
        &self,
        key: &Key,
        plan: &LoadPlan<T>,
        leader: &mut Leader<T>,
        mut has_waited: bool,
    ) -> Result<Leased<T>> {
        let reader = &self.reader;
        let Some(leases) = reader.gate.store().leases() else {
            return self.unleased(key, plan, leader).await;
        };
        let identifier = reader.identifier(key);
        let token = new_token(&*reader.environment.random)?;
        let mut present = plan.present;
        let mut pause = FIRST_PAUSE;
        loop {
            // Before asking, so that no change in between is missed.
            let mut wait = self.in_flight.waiters.wait_for(identifier);
            let before = Before { again: plan.present, ..reader.before(key) };
            let requests = [self.request(key, token, plan, present, has_waited)];
            let mut guard = LeaseGuard::of(reader.gate.store(), &reader.environment.tasks, &requests);
            leader.begin();
            let answer =
                match reader.gate.ask(reader.shard_of(key), Work::READ, leases.fetch(&requests)).await {
                    Ok(mut answers) => answers.pop().ok_or_else(unanswered)?,
                    Err(error) => {
                        guard.refused(token, &error);
                        if is_callers(&error) {
                            return Err(error);
                        }
                        return self.refused(error).map(Leased::Not);
                    }
                };
            // What is not held is not released, and what is held and not needed is.
            if !matches!(answer, Fetched::Leased { .. }) {
                guard.settle(token);
            }
            let busy_for = match self.answered(key, plan, answer, before).await? {
                Answered::Granted => return Ok(Leased::Granted(Proof::Lease(token), guard)),
                Answered::Not(permission) => return Ok(Leased::Not(permission)),
                Answered::Again(busy_for) => busy_for,
            };
            // What is there can't be served.
            present = true;
            let Some(remaining) = busy_for else {
                continue;
            };
            if plan.kind == LoadKind::Background {
                return Ok(Leased::Not(Permission::Taken(remaining)));
            }
            let left = plan.lease_until.map(|until| until.saturating_since(reader.now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(Leased::Not(Permission::Unleased));
            }
            has_waited = true;
            reader.counts.lease_waits.one();
            self.watch_for_waiters();
            let shortest = Duration::from_millis(1);
            let next = jittered(&*reader.environment.random, pause).min(remaining.max(shortest));
            let next = left.map_or(next, |left| next.min(left));
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
                    return Ok(Leased::Not(Permission::Needless(value)));
                }
            }
        }
    }

    /// A request for the lease on a key. `present`: there are bytes, which can't be served.
    pub(super) fn request(
        &self,
        key: &Key,
        token: LeaseToken,
        plan: &LoadPlan<T>,
        present: bool,
        has_waited: bool,
    ) -> LeaseRequest {
        let policy = &self.reader.policy;
        let is_refresh = plan.skip_if == SkipIf::Never;
        let want = if present || is_refresh { Want::Anyway } else { Want::IfAbsent };
        let request = LeaseRequest::new(key.clone(), token, policy.lease, want);
        // A failure is for those who have waited for that load, and for those who ask within the time that it is remembered.
        if is_refresh || (policy.failure_ttl.is_zero() && !has_waited) {
            request.despite_failure()
        } else {
            request
        }
    }

    /// What an answer to a request for a lease means.
    pub(super) async fn answered(
        &self,
        key: &Key,
        plan: &LoadPlan<T>,
        answer: Fetched,
        before: Before,
    ) -> Result<Answered<T>> {
        let (current, otherwise) = match answer {
            Fetched::Leased { current } => (current, Answered::Granted),
            Fetched::Hit(value) => (Some(value), Answered::Again(None)),
            Fetched::Busy { remaining, current } => (current, Answered::Again(Some(remaining))),
            Fetched::Failed { current, remaining } => {
                (current, Answered::Not(Permission::Failed(Failure::Elsewhere { remaining })))
            }
        };
        Ok(match self.decision(key, plan, current, before).await? {
            Decision::Load => otherwise,
            Decision::Serve(value) => Answered::Not(Permission::Needless(value)),
            Decision::LeaveAlone => Answered::Not(Permission::Refused(None)),
        })
    }

    /// What a value that is there before the load means for it.
    pub(super) async fn decision(
        &self,
        key: &Key,
        plan: &LoadPlan<T>,
        current: Option<Bytes>,
        before: Before,
    ) -> Result<Decision<T>> {
        if current.is_none() {
            self.reader.forget_near(key);
        }
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
}

fn unanswered() -> Error {
    Error::new(ErrorKind::Internal, "the store answered nothing to a request for a lease")
}
