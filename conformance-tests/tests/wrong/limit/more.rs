//! Wrong limiters: as many as there are, changes of limits, added permits, quotas, leases, attempts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use stanchion::Result;
use stanchion::key::Key;
use stanchion::limit::{
    AttemptOutcome, AttemptRequest, Calendar, Decision, Failures, Grant, LeaseOutcome, LeaseRequest,
    LimitCapabilities, Lockout, RateLimiter, Settlement, Tier, TierStatus,
};
use stanchion::time::Ttl;
use tokio::task::yield_now;

use crate::backend::{self, locked};
use crate::proof::{Proof, must_fail};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// As many as there are: all that are asked for, or none.
    UpToIsAllOrNothing,
    /// As many as there are: looked at, and then taken.
    UpToIsPeekThenTake,
    /// Each limit has its own count, of a subject that is known by it too.
    LimitsAreSubjects,
    /// A reset gives back what one limit has.
    ResetIsARefund,
    /// The first limit for which permits were added keeps them for ever.
    AddedForEver,
    /// A window begins at midnight in UTC, wherever.
    QuotasAreInUtc,
    /// One more than said, for the one that asks.
    LeaseForOneMore,
    /// What has ended is renewed.
    RenewalResurrects,
    /// A failure is written down once it is known.
    CountedAfterwards,
    /// Every lock-out is the first.
    LockOutsDoNotGrow,
    /// Whoever succeeds clears everything.
    SuccessClearsAll,
    /// Nobody is known.
    NobodyIsKnown,
    /// Unlocking is for the key's own number.
    UnlockIsForgotten,
    /// Whoever comes while locked out waits for longer.
    RefusalsProlong,
    /// A lesser limit waits until the greater one would be full again.
    WaitsForTheGreater,
    /// Added permits allow, and stay.
    AddedPermitsStay,
    /// More than can be added is as much as can be.
    AddsAnyNumber,
    /// A quota comes back evenly, over 31 days.
    QuotaIsARate,
    /// A quota is taken before the other tiers are looked at.
    QuotaIsTakenFirst,
    /// Whoever asks is another holder each time.
    HoldersAreNotKnown,
    /// The end of a lease is for its holder to keep.
    LeasesLastForEver,
    /// A bad number is the nearest good one.
    AnyNumberInFlight,
    /// An attempt from nowhere counts nowhere.
    OnlySourcesCount,
    /// A withdrawal forgets everything.
    WithdrawalIsAPardon,
    /// All leases of a subject last for as long as the last that was asked for.
    OneLifeForAll,
    /// Of as many sources as are kept and a stranger the oldest makes room, known or not.
    StrangersDisplace,
    /// A bad name of a source is made a good one.
    SourcesNeedNoName,
}

const fn proof(rule: &'static str, bug: Bug, case: &'static str, message: &'static str) -> Proof {
    must_fail(rule, backend::Bug::MoreLimits(bug), case, message)
}

pub(crate) const PROOFS: &[Proof] = &[
    proof(
        "LIMIT-18",
        Bug::UpToIsAllOrNothing,
        "up_to::takes_what_there_is",
        "the last one: (1, [6, 0])\nobserved: (0,",
    )
    .also(&["LIMIT-19", "LIMIT-21", "LIMIT-22"]),
    proof(
        "LIMIT-18",
        Bug::UpToIsPeekThenTake,
        "up_to::race_gives_no_permit_twice",
        "taken by 30 at once: 20\nobserved: 90",
    )
    .also(&["LIMIT-21"]),
    proof(
        "LIMIT-19",
        Bug::LimitsAreSubjects,
        "change::gives_the_greatest_at_most",
        "one after the other: 20\nobserved: 45",
    )
    .also(&["LIMIT-21"]),
    proof(
        "LIMIT-20",
        Bug::ResetIsARefund,
        "reset::forgets_all_of_a_subject",
        "left after a reset: [2, 3, 4]",
    ),
    proof(
        "LIMIT-21",
        Bug::AddedForEver,
        "add::end_when_it_was_said",
        "denied after the end of what was added",
    ),
    proof("LIMIT-22", Bug::QuotasAreInUtc, "quota::windows_are_those_of_the_calendar", "to the next window"),
    proof("LIMIT-23", Bug::LeaseForOneMore, "in_flight::race", "let in of 40 at once: 7\nobserved: 8"),
    proof(
        "LIMIT-23",
        Bug::RenewalResurrects,
        "in_flight::given_back_once",
        "renewing what was given back: Lost",
    ),
    proof("LIMIT-24", Bug::CountedAfterwards, "attempts::race", "admitted of 50 at once: 3\nobserved: 50")
        .also(&["LIMIT-25", "LIMIT-26", "LIMIT-27", "LIMIT-28", "LIMIT-29"]),
    proof("LIMIT-25", Bug::LockOutsDoNotGrow, "attempts::lock_outs_grow", "a later lock-out, twice as long"),
    proof("LIMIT-26", Bug::SuccessClearsAll, "attempts::success_clears", "locked out of a from u")
        .also(&["LIMIT-27"]),
    proof("LIMIT-27", Bug::NobodyIsKnown, "attempts::known_sources", "admitted to a from home")
        .also(&["LIMIT-26", "LIMIT-28"]),
    proof("LIMIT-28", Bug::UnlockIsForgotten, "attempts::unlock", "admitted to a from t"),
    proof(
        "LIMIT-19",
        Bug::WaitsForTheGreater,
        "change::to_less_waits_for_the_lesser",
        "a wait for five of a thousand an hour",
    ),
    proof(
        "LIMIT-21",
        Bug::AddedPermitsStay,
        "add::taken_where_a_tier_has_too_few",
        "allowed by four added permits: 4\nobserved: 10",
    ),
    proof("LIMIT-21", Bug::AddsAnyNumber, "add::too_many_are_refused", "adding more than a million: refused"),
    proof(
        "LIMIT-22",
        Bug::QuotaIsARate,
        "quota::once_in_a_window",
        "all again in the next window: Some([0])\nobserved: None",
    ),
    proof(
        "LIMIT-22",
        Bug::QuotaIsTakenFirst,
        "quota::with_other_tiers",
        "not charged for it: [0, 1]\nobserved: [0, 0]",
    ),
    proof("LIMIT-23", Bug::HoldersAreNotKnown, "in_flight::no_more_than_said", "is granted the same again"),
    proof("LIMIT-23", Bug::LeasesLastForEver, "in_flight::ends_by_itself", "full while the lease lasts")
        .also(&["LIMIT-30"]),
    proof(
        "LIMIT-23",
        Bug::AnyNumberInFlight,
        "in_flight::bad_numbers_are_refused",
        "a bad number in flight: refused",
    ),
    proof(
        "LIMIT-24",
        Bug::OnlySourcesCount,
        "attempts::sources_and_keys_stay_apart",
        "locked out\nobserved: Admitted",
    )
    .also(&["LIMIT-29"]),
    proof("LIMIT-26", Bug::WithdrawalIsAPardon, "attempts::withdrawn", "locked out of a from s")
        .also(&["LIMIT-31"]),
    proof(
        "LIMIT-23",
        Bug::OneLifeForAll,
        "in_flight::each_for_its_own_life",
        "full after the end of the shorter lease",
    ),
    proof("LIMIT-27", Bug::StrangersDisplace, "attempts::known_sources_are_kept", "home0 is known"),
    proof(
        "LIMIT-31",
        Bug::SourcesNeedNoName,
        "attempts::sources_have_names",
        "an attempt from a source with such a name: refused",
    ),
    proof("LIMIT-29", Bug::RefusalsProlong, "attempts::refused_costs_nothing", "no longer by being refused"),
];

#[derive(Debug)]
pub(crate) struct Wrong {
    bug: Bug,
    right: Arc<dyn RateLimiter>,
    /// How often each key was refused, or asked for a place.
    counted: Mutex<HashMap<Key, u32>>,
    /// Who has asked for a place, or has succeeded, of each key.
    names: Mutex<HashMap<Key, Vec<String>>>,
    /// How many known sources of each key were displaced.
    displaced: Mutex<HashMap<Key, usize>>,
}

impl Wrong {
    pub(crate) fn new(bug: Bug, right: Arc<dyn RateLimiter>) -> Self {
        let (counted, names, displaced) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { bug, right, counted, names, displaced }
    }

    /// How often this was asked of the key, with this time.
    fn count(&self, key: &Key) -> u32 {
        let mut counted = locked(&self.counted);
        let count = counted.entry(key.clone()).or_default();
        *count += 1;
        *count
    }

    /// The names of the key so far, and this one from now on.
    fn names(&self, key: &Key, name: Option<&str>) -> Vec<String> {
        let mut names = locked(&self.names);
        let names = names.entry(key.clone()).or_default();
        let before = names.clone();
        names.extend(name.filter(|name| !before.iter().any(|before| before == name)).map(str::to_owned));
        before
    }

    /// What a source is called once others are displaced by strangers.
    fn displacing(&self, key: &Key, source: &str) -> String {
        let known = self.names(key, None);
        let mut displaced = locked(&self.displaced);
        let displaced = displaced.entry(key.clone()).or_default();
        match known.iter().position(|name| name == source) {
            Some(at) if at < *displaced => format!("{source}, a stranger again"),
            None if known.len() >= Failures::MAX_KNOWN => {
                *displaced += 1;
                source.to_owned()
            }
            _ => source.to_owned(),
        }
    }

    /// The quota is taken, and then the others are.
    async fn quota_first(&self, key: &Key, tiers: &[Tier], cost: u32) -> Result<Decision> {
        let (quotas, others): (Vec<_>, Vec<_>) =
            tiers.iter().copied().partition(|tier| tier.calendar().is_some());
        if quotas.is_empty() || others.is_empty() || !self.right.check(key, &quotas, cost).await?.is_allowed()
        {
            return self.right.check(key, tiers, cost).await;
        }
        match self.right.check(key, &others, cost).await? {
            Decision::Denied { retry_after, tier, .. } => {
                let at = tiers.iter().position(|one| *one == others[tier]).unwrap_or_default();
                Ok(Decision::denied(retry_after, at, self.right.peek(key, tiers).await?))
            }
            _ => Ok(Decision::allowed(self.right.peek(key, tiers).await?)),
        }
    }

    fn key(&self, key: &Key, tiers: &[Tier]) -> Result<Key> {
        match (self.bug, tiers) {
            (Bug::LimitsAreSubjects, [tier]) => key.subkey(tier.id()),
            _ => Ok(key.clone()),
        }
    }

    fn tiers(&self, tiers: &[Tier]) -> Result<Vec<Tier>> {
        let in_utc = |tier: &Tier| match tier.calendar() {
            Some(calendar) if self.bug == Bug::QuotasAreInUtc => {
                Tier::quota(tier.limit(), Calendar::utc(calendar.unit()))
            }
            Some(_) if self.bug == Bug::QuotaIsARate => Tier::new(tier.limit(), Tier::MAX_PERIOD),
            _ => Ok(*tier),
        };
        tiers.iter().map(in_utc).collect()
    }
}

fn first_only(rule: &Lockout) -> Result<Lockout> {
    let [window, first, _, memory] = rule.micros().map(Duration::from_micros);
    Lockout::new(rule.failures(), window, first, first, memory)
}

fn any_name(source: &str) -> String {
    let name: String = source.chars().take(256).collect();
    if name.is_empty() { "-".to_owned() } else { name }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl RateLimiter for Wrong {
    fn capabilities(&self) -> LimitCapabilities {
        self.right.capabilities()
    }

    async fn check(&self, key: &Key, tiers: &[Tier], cost: u32) -> Result<Decision> {
        let (key, tiers) = (&self.key(key, tiers)?, &self.tiers(tiers)?);
        match self.bug {
            Bug::QuotaIsTakenFirst if self.capabilities().check_tiers(tiers).is_ok() => {
                self.quota_first(key, tiers, cost).await
            }
            Bug::AddedPermitsStay => {
                let hour = Ttl::new(Duration::from_hours(1))?;
                let before = self.right.add(key, 0, hour).await?;
                let decision = self.right.check(key, tiers, cost).await?;
                let after = self.right.add(key, 0, hour).await?;
                self.right.add(key, before - after.min(before), hour).await?;
                Ok(decision)
            }
            Bug::WaitsForTheGreater => match self.right.check(key, tiers, cost).await? {
                Decision::Denied { retry_after, tier, tiers: left, .. }
                    if tiers[tier].limit() >= 100 * tiers[tier].burst() =>
                {
                    Ok(Decision::denied(retry_after + tiers[tier].period(), tier, left))
                }
                decision => Ok(decision),
            },
            _ => self.right.check(key, tiers, cost).await,
        }
    }

    async fn take_up_to(&self, key: &Key, tiers: &[Tier], most: u32) -> Result<Grant> {
        let (key, tiers) = (&self.key(key, tiers)?, &self.tiers(tiers)?);
        match self.bug {
            Bug::UpToIsAllOrNothing => {
                let taken = self.right.check(key, tiers, most).await?.is_allowed();
                Ok(Grant::new(if taken { most } else { 0 }, self.right.peek(key, tiers).await?))
            }
            Bug::UpToIsPeekThenTake => {
                let there = self.right.peek(key, tiers).await?.iter().map(|tier| tier.remaining).min();
                yield_now().await;
                let grant = self.right.take_up_to(key, tiers, most).await?;
                Ok(Grant::new(there.unwrap_or_default().min(most), grant.tiers))
            }
            _ => self.right.take_up_to(key, tiers, most).await,
        }
    }

    async fn peek(&self, key: &Key, tiers: &[Tier]) -> Result<Vec<TierStatus>> {
        self.right.peek(&self.key(key, tiers)?, &self.tiers(tiers)?).await
    }

    async fn refund(&self, key: &Key, tiers: &[Tier], cost: u32) -> Result<()> {
        self.right.refund(&self.key(key, tiers)?, &self.tiers(tiers)?, cost).await
    }

    async fn add(&self, key: &Key, permits: u32, life: Ttl) -> Result<u32> {
        let life = if self.bug == Bug::AddedForEver { Ttl::MAX } else { life };
        let permits = if self.bug == Bug::AddsAnyNumber { permits.min(Tier::MAX_COUNT) } else { permits };
        self.right.add(key, permits, life).await
    }

    async fn reset(&self, key: &Key) -> Result<()> {
        if self.bug == Bug::ResetIsARefund {
            let tier = Tier::new(1, Duration::from_hours(1))?;
            return self.right.refund(key, &[tier], Tier::MAX_COUNT).await;
        }
        self.right.reset(key).await
    }

    async fn lease(&self, key: &Key, request: &LeaseRequest) -> Result<LeaseOutcome> {
        let mut request = request.clone();
        match self.bug {
            Bug::LeaseForOneMore if self.capabilities().check_leases(request.most + 1).is_ok() => {
                request.most += u32::from(request.most > 2);
            }
            Bug::RenewalResurrects => request.renews = false,
            Bug::HoldersAreNotKnown => request.holder = format!("{}-{}", request.holder, self.count(key)),
            Bug::LeasesLastForEver => request.life = Ttl::MAX,
            Bug::AnyNumberInFlight => {
                request.most = request.most.clamp(1, self.capabilities().max_leases.unwrap_or(1));
            }
            _ => {}
        }
        let leased = self.right.lease(key, &request).await?;
        if self.bug == Bug::OneLifeForAll {
            for holder in self.names(key, Some(&request.holder)) {
                let renewal = LeaseRequest::new(holder, request.most, request.life).renewing();
                self.right.lease(key, &renewal).await?;
            }
        }
        Ok(leased)
    }

    async fn give_back(&self, key: &Key, holder: &str) -> Result<bool> {
        self.right.give_back(key, holder).await
    }

    async fn attempt(&self, key: &Key, request: &AttemptRequest) -> Result<AttemptOutcome> {
        let mut request = request.clone();
        if self.bug == Bug::LockOutsDoNotGrow {
            request.overall = first_only(&request.overall)?;
            if let Some((_, rule)) = &mut request.source {
                *rule = first_only(rule)?;
            }
        }
        match &mut request.source {
            Some((source, _)) if self.bug == Bug::SourcesNeedNoName => *source = any_name(source),
            Some((source, _)) if self.bug == Bug::StrangersDisplace => *source = self.displacing(key, source),
            _ => {}
        }
        let outcome = self.right.attempt(key, &request).await?;
        let source = request.source.map(|(source, _)| source);
        match outcome {
            AttemptOutcome::Admitted(ticket) if self.bug == Bug::CountedAfterwards => {
                self.right.settle(key, &Settlement::Withdrawn { source, ticket }).await?;
            }
            AttemptOutcome::Admitted(ticket) if self.bug == Bug::OnlySourcesCount && source.is_none() => {
                self.right.settle(key, &Settlement::Withdrawn { source, ticket }).await?;
            }
            AttemptOutcome::Locked { retry_after, by }
                if self.bug == Bug::RefusalsProlong && source.is_none() =>
            {
                let retry_after = retry_after + Duration::from_secs(1) * self.count(key);
                return Ok(AttemptOutcome::Locked { retry_after, by });
            }
            _ => {}
        }
        Ok(outcome)
    }

    async fn settle(&self, key: &Key, settlement: &Settlement) -> Result<()> {
        match (self.bug, settlement) {
            (Bug::UnlockIsForgotten, Settlement::Unlocked) => return Ok(()),
            (Bug::WithdrawalIsAPardon, Settlement::Withdrawn { .. }) => {
                return self.right.settle(key, &Settlement::Unlocked).await;
            }
            (Bug::SuccessClearsAll, Settlement::Succeeded { .. }) => {
                self.right.settle(key, settlement).await?;
                return self.right.settle(key, &Settlement::Unlocked).await;
            }
            (Bug::NobodyIsKnown, Settlement::Succeeded { source, ticket, .. }) => {
                let settlement = Settlement::Withdrawn { source: Some(source.clone()), ticket: *ticket };
                return self.right.settle(key, &settlement).await;
            }
            (Bug::SourcesNeedNoName, settlement) => {
                let mut settlement = settlement.clone();
                if let Settlement::Succeeded { source, .. }
                | Settlement::Withdrawn { source: Some(source), .. } = &mut settlement
                {
                    *source = any_name(source);
                }
                return self.right.settle(key, &settlement).await;
            }
            (Bug::StrangersDisplace, Settlement::Succeeded { source, .. }) => {
                self.names(key, Some(source));
            }
            _ => {}
        }
        self.right.settle(key, settlement).await
    }
}
