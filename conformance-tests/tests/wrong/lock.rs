//! Wrong locks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use stanchion::key::Key;
use stanchion::lock::{
    AcquireOutcome, Fence, Lease, LockCapabilities, LockRequest, LockToken, Locker, ReleaseOutcome,
    RenewOutcome,
};
use stanchion::time::{Monotonic, Ttl};
use stanchion::{Error, ErrorKind, Result};
use tokio::task::yield_now;

use crate::backend::{self, Around, locked};
use crate::proof::{Proof, must_fail};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Who finds the lock held is told how long its own lease would have been.
    BusyForTheWrongLease,
    /// `GET`, and then `SET`.
    LookThenTake,
    /// Who found the lock held does not ask again before the lease is over.
    BusyIsRemembered,
    /// `DEL`, whoever holds it.
    ReleaseDoesNotCompare,
    /// Fences are made of the clock of the process; the second one's is a second behind.
    FenceOfTheProcessClock,
    /// A token gets the fence that it had.
    FenceBelongsToTheToken,
    /// The process remembers that it holds the lock, and then `DEL`.
    ReleaseComparesInTheProcess,
    /// The renewal is for as long as the first lease was.
    RenewsForTheFirstLease,
    /// `SET` where there should be `SET XX`.
    RenewTakesAFreeLock,
    /// `PEXPIRE`, whoever holds it.
    RenewDoesNotCompare,
    /// `SET NX`: the holder itself finds the lock held.
    HolderIsBusyToItself,
    /// The counter is told, which is one ahead.
    InspectTellsTheNextFence,
    /// The store's collation does not tell upper from lower case.
    NamesAreFolded,
    /// A pipeline without commands is an error of the client.
    NoLeasesAreSent,
    /// Fences are counted from 1.
    FenceIsACounter,
    /// `SETNX`, and then `PEXPIRE`.
    TakeThenExpire,
    /// A fence that is ahead of the clock is taken for spoilt.
    FenceAheadIsSpoilt,
}

const fn proof(rule: &'static str, bug: Bug, case: &'static str, message: &'static str) -> Proof {
    must_fail(rule, backend::Bug::Lock(bug), case, message)
}

pub(crate) const PROOFS: &[Proof] = &[
    proof("LOCK-01", Bug::BusyForTheWrongLease, "acquire::one_holder", "busy for what is left of the lease"),
    proof(
        "LOCK-01",
        Bug::LookThenTake,
        "acquire::race_has_one_winner",
        "winners of 30 at once: 1\nobserved: 30",
    ),
    proof("LOCK-02", Bug::BusyIsRemembered, "release::frees", "the lock is free\nobserved: \"busy\""),
    proof(
        "LOCK-03",
        Bug::ReleaseDoesNotCompare,
        "release::only_the_holder",
        "a release by another token: WasLost\nobserved: Released",
    ),
    proof("LOCK-04", Bug::FenceOfTheProcessClock, "fence::only_grows", "each fence is greater"),
    proof("LOCK-04", Bug::FenceBelongsToTheToken, "fence::grows_for_the_same_token", "a greater fence"),
    proof(
        "LOCK-05",
        Bug::ReleaseComparesInTheProcess,
        "lease::runs_out",
        "the late release of the old holder: WasLost\nobserved: Released",
    ),
    proof(
        "LOCK-06",
        Bug::RenewsForTheFirstLease,
        "renew::whole_lease",
        "the lock after the first lease: None\nobserved: Some",
    )
    .also(&["LOCK-08"]),
    proof(
        "LOCK-07",
        Bug::RenewTakesAFreeLock,
        "renew::never_revives",
        "renewing an expired lease on a free lock: [Lost]\nobserved: [Held]",
    ),
    proof(
        "LOCK-08",
        Bug::RenewDoesNotCompare,
        "renew::only_the_holder",
        "in their order: [Lost, Held]\nobserved: [Held, Held]",
    ),
    proof(
        "LOCK-09",
        Bug::HolderIsBusyToItself,
        "acquire::same_token_again",
        "the lock is free\nobserved: \"busy\"",
    ),
    proof("LOCK-10", Bug::InspectTellsTheNextFence, "inspect::fence_and_time", "the holder's fence")
        .also(&["LOCK-18"]),
    proof("LOCK-11", Bug::NamesAreFolded, "isolation::names", "the lock is free\nobserved: \"busy\""),
    must_fail(
        "LOCK-12",
        backend::Bug::PrefixForgotten,
        "isolation::places",
        "the lock is free\nobserved: \"busy\"",
    ),
    proof("LOCK-13", Bug::NoLeasesAreSent, "renew::nothing", "a pipeline without commands"),
    proof("LOCK-14", Bug::FenceIsACounter, "fence::is_a_time", "not less than the time in microseconds"),
    proof("LOCK-15", Bug::TakeThenExpire, "cancel::free_or_leased", "the lease that was asked for"),
    proof(
        "LOCK-18",
        Bug::FenceAheadIsSpoilt,
        "wall_clock::fences_only_grow",
        "the fence of a lock that is held, Back",
    ),
    must_fail(
        "LOCK-16",
        backend::Bug::LeaseEndsWithTheProcess,
        "process::killed_holder",
        "the lock is free\nobserved: \"busy\"",
    ),
];

/// What one process remembers of locks.
type Leases = Mutex<HashMap<Key, Lease>>;

#[derive(Debug)]
pub(crate) struct Wrong {
    bug: Bug,
    right: Arc<dyn Locker>,
    around: Around,
    /// The leases that this handle took, whatever became of them.
    mine: Leases,
    busy_until: Mutex<HashMap<Key, Monotonic>>,
    fences: Mutex<HashMap<LockToken, Fence>>,
}

impl Wrong {
    pub(crate) fn new(bug: Bug, right: Arc<dyn Locker>, around: &Around) -> Self {
        Self {
            bug,
            right,
            around: around.clone(),
            mine: Mutex::default(),
            busy_until: Mutex::default(),
            fences: Mutex::default(),
        }
    }

    fn key(&self, key: &Key) -> Result<Key> {
        if self.bug != Bug::NamesAreFolded {
            return Ok(key.clone());
        }
        let mut parts = key.as_str().splitn(3, ':');
        let mut part = || parts.next().unwrap_or_default();
        Key::new(part(), part(), part().to_lowercase())
    }

    fn now(&self) -> Monotonic {
        self.around.right.environment().clock.now()
    }

    /// The fence as this backend tells it.
    fn fence(&self, token: &LockToken, fence: Fence) -> Fence {
        match self.bug {
            Bug::FenceOfTheProcessClock if self.around.number == 1 => Fence::new(fence.get() - 1_000_000),
            Bug::FenceBelongsToTheToken => *locked(&self.fences).entry(token.clone()).or_insert(fence),
            _ => self.counted(fence),
        }
    }

    fn counted(&self, fence: Fence) -> Fence {
        // A microsecond before the manual clock's first day.
        let origin = if self.bug == Bug::FenceIsACounter { 1_749_999_999_999_999 } else { 0 };
        if self.bug == Bug::FenceAheadIsSpoilt {
            let now = self.around.right.environment().clock.wall();
            return Fence::new(backend::spoilt_if_ahead(fence.get(), now));
        }
        Fence::new(fence.get() - origin)
    }

    /// The lease on a key that is now held, whoever holds it.
    fn anybodys(&self, key: &Key) -> Option<Lease> {
        locked(&self.around.leases).get(key).cloned()
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Locker for Wrong {
    fn capabilities(&self) -> LockCapabilities {
        self.right.capabilities()
    }

    async fn acquire(&self, request: &LockRequest) -> Result<AcquireOutcome> {
        let mut request = request.clone();
        request.key = self.key(&request.key)?;
        let found = match self.bug {
            Bug::LookThenTake | Bug::HolderIsBusyToItself => self.right.inspect(&request.key).await?,
            _ => None,
        };
        match self.bug {
            Bug::LookThenTake => yield_now().await,
            Bug::HolderIsBusyToItself => {
                if let Some((_, remaining)) = found {
                    return Ok(AcquireOutcome::Busy { remaining });
                }
            }
            Bug::BusyIsRemembered => {
                let until = locked(&self.busy_until).get(&request.key).copied().unwrap_or_default();
                let remaining = until.saturating_since(self.now());
                if !remaining.is_zero() {
                    return Ok(AcquireOutcome::Busy { remaining });
                }
            }
            Bug::TakeThenExpire => {
                let mut first = request.clone();
                first.lease = Ttl::MAX;
                if let busy @ AcquireOutcome::Busy { .. } = self.right.acquire(&first).await? {
                    return Ok(busy);
                }
                yield_now().await;
            }
            _ => {}
        }
        Ok(match self.right.acquire(&request).await? {
            AcquireOutcome::Acquired(mut lease) => {
                locked(&self.mine).insert(lease.key.clone(), lease.clone());
                locked(&self.around.leases).insert(lease.key.clone(), lease.clone());
                lease.fence = self.fence(&lease.token, lease.fence);
                AcquireOutcome::Acquired(lease)
            }
            AcquireOutcome::Busy { .. } if self.bug == Bug::LookThenTake && found.is_none() => {
                let LockRequest { key, token, lease, .. } = request;
                AcquireOutcome::Acquired(Lease::new(key, token, Fence::new(u64::MAX), lease))
            }
            AcquireOutcome::Busy { remaining } => {
                let until = self.now().saturating_add(remaining);
                locked(&self.busy_until).insert(request.key.clone(), until);
                let wrong = self.bug == Bug::BusyForTheWrongLease;
                AcquireOutcome::Busy {
                    remaining: if wrong { request.lease.as_duration() } else { remaining },
                }
            }
            other => other,
        })
    }

    async fn renew(&self, leases: &[Lease]) -> Result<Vec<RenewOutcome>> {
        if self.bug == Bug::NoLeasesAreSent && leases.is_empty() {
            return Err(Error::new(ErrorKind::Internal, "a pipeline without commands"));
        }
        let mut leases = leases.to_vec();
        for lease in &mut leases {
            lease.key = self.key(&lease.key)?;
            let mine = locked(&self.mine).get(&lease.key).cloned();
            match (self.bug, mine) {
                (Bug::RenewsForTheFirstLease, Some(mine)) => lease.lease = mine.lease,
                (Bug::RenewDoesNotCompare, Some(mine)) => lease.token = mine.token,
                _ => {}
            }
        }
        let mut outcomes = self.right.renew(&leases).await?;
        if self.bug == Bug::RenewTakesAFreeLock {
            for (lease, outcome) in leases.iter().zip(&mut outcomes) {
                let request = LockRequest::new(lease.key.clone(), lease.token.clone(), lease.lease);
                if let AcquireOutcome::Acquired(_) = self.right.acquire(&request).await? {
                    *outcome = RenewOutcome::Held;
                }
            }
        }
        Ok(outcomes)
    }

    async fn release(&self, lease: &Lease) -> Result<ReleaseOutcome> {
        let mut lease = lease.clone();
        lease.key = self.key(&lease.key)?;
        match self.bug {
            Bug::ReleaseDoesNotCompare => {
                let mine = locked(&self.mine).get(&lease.key).cloned();
                self.right.release(&mine.unwrap_or(lease)).await
            }
            Bug::ReleaseComparesInTheProcess => {
                let mine = locked(&self.mine).remove(&lease.key);
                match mine {
                    Some(mine) if mine.token == lease.token => {
                        self.right.release(&self.anybodys(&lease.key).unwrap_or(lease)).await
                    }
                    other => {
                        locked(&self.mine).extend(other.map(|other| (other.key.clone(), other)));
                        Ok(ReleaseOutcome::WasLost)
                    }
                }
            }
            _ => self.right.release(&lease).await,
        }
    }

    async fn inspect(&self, key: &Key) -> Result<Option<(Fence, Duration)>> {
        let held = self.right.inspect(&self.key(key)?).await?;
        Ok(held.map(|(fence, left)| match self.bug {
            Bug::InspectTellsTheNextFence => (Fence::new(fence.get() + 1), left),
            _ => (self.counted(fence), left),
        }))
    }
}
