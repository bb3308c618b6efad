//! Caches that are wrong about leases.

mod proofs;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use stanchion::cache::AllParts as _;
use stanchion::cache::{
    CacheCapabilities, CacheCounters, CacheFeed, CacheLeases, CacheStore, CacheTags, Fetched, Fill,
    FillOutcome, Generation, LeaseRequest, LeaseToken, Release, SetEntry, SetOptions, SetOutcome, Shard, Tag,
    Want, Watch, Watcher,
};
use stanchion::key::{Key, Namespace};
use stanchion::time::{Timestamp, Ttl};
use stanchion::{Error, ErrorKind, Result};
use tokio::task::yield_now;

pub(crate) use self::proofs::{Bug, PROOFS};
use crate::backend::{Around, locked};

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
        let mut request = request.clone();
        request.want = want;
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
        if self.bug == Bug::FailureIsFinal {
            request.despite_failure = false;
        }
        let is_kept = *want == Want::Keep;
        let has_it = self.load(key).is_some_and(|(holder, _)| holder == *token);
        match self.bug {
            Bug::LookThenTake if !is_kept => {
                let is_hit = *want == Want::IfAbsent && self.right.get(key).await?.is_some();
                if !is_hit && (has_it || self.left(key).await?.is_zero()) {
                    yield_now().await;
                    let taken = self.load(key).map(|(holder, _)| Release::new(key.clone(), holder));
                    self.right.release(taken.as_slice()).await?;
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
            // The mark is taken for a token.
            (Bug::FailureIsBusy, Fetched::Failed { remaining, current }) => {
                Fetched::Busy { remaining, current }
            }
            (Bug::FailureHasNoTime, Fetched::Failed { current, .. }) => {
                Fetched::Failed { remaining: Duration::ZERO, current }
            }
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

    fn leases(&self) -> Option<&dyn CacheLeases> {
        self.right.leases().map(|_| self as &dyn CacheLeases)
    }

    fn tags(&self) -> Option<&dyn CacheTags> {
        self.right.tags().map(|_| self as &dyn CacheTags)
    }

    fn feed(&self) -> Option<&dyn CacheFeed> {
        self.right.feed().map(|_| self as &dyn CacheFeed)
    }

    fn counters(&self) -> Option<&dyn CacheCounters> {
        self.right.counters().map(|_| self as &dyn CacheCounters)
    }

    fn now(&self) -> Timestamp {
        self.right.now()
    }

    fn shard_of(&self, key: &Key) -> Shard {
        self.right.shard_of(key)
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
                let holder = self.load(key).map(|(holder, _)| Release::new(key.clone(), holder));
                self.right.release(holder.as_slice()).await?;
            }
            _ => {}
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

    async fn touch(&self, key: &Key, ttl: Ttl) -> Result<bool> {
        self.right.touch(key, ttl).await
    }

    async fn ttl(&self, key: &Key) -> Result<Option<Ttl>> {
        self.right.ttl(key).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl CacheLeases for Wrong {
    async fn fetch(&self, requests: &[LeaseRequest]) -> Result<Vec<Fetched>> {
        self.capabilities().check_batch(requests.len())?;
        let mut answers = Vec::new();
        for request in requests {
            let mut answer = self.fetch_one(request).await?;
            if self.bug == Bug::KeepAnswersTheValue
                && request.want == Want::Keep
                && answer == (Fetched::Busy { remaining: Duration::ZERO, current: None })
            {
                answer = self.right.get(&request.key).await?.map_or(answer, Fetched::Hit);
            }
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

    async fn release(&self, leases: &[Release]) -> Result<()> {
        for release in leases {
            let mut release = release.clone();
            let holder = self.load(&release.key).map(|(holder, _)| holder);
            match self.bug {
                Bug::AbandonDoesNothing => continue,
                Bug::AbandonDoesNotCompare => release.token = holder.unwrap_or(release.token),
                Bug::FailureIsForgotten => release.failed = None,
                _ => {}
            }
            self.right.release(std::slice::from_ref(&release)).await?;
            if holder == Some(release.token) {
                self.forget(&release.key);
            }
        }
        Ok(())
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl CacheTags for Wrong {
    async fn generations(&self, tags: &[Tag]) -> Result<Vec<(Generation, Duration)>> {
        self.right.generations(tags).await
    }

    async fn bump(&self, tags: &[Tag]) -> Result<Vec<Generation>> {
        self.right.bump(tags).await
    }
}

#[deny(clippy::missing_trait_methods)]
impl CacheFeed for Wrong {
    fn watch(&self, namespace: &Namespace, watcher: Arc<dyn Watcher>) -> Result<Watch> {
        self.right.watch(namespace, watcher)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl CacheCounters for Wrong {
    async fn add(&self, key: &Key, delta: i64, ttl: Ttl) -> Result<i64> {
        let sum = self.right.add(key, delta, ttl).await?;
        self.written(key, self.bug == Bug::AddKeepsTheLease).await?;
        Ok(sum)
    }
}
