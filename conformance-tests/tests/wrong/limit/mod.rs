//! Wrong rate limiters.

pub(crate) mod more;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use stanchion::Result;
use stanchion::key::Key;
use stanchion::limit::{
    AttemptOutcome, AttemptRequest, Decision, Grant, LeaseOutcome, LeaseRequest, LimitCapabilities, LockedBy,
    RateLimiter, Settlement, Tier, TierStatus,
};
use stanchion::time::{Timestamp, Ttl};
use tokio::task::yield_now;

use crate::backend::{self, Around, locked};
use crate::proof::{Proof, must_fail};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Each process counts for itself.
    CountedInTheProcess,
    /// The standing is looked at, and then the permits are taken.
    PeekThenTake,
    /// The request is written down before it is judged.
    CountedBeforeItIsJudged,
    /// One tier after the other.
    TierByTier,
    /// The wait is that of the first tier that has too few.
    WaitOfTheFirstTier,
    /// Waits are told in whole milliseconds, rounded down.
    WaitIsRoundedDown,
    /// What can never be had is denied like anything else.
    OverTheBurstIsDenied,
    /// Peeking is done by asking for one.
    PeekTakesOne,
    /// Every request costs something.
    ZeroCostsOne,
    /// A refund deletes the key.
    RefundForgetsAll,
    /// The store's collation does not tell upper from lower case.
    SubjectsAreFolded,
    /// The tiers are made a set first.
    TiersAreDeduplicated,
    /// The time for one permit is rounded up to a microsecond.
    EmissionIsRoundedUp,
    /// The time for one permit is rounded down to a microsecond.
    EmissionIsRoundedDown,
    /// A counter for each window of the clock: all permits are back when the next one begins.
    FixedWindow,
    /// Tier by tier, and what was taken is given back where one denies.
    TakenThenGivenBack,
    /// What comes back is added up, with no regard to the burst.
    CreditHasNoBound,
    /// Nothing is given until the wall clock is again where it was.
    WaitsForTheClock,
    /// A lease ends when the wall clock shows the time that it was to end at.
    LeasesWaitForTheClock,
    /// So does a lock-out.
    LockOutsWaitForTheClock,
}

const fn proof(rule: &'static str, bug: Bug, case: &'static str, message: &'static str) -> Proof {
    must_fail(rule, backend::Bug::Limit(bug), case, message)
}

pub(crate) const PROOFS: &[Proof] = &[
    proof(
        "LIMIT-01",
        Bug::CountedInTheProcess,
        "burst::is_given_at_once_and_no_more",
        "from another handle: Some([0])\nobserved: Some([1])",
    )
    .also(&[
        "LIMIT-18", "LIMIT-20", "LIMIT-21", "LIMIT-22", "LIMIT-23", "LIMIT-24", "LIMIT-25", "LIMIT-26",
        "LIMIT-27", "LIMIT-28", "LIMIT-29",
    ]),
    proof(
        "LIMIT-01",
        Bug::PeekThenTake,
        "burst::race_gives_no_permit_twice",
        "allowed of 30 at once: 7\nobserved: 30",
    ),
    proof("LIMIT-02", Bug::CountedBeforeItIsJudged, "deny::is_not_charged", "does not grow by denials"),
    proof(
        "LIMIT-03",
        Bug::TierByTier,
        "tiers::all_or_none",
        "permits left after a denial: [9, 0]\nobserved: [8, 0]",
    )
    .also(&["LIMIT-14"]),
    proof(
        "LIMIT-04",
        Bug::WaitOfTheFirstTier,
        "deny::longest_wait_is_told",
        "the tier exhausted for longest: 1\nobserved: 0",
    ),
    proof(
        "LIMIT-04",
        Bug::WaitIsRoundedDown,
        "deny::allowed_after_retry_after",
        "allowed after retry_after\nobserved: Denied",
    ),
    proof(
        "LIMIT-05",
        Bug::OverTheBurstIsDenied,
        "cost::over_the_burst",
        "CostExceedsCapacity { tier: 1 }\nobserved: Denied",
    )
    .also(&["LIMIT-21"]),
    proof("LIMIT-06", Bug::PeekTakesOne, "peek::takes_nothing", "after one was taken: 2\nobserved: 1")
        .also(&["LIMIT-19"]),
    proof(
        "LIMIT-07",
        Bug::ZeroCostsOne,
        "cost::zero",
        "zero of a fresh tier: Some([1])\nobserved: Some([0])",
    ),
    proof(
        "LIMIT-08",
        Bug::RefundForgetsAll,
        "refund::at_most_the_burst",
        "three of four given back: [4]\nobserved: [5]",
    )
    .also(&["LIMIT-19", "LIMIT-22"]),
    proof("LIMIT-09", Bug::SubjectsAreFolded, "isolation::subjects_and_tiers", "A: [1]\nobserved: [0]"),
    proof(
        "LIMIT-10",
        Bug::TiersAreDeduplicated,
        "input::bad_tiers_are_refused",
        "checking bad tiers: refused as invalid input",
    ),
    proof(
        "LIMIT-11",
        Bug::EmissionIsRoundedUp,
        "burst::fractions_are_kept",
        "3600.000001s\nobserved: 3600.000003s",
    ),
    proof(
        "LIMIT-11",
        Bug::EmissionIsRoundedDown,
        "burst::fractions_are_kept",
        "3600.000001s\nobserved: 3600s",
    ),
    proof(
        "LIMIT-12",
        Bug::FixedWindow,
        "burst::comes_back_evenly",
        "no more than the burst and what came back",
    ),
    must_fail(
        "LIMIT-13",
        backend::Bug::PrefixForgotten,
        "isolation::places",
        "the subject elsewhere: [1]\nobserved: [0]",
    ),
    proof(
        "LIMIT-16",
        Bug::CreditHasNoBound,
        "wall_clock::forth_gives_a_burst_at_most",
        "at most a burst after a step forth\nobserved: 12",
    ),
    proof(
        "LIMIT-17",
        Bug::WaitsForTheClock,
        "wall_clock::back_denies_for_a_burst_at_most",
        "once the time for one has passed: 1\nobserved: 0",
    ),
    proof(
        "LIMIT-30",
        Bug::LeasesWaitForTheClock,
        "wall_clock::back_holds_places_for_a_lease_at_most",
        "full for a lease at most after a step back",
    ),
    proof(
        "LIMIT-30",
        Bug::LockOutsWaitForTheClock,
        "wall_clock::back_locks_out_for_the_longest_at_most",
        "locked out for the longest at most after a step back",
    ),
    proof("LIMIT-14", Bug::TakenThenGivenBack, "cancel::all_tiers_or_none", "from both tiers or from none"),
];

#[derive(Debug)]
pub(crate) struct Wrong {
    bug: Bug,
    right: Arc<dyn RateLimiter>,
    around: Around,
    /// Permits that were denied, and charged.
    denied: Mutex<HashMap<Key, u32>>,
    /// The window in which each key was last used.
    windows: Mutex<HashMap<Key, u128>>,
    /// When each key was first used by the wall clock, and how many permits it was given since.
    credits: Mutex<HashMap<Key, (Timestamp, u32)>>,
    /// The latest that the wall clock has shown.
    latest: Mutex<Timestamp>,
}

impl Wrong {
    pub(crate) fn new(bug: Bug, mut right: Arc<dyn RateLimiter>, around: &Around) -> Result<Self> {
        if bug == Bug::CountedInTheProcess {
            right = around.private().rate_limiter()?;
        }
        let around = around.clone();
        Ok(Self {
            bug,
            right,
            around,
            denied: Mutex::default(),
            windows: Mutex::default(),
            credits: Mutex::default(),
            latest: Mutex::default(),
        })
    }

    fn key(&self, key: &Key) -> Result<Key> {
        if self.bug != Bug::SubjectsAreFolded {
            return Ok(key.clone());
        }
        let mut parts = key.as_str().splitn(3, ':');
        let mut part = || parts.next().unwrap_or_default();
        Key::new(part(), part(), part().to_lowercase())
    }

    fn tiers(&self, tiers: &[Tier]) -> Result<Vec<Tier>> {
        let emission = |tier: &Tier, up: u64| {
            let Some((numerator, denominator)) = tier.emission() else { return Ok(*tier) };
            let micros = (numerator + up * (denominator - 1)) / denominator;
            let period = Duration::from_micros(micros * u64::from(tier.limit()));
            Tier::with_burst(tier.limit(), period, tier.burst())
        };
        match self.bug {
            Bug::TiersAreDeduplicated => {
                let mut seen = HashSet::new();
                Ok(tiers.iter().copied().filter(|tier| seen.insert(*tier)).collect())
            }
            Bug::EmissionIsRoundedUp => tiers.iter().map(|tier| emission(tier, 1)).collect(),
            Bug::EmissionIsRoundedDown => tiers.iter().map(|tier| emission(tier, 0)).collect(),
            _ => Ok(tiers.to_vec()),
        }
    }

    /// Whether a tier that denies would allow it, if it had no bound to what comes back.
    fn has_credit(&self, key: &Key, tier: &Tier, cost: u32, allowed: bool) -> bool {
        let now = self.around.right.environment().clock.wall();
        let mut credits = locked(&self.credits);
        let (since, taken) = credits.entry(key.clone()).or_insert((now, 0));
        let passed = now.saturating_since(*since).as_micros();
        let back = passed * u128::from(tier.limit()) / tier.period().as_micros();
        let most = u128::from(tier.burst()) + back;
        let enough = back > u128::from(tier.burst()) && u128::from(*taken + cost) <= most;
        *taken += if allowed || enough { cost } else { 0 };
        enough
    }

    /// How far the wall clock is behind the latest that it has shown.
    fn behind(&self) -> Duration {
        let now = self.around.right.environment().clock.wall();
        let mut latest = locked(&self.latest);
        *latest = now.max(*latest);
        latest.saturating_since(now)
    }

    /// Whether another window has begun since the key was last used.
    fn is_next_window(&self, key: &Key, tier: &Tier) -> bool {
        let now = self.around.right.environment().clock.now().since_origin();
        let window = now.as_micros() / tier.period().as_micros();
        locked(&self.windows).insert(key.clone(), window).is_some_and(|last| last < window)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl RateLimiter for Wrong {
    fn capabilities(&self) -> LimitCapabilities {
        self.right.capabilities()
    }

    async fn check(&self, key: &Key, tiers: &[Tier], mut cost: u32) -> Result<Decision> {
        let (key, tiers) = (&self.key(key)?, &self.tiers(tiers)?[..]);
        // Bad tiers and impossible costs are told first, in every way of counting.
        let possible =
            self.capabilities().check_tiers(tiers).is_ok() && tiers.iter().all(|tier| cost <= tier.burst());
        match self.bug {
            Bug::PeekThenTake if possible => {
                let enough = self.right.peek(key, tiers).await?.iter().all(|tier| tier.remaining >= cost);
                yield_now().await;
                return match self.right.check(key, tiers, cost).await? {
                    Decision::Denied { tiers, .. } if enough => Ok(Decision::allowed(tiers)),
                    decision => Ok(decision),
                };
            }
            Bug::TierByTier if possible => {
                for tier in tiers {
                    if !self.right.check(key, std::slice::from_ref(tier), cost).await?.is_allowed() {
                        return self.right.check(key, tiers, cost).await;
                    }
                    yield_now().await;
                }
                return Ok(Decision::allowed(self.right.peek(key, tiers).await?));
            }
            Bug::TakenThenGivenBack if possible => {
                for (taken, tier) in tiers.iter().enumerate() {
                    if !self.right.check(key, std::slice::from_ref(tier), cost).await?.is_allowed() {
                        if taken > 0 {
                            self.right.refund(key, &tiers[..taken], cost).await?;
                        }
                        return self.right.check(key, tiers, cost).await;
                    }
                    yield_now().await;
                }
                return Ok(Decision::allowed(self.right.peek(key, tiers).await?));
            }
            Bug::WaitsForTheClock if possible => {
                let behind = self.behind();
                if !behind.is_zero() {
                    let tiers = self.right.peek(key, tiers).await?;
                    return Ok(Decision::denied(behind, 0, tiers));
                }
            }
            Bug::ZeroCostsOne => cost = cost.max(1),
            Bug::FixedWindow => {
                if let [tier] = tiers
                    && self.is_next_window(key, tier)
                {
                    self.right.refund(key, tiers, tier.burst()).await?;
                }
            }
            _ => {}
        }
        let decision = self.right.check(key, tiers, cost).await?;
        Ok(match (self.bug, decision) {
            (Bug::CountedBeforeItIsJudged, decision @ Decision::Denied { .. }) => {
                *locked(&self.denied).entry(key.clone()).or_default() += cost;
                decision
            }
            (Bug::WaitOfTheFirstTier, Decision::Denied { tiers, .. }) => {
                let tier = tiers.iter().position(|tier| tier.remaining < cost).unwrap_or_default();
                Decision::denied(tiers[tier].next_in, tier, tiers)
            }
            (Bug::WaitIsRoundedDown, Decision::Denied { retry_after, tier, tiers, .. }) => {
                let millis = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
                Decision::denied(Duration::from_millis(millis), tier, tiers)
            }
            (Bug::OverTheBurstIsDenied, Decision::CostExceedsCapacity { tier }) => {
                Decision::denied(Duration::MAX, tier, self.right.peek(key, tiers).await?)
            }
            (Bug::CreditHasNoBound, decision) => match tiers {
                [tier] if self.has_credit(key, tier, cost, decision.is_allowed()) => {
                    Decision::allowed(self.right.peek(key, tiers).await?)
                }
                _ => decision,
            },
            (_, decision) => decision,
        })
    }

    async fn peek(&self, key: &Key, tiers: &[Tier]) -> Result<Vec<TierStatus>> {
        let (key, tiers) = (&self.key(key)?, &self.tiers(tiers)?[..]);
        let mut standings = self.right.peek(key, tiers).await?;
        match self.bug {
            Bug::CountedBeforeItIsJudged => {
                let denied = locked(&self.denied).get(key).copied().unwrap_or_default();
                for (standing, tier) in standings.iter_mut().zip(tiers) {
                    standing.full_in += tier.period() / tier.limit() * denied;
                }
            }
            Bug::PeekTakesOne => drop(self.right.check(key, tiers, 1).await?),
            _ => {}
        }
        Ok(standings)
    }

    async fn refund(&self, key: &Key, tiers: &[Tier], cost: u32) -> Result<()> {
        let (key, tiers) = (&self.key(key)?, &self.tiers(tiers)?[..]);
        let cost = if self.bug == Bug::RefundForgetsAll { u32::MAX } else { cost };
        self.right.refund(key, tiers, cost).await
    }

    async fn take_up_to(&self, key: &Key, tiers: &[Tier], most: u32) -> Result<Grant> {
        self.right.take_up_to(&self.key(key)?, &self.tiers(tiers)?, most).await
    }

    async fn add(&self, key: &Key, permits: u32, life: Ttl) -> Result<u32> {
        self.right.add(&self.key(key)?, permits, life).await
    }

    async fn reset(&self, key: &Key) -> Result<()> {
        self.right.reset(&self.key(key)?).await
    }

    async fn lease(&self, key: &Key, request: &LeaseRequest) -> Result<LeaseOutcome> {
        let behind = self.behind();
        if self.bug == Bug::LeasesWaitForTheClock && !behind.is_zero() {
            return Ok(LeaseOutcome::Full { retry_after: behind });
        }
        self.right.lease(key, request).await
    }

    async fn give_back(&self, key: &Key, holder: &str) -> Result<bool> {
        self.right.give_back(key, holder).await
    }

    async fn attempt(&self, key: &Key, request: &AttemptRequest) -> Result<AttemptOutcome> {
        let behind = self.behind();
        if self.bug == Bug::LockOutsWaitForTheClock && !behind.is_zero() {
            return Ok(AttemptOutcome::Locked { retry_after: behind, by: LockedBy::Source });
        }
        self.right.attempt(key, request).await
    }

    async fn settle(&self, key: &Key, settlement: &Settlement) -> Result<()> {
        self.right.settle(key, settlement).await
    }
}
