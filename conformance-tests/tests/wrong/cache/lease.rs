//! Caches that are wrong about leases.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use stanchion::cache::{
    CacheCapabilities, CacheStore, Fetched, Fill, FillOutcome, Generation, LeaseRequest, LeaseToken,
    SetEntry, SetOptions, SetOutcome, Tag, Want, Watch, Watcher,
};
use stanchion::key::{Key, Namespace};
use stanchion::time::{Timestamp, Ttl};
use stanchion::{Error, ErrorKind, Result};
use tokio::task::yield_now;

use crate::backend::{self, Around, locked};
use crate::proof::{Proof, must_fail};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// `GET`, and then `SET`.
    LookThenTake,
    /// Who does not get the lease is told how long its own would have been.
    BusyForTheWrongLease,
    /// Who does not get the lease does not get the value either.
    BusyHidesTheValue,
    /// The lease is taken first, and then the value is read.
    HitTakesTheLease,
    /// The value is read only if no lease is to be had.
    AnywayForgetsTheValue,
    /// `SET NX`: the holder itself finds the lease taken.
    HolderIsBusyToItself,
    /// The holder is told that it has the lease, which ends when it would have.
    SameTokenKeepsTheOldEnd,
    /// Lives are shortened a little, so that not all end at once.
    LeaseEndsEarly,
    /// `SET` without `PX`.
    LeaseHasNoEnd,
    /// The holder is told that it has the lease, and that is all.
    KeepDoesNotExtend,
    /// One script for both: a lease that is not there is taken.
    KeepIsAnyway,
    /// The lease stays until it runs out.
    FillKeepsTheLease,
    /// `SET` without `PX`.
    FillLivesForEver,
    /// There is a lease: whose it is, is not asked.
    FillIsNotCompared,
    /// A lease ends when somebody asks for the next.
    FillAfterTheEnd,
    /// Fills are checked while they are sent.
    FillIsCheckedOneByOne,
    /// The replies are sorted by what they are.
    HitsComeFirst,
    /// The replies are sorted by what they are.
    FilledComeFirst,
    /// `SET`, and the lease is not thought of.
    SetKeepsTheLease,
    /// The newer value is removed, and the lease is not thought of.
    NewerKeepsTheLease,
    /// Only the single set voids.
    SetManyKeepsTheLease,
    /// "Nothing to remove": nothing is done.
    RemovingNothingKeepsTheLease,
    /// `DEL`, and the lease is not thought of.
    RemovalKeepsTheLease,
    /// `INCRBY`, and the lease is not thought of.
    AddKeepsTheLease,
    /// The lease is voided first, and then the condition is looked at.
    NotStoredVoidsTheLease,
    /// It will run out anyway.
    AbandonDoesNothing,
    /// `DEL`, whoever holds it.
    AbandonDoesNotCompare,
    /// `DEL entry lease`, and the reply is the count.
    RemovalCountsTheLease,
    /// The lease on `kl` is kept where that on `k` is.
    LeasesAreCutToOneLetter,
}

const fn proof(rule: &'static str, bug: Bug, case: &'static str, message: &'static str) -> Proof {
    must_fail(rule, backend::Bug::Cache(super::Bug::Lease(bug)), case, message)
}

pub(crate) const PROOFS: &[Proof] = &[
    proof(
        "CACHE-30",
        Bug::LookThenTake,
        "lease::race_has_one_holder",
        "leases for 30 that ask at once: 1\nobserved: 30",
    )
    .also(&["CACHE-62"]),
    proof("CACHE-30", Bug::BusyForTheWrongLease, "lease::busy_tells", "busy, with more than half of"),
    proof("CACHE-30", Bug::BusyHidesTheValue, "lease::busy_tells", "the value beside somebody else's lease"),
    proof("CACHE-31", Bug::HitTakesTheLease, "lease::hit_grants_none", "after a hit: leased\nobserved: Busy"),
    proof("CACHE-31", Bug::AnywayForgetsTheValue, "lease::anyway", "a lease, and the value")
        .also(&["CACHE-62"]),
    proof("CACHE-32", Bug::HolderIsBusyToItself, "lease::same_token_again", "the same token again: leased"),
    proof(
        "CACHE-32",
        Bug::SameTokenKeepsTheOldEnd,
        "lease::same_token_again",
        "a lease of the full length from when it was asked for again: busy",
    ),
    proof("CACHE-33", Bug::LeaseEndsEarly, "lease::there_until_its_end", "a lease before its end: busy"),
    proof("CACHE-33", Bug::LeaseHasNoEnd, "lease::runs_out", "a lease after its end, for the next: leased")
        .also(&["CACHE-30", "CACHE-35", "CACHE-37"]),
    proof(
        "CACHE-34",
        Bug::KeepDoesNotExtend,
        "lease::keep_extends",
        "a kept lease, past its first end: busy",
    ),
    proof("CACHE-35", Bug::KeepIsAnyway, "lease::keep_takes_none", "keeping what was never held")
        .also(&["CACHE-63"]),
    proof("CACHE-36", Bug::FillKeepsTheLease, "fill::stores", "filling a second time: Fenced"),
    proof("CACHE-36", Bug::FillLivesForEver, "fill::stores", "short: None\nobserved: Some"),
    proof("CACHE-37", Bug::FillIsNotCompared, "fill::fenced", "another token than the lease's: Fenced"),
    proof("CACHE-37", Bug::FillAfterTheEnd, "fill::fenced", "a fill after the lease ran out: Fenced"),
    proof("CACHE-38", Bug::SetKeepsTheLease, "void::by_set", "a fill of what was loaded before a set")
        .also(&["CACHE-35", "CACHE-63"]),
    proof(
        "CACHE-38",
        Bug::NewerKeepsTheLease,
        "void::by_newer",
        "a fill of what was loaded before a set that found a newer value: Fenced",
    ),
    proof(
        "CACHE-38",
        Bug::SetManyKeepsTheLease,
        "void::by_set_many",
        "a fill of what was loaded before a set in a batch: Fenced",
    ),
    proof(
        "CACHE-39",
        Bug::RemovingNothingKeepsTheLease,
        "void::by_removal",
        "a fill of what was loaded before a removal that found nothing: Fenced",
    )
    .also(&["CACHE-35", "CACHE-63"]),
    proof(
        "CACHE-39",
        Bug::RemovalKeepsTheLease,
        "void::by_removal",
        "a fill of what was loaded before the removal of a value: Fenced",
    )
    .also(&["CACHE-63"]),
    proof(
        "CACHE-40",
        Bug::AddKeepsTheLease,
        "void::by_addition",
        "a fill of what was loaded before an addition",
    ),
    proof(
        "CACHE-41",
        Bug::NotStoredVoidsTheLease,
        "void::not_by_what_stores_nothing",
        "a lease over which nothing was stored: busy",
    ),
    proof("CACHE-42", Bug::AbandonDoesNothing, "abandon::frees", "a lease that was abandoned: leased"),
    proof(
        "CACHE-42",
        Bug::AbandonDoesNotCompare,
        "abandon::only_the_holder",
        "a lease that another token abandoned: busy",
    ),
    proof(
        "CACHE-43",
        Bug::RemovalCountsTheLease,
        "lease::is_no_entry",
        "how many entries a removal finds: 0\nobserved: 1",
    ),
    proof(
        "CACHE-44",
        Bug::LeasesAreCutToOneLetter,
        "lease::keys",
        "a lease of its own for cache:case:kl: leased",
    ),
    proof("CACHE-45", Bug::HitsComeFirst, "lease::batch_order", "the answers in the order of the requests"),
    proof("CACHE-45", Bug::FilledComeFirst, "fill::batch_order", "the outcomes in the order of the fills"),
    proof("CACHE-45", Bug::FillIsCheckedOneByOne, "fill::size_cap", "a: None\nobserved: Some(b\"fine\")"),
    proof("CACHE-62", Bug::LookThenTake, "load::one_for_all", "loads for 40 callers in two processes: 1")
        .also(&["CACHE-30"]),
    proof(
        "CACHE-63",
        Bug::RemovingNothingKeepsTheLease,
        "load::not_after_a_write",
        "never what was loaded before the write",
    )
    .also(&["CACHE-35", "CACHE-39"]),
    proof("CACHE-63", Bug::KeepIsAnyway, "load::not_by_keeping", "never what was loaded before the write")
        .also(&["CACHE-35"]),
];

/// The last token that was granted the lease on a key and has not lost it by a write, a fill or by giving it up; it
/// may have run out.
pub(crate) type Loads = Arc<Mutex<HashMap<Key, (LeaseToken, Ttl)>>>;

#[derive(Debug)]
pub(crate) struct Wrong {
    bug: Bug,
    right: Arc<dyn CacheStore>,
    loads: Loads,
}

impl Wrong {
    pub(crate) fn new(bug: Bug, right: Arc<dyn CacheStore>, around: &Around) -> Self {
        Self { bug, right, loads: Arc::clone(&around.loads) }
    }

    fn load(&self, key: &Key) -> Option<(LeaseToken, Ttl)> {
        locked(&self.loads).get(key).copied()
    }

    /// The one answer of the right store.
    async fn ask(&self, request: &LeaseRequest, want: Want) -> Result<Fetched> {
        let request = LeaseRequest::new(request.key.clone(), request.token, request.lease, want);
        let answer = self.right.fetch(&[request]).await?.pop();
        answer.ok_or_else(|| Error::new(ErrorKind::Internal, "no answer"))
    }

    /// What is left of the lease on a key, zero if there is none; it is left as it is.
    async fn left(&self, key: &Key) -> Result<Duration> {
        let nobody = LeaseRequest::new(key.clone(), LeaseToken::new([0; 16]), Ttl::MIN, Want::Keep);
        match self.ask(&nobody, Want::Keep).await? {
            Fetched::Busy { remaining, .. } => Ok(remaining),
            _ => Ok(Duration::ZERO),
        }
    }

    /// The lease that a write has just voided, as if it had not.
    async fn unvoid(&self, key: &Key) -> Result<()> {
        if let Some((token, lease)) = self.load(key) {
            self.ask(&LeaseRequest::new(key.clone(), token, lease, Want::Anyway), Want::Anyway).await?;
        }
        Ok(())
    }

    fn forget(&self, key: &Key) {
        locked(&self.loads).remove(key);
    }

    /// After a write of a key.
    async fn written(&self, key: &Key, keeps_the_lease: bool) -> Result<()> {
        if keeps_the_lease {
            return self.unvoid(key).await;
        }
        self.forget(key);
        Ok(())
    }

    async fn fetch_one(&self, request: &LeaseRequest) -> Result<Fetched> {
        let LeaseRequest { key, token, want, .. } = request;
        let mut request = request.clone();
        let is_kept = *want == Want::Keep;
        let has_it = self.load(key).is_some_and(|(holder, _)| holder == *token);
        match self.bug {
            Bug::LookThenTake if !is_kept => {
                let is_hit = *want == Want::IfAbsent && self.right.get(key).await?.is_some();
                if !is_hit && (has_it || self.left(key).await?.is_zero()) {
                    yield_now().await;
                    let taken = self.load(key).map(|(holder, _)| (key.clone(), holder));
                    self.right.abandon(taken.as_slice()).await?;
                }
            }
            Bug::HitTakesTheLease if *want == Want::IfAbsent => {
                return Ok(match self.ask(&request, Want::Anyway).await? {
                    Fetched::Leased { current: Some(value) } | Fetched::Busy { current: Some(value), .. } => {
                        Fetched::Hit(value)
                    }
                    other => other,
                });
            }
            Bug::HolderIsBusyToItself if has_it && !is_kept => {
                let remaining = self.left(key).await?;
                if !remaining.is_zero() {
                    return Ok(Fetched::Busy { remaining, current: self.right.get(key).await? });
                }
            }
            Bug::SameTokenKeepsTheOldEnd if has_it && !is_kept && !self.left(key).await?.is_zero() => {
                return Ok(Fetched::Leased { current: self.right.get(key).await? });
            }
            Bug::LeaseEndsEarly if !is_kept => {
                request.lease = Ttl::new(request.lease.as_duration().mul_f64(0.9))?;
            }
            Bug::LeaseHasNoEnd if !is_kept => request.lease = Ttl::MAX,
            Bug::KeepDoesNotExtend if is_kept && has_it && !self.left(key).await?.is_zero() => {
                return Ok(Fetched::Leased { current: None });
            }
            Bug::KeepIsAnyway if is_kept => {
                return Ok(match self.ask(&request, Want::Anyway).await? {
                    Fetched::Busy { remaining, .. } => Fetched::Busy { remaining, current: None },
                    _ => Fetched::Leased { current: None },
                });
            }
            Bug::LeasesAreCutToOneLetter => {
                let (stem, id) = key.as_str().rsplit_once(':').unwrap_or_default();
                let mut cut = stem.split(':').chain(id.get(..1).filter(|_| id.len() > 1));
                if let (Some(service), Some(kind), Some(letter)) = (cut.next(), cut.next(), cut.next()) {
                    let remaining = self.left(&Key::new(service, kind, letter)?).await?;
                    if !remaining.is_zero() {
                        return Ok(Fetched::Busy { remaining, current: None });
                    }
                }
            }
            _ => {}
        }
        Ok(match (self.bug, self.ask(&request, request.want).await?) {
            (Bug::BusyForTheWrongLease, Fetched::Busy { current, .. }) if !is_kept => {
                Fetched::Busy { remaining: request.lease.as_duration(), current }
            }
            (Bug::BusyHidesTheValue, Fetched::Busy { remaining, .. }) => {
                Fetched::Busy { remaining, current: None }
            }
            (Bug::AnywayForgetsTheValue, Fetched::Leased { .. }) => Fetched::Leased { current: None },
            (_, answer) => answer,
        })
    }

    async fn fill_one(&self, fill: &Fill) -> Result<Vec<FillOutcome>> {
        let mut fill = fill.clone();
        let holder = self.load(&fill.key);
        match self.bug {
            Bug::FillIsNotCompared => fill.token = holder.map_or(fill.token, |(holder, _)| holder),
            Bug::FillLivesForEver => fill.ttl = Ttl::MAX,
            _ => {}
        }
        let outcomes = self.right.fill(std::slice::from_ref(&fill)).await?;
        if outcomes == [FillOutcome::Filled] {
            self.written(&fill.key, self.bug == Bug::FillKeepsTheLease).await?;
        } else if self.bug == Bug::FillAfterTheEnd && holder.is_some_and(|(holder, _)| holder == fill.token) {
            let _set = self.right.set(&fill.key, fill.value, &SetOptions::new(fill.ttl)).await?;
            return Ok(vec![FillOutcome::Filled]);
        }
        Ok(outcomes)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl CacheStore for Wrong {
    fn capabilities(&self) -> CacheCapabilities {
        self.right.capabilities()
    }

    fn now(&self) -> Timestamp {
        self.right.now()
    }

    async fn get(&self, key: &Key) -> Result<Option<Bytes>> {
        self.right.get(key).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        self.right.get_many(keys).await
    }

    async fn get_many_with_ttl(&self, keys: &[Key]) -> Result<Vec<Option<(Bytes, Ttl)>>> {
        self.right.get_many_with_ttl(keys).await
    }

    async fn set(&self, key: &Key, value: Bytes, options: &SetOptions) -> Result<SetOutcome> {
        let outcome = self.right.set(key, value, options).await?;
        match outcome {
            SetOutcome::Stored => self.written(key, self.bug == Bug::SetKeepsTheLease).await?,
            SetOutcome::Newer => self.written(key, self.bug == Bug::NewerKeepsTheLease).await?,
            SetOutcome::NotStored if self.bug == Bug::NotStoredVoidsTheLease => {
                let holder = self.load(key).map(|(holder, _)| (key.clone(), holder));
                self.right.abandon(holder.as_slice()).await?;
            }
            SetOutcome::NotStored => {}
        }
        Ok(outcome)
    }

    async fn set_many(&self, entries: &[SetEntry]) -> Result<Vec<SetOutcome>> {
        let outcomes = self.right.set_many(entries).await?;
        for (entry, outcome) in entries.iter().zip(&outcomes) {
            if *outcome != SetOutcome::NotStored {
                self.written(&entry.key, self.bug == Bug::SetManyKeepsTheLease).await?;
            }
        }
        Ok(outcomes)
    }

    async fn remove_many(&self, keys: &[Key]) -> Result<u64> {
        let there = self.right.get_many(keys).await?;
        let mut leases = 0;
        for key in keys.iter().filter(|_| self.bug == Bug::RemovalCountsTheLease) {
            leases += u64::from(!self.left(key).await?.is_zero());
        }
        let removed = self.right.remove_many(keys).await?;
        for (key, there) in keys.iter().zip(there) {
            let keeps = match self.bug {
                Bug::RemovingNothingKeepsTheLease => there.is_none(),
                Bug::RemovalKeepsTheLease => there.is_some(),
                _ => false,
            };
            self.written(key, keeps).await?;
        }
        Ok(removed + leases)
    }

    async fn add(&self, key: &Key, delta: i64, ttl: Ttl) -> Result<i64> {
        let sum = self.right.add(key, delta, ttl).await?;
        self.written(key, self.bug == Bug::AddKeepsTheLease).await?;
        Ok(sum)
    }

    async fn touch(&self, key: &Key, ttl: Ttl) -> Result<bool> {
        self.right.touch(key, ttl).await
    }

    async fn ttl(&self, key: &Key) -> Result<Option<Ttl>> {
        self.right.ttl(key).await
    }

    async fn fetch(&self, requests: &[LeaseRequest]) -> Result<Vec<Fetched>> {
        self.capabilities().check_batch(requests.len())?;
        let mut answers = Vec::new();
        for request in requests {
            let answer = self.fetch_one(request).await?;
            if matches!(answer, Fetched::Leased { .. }) {
                locked(&self.loads).insert(request.key.clone(), (request.token, request.lease));
            }
            answers.push(answer);
        }
        if self.bug == Bug::HitsComeFirst {
            answers.sort_by_key(|answer| !matches!(answer, Fetched::Hit(_)));
        }
        Ok(answers)
    }

    async fn fill(&self, fills: &[Fill]) -> Result<Vec<FillOutcome>> {
        self.capabilities().check_batch(fills.len())?;
        if self.bug != Bug::FillIsCheckedOneByOne {
            fills.iter().try_for_each(|fill| self.capabilities().check_value(fill.value.len()))?;
        }
        let mut outcomes = Vec::new();
        for fill in fills {
            outcomes.extend(self.fill_one(fill).await?);
        }
        if self.bug == Bug::FilledComeFirst {
            outcomes.sort_by_key(|outcome| *outcome != FillOutcome::Filled);
        }
        Ok(outcomes)
    }

    async fn abandon(&self, leases: &[(Key, LeaseToken)]) -> Result<()> {
        for (key, token) in leases {
            let holder = self.load(key).map(|(holder, _)| holder);
            let token = match self.bug {
                Bug::AbandonDoesNothing => continue,
                Bug::AbandonDoesNotCompare => holder.unwrap_or(*token),
                _ => *token,
            };
            self.right.abandon(&[(key.clone(), token)]).await?;
            if holder == Some(token) {
                self.forget(key);
            }
        }
        Ok(())
    }

    async fn generations(&self, tags: &[Tag]) -> Result<Vec<(Generation, Duration)>> {
        self.right.generations(tags).await
    }

    async fn bump(&self, tags: &[Tag]) -> Result<Vec<Generation>> {
        self.right.bump(tags).await
    }

    fn watch(&self, namespace: &Namespace, watcher: Arc<dyn Watcher>) -> Result<Watch> {
        self.right.watch(namespace, watcher)
    }
}
