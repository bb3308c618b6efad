//! Rules of several versions of the contract.
#![expect(unreachable_pub, reason = "the table is made as those of the areas are")]

use stanchion::key::Key;
use stanchion::limit::{
    AttemptOutcome, AttemptRequest, Decision, Grant, LeaseOutcome, LeaseRequest, LimitCapabilities,
    RateLimiter, Settlement, Tier, TierStatus,
};
use stanchion::time::Ttl;
use stanchion_memory::MemoryBackend;

use super::*;
use crate::cases::rules;
use crate::{Level, Offers, Place, Time};

/// Rate limits that were written against the second version of the contract.
#[derive(Debug)]
struct Later(Arc<dyn RateLimiter>);

#[async_trait::async_trait]
impl RateLimiter for Later {
    fn capabilities(&self) -> LimitCapabilities {
        LimitCapabilities::new(Contract::new(2))
    }
    async fn check(&self, key: &Key, tiers: &[Tier], cost: u32) -> stanchion::Result<Decision> {
        self.0.check(key, tiers, cost).await
    }
    async fn peek(&self, key: &Key, tiers: &[Tier]) -> stanchion::Result<Vec<TierStatus>> {
        self.0.peek(key, tiers).await
    }
    async fn refund(&self, key: &Key, tiers: &[Tier], cost: u32) -> stanchion::Result<()> {
        self.0.refund(key, tiers, cost).await
    }
    async fn take_up_to(&self, key: &Key, tiers: &[Tier], most: u32) -> stanchion::Result<Grant> {
        self.0.take_up_to(key, tiers, most).await
    }
    async fn add(&self, key: &Key, permits: u32, life: Ttl) -> stanchion::Result<u32> {
        self.0.add(key, permits, life).await
    }
    async fn reset(&self, key: &Key) -> stanchion::Result<()> {
        self.0.reset(key).await
    }
    async fn lease(&self, key: &Key, request: &LeaseRequest) -> stanchion::Result<LeaseOutcome> {
        self.0.lease(key, request).await
    }
    async fn give_back(&self, key: &Key, holder: &str) -> stanchion::Result<bool> {
        self.0.give_back(key, holder).await
    }
    async fn attempt(&self, key: &Key, request: &AttemptRequest) -> stanchion::Result<AttemptOutcome> {
        self.0.attempt(key, request).await
    }
    async fn settle(&self, key: &Key, settlement: &Settlement) -> stanchion::Result<()> {
        self.0.settle(key, settlement).await
    }
}

/// Of the second version of the contract in limits, and of the first elsewhere.
struct Made;

#[async_trait::async_trait]
impl Harness for Made {
    fn name(&self) -> &'static str {
        "made"
    }
    fn offers(&self) -> Offers {
        Offers::all()
    }
    fn time(&self) -> Time {
        Time::Real
    }
    async fn prepare(&self) -> Result<(), Unavailable> {
        Ok(())
    }
    async fn open(&self, _place: &Place) -> stanchion::Result<Stores> {
        let right = MemoryBackend::new().stores();
        let limits = Arc::new(Later(right.rate_limiter()?));
        Ok(Stores::builder(right.environment().clone()).locks(right.locker()?).limits(limits).build())
    }
    async fn advance(&self, _place: &Place, _by: Duration) {}
}

async fn passes(_: &Context) -> Outcome {
    Ok(())
}

async fn fails(_: &Context) -> Outcome {
    check::fail("something", "something else")
}

rules! {
    "MADE-01" Must "The first version has this." => ["first::passes": passes, "first::fails": fails];
    "MADE-02" Should "The second version has this." since 2 => ["second::passes": passes, "second::fails": fails];
    "MADE-03" Must "The third version has this." since 3 => ["third::fails": fails];
}

#[test]
fn a_rule_is_of_the_first_version_unless_it_says_of_which() {
    assert_eq!(RULES.iter().map(|rule| rule.since).collect::<Vec<_>>(), [1, 2, 3].map(Contract::new));
    assert_eq!((RULES[0].level, RULES[1].level), (Level::Must, Level::Should));
}

#[tokio::test]
async fn a_rule_of_a_later_contract_is_not_claimed_and_its_cases_are_not_run() {
    let subject = Subject::new(Made);
    for (area, statuses) in [
        (
            Area::Lock,
            [Status::Passed, Status::Failed, Status::NotClaimed, Status::NotClaimed, Status::NotClaimed],
        ),
        (Area::Limit, [Status::Passed, Status::Failed, Status::Passed, Status::Failed, Status::NotClaimed]),
    ] {
        let mut seen = Vec::new();
        for (rule, case) in RULES.iter().flat_map(|rule| rule.cases.iter().map(move |case| (rule, case))) {
            let (status, completion) = subject.run_case(area, rule, case).await;
            assert_eq!(completion.is_err(), status == Status::Failed);
            seen.push(status);
        }
        assert_eq!(seen, statuses, "{area:?}");
    }
}
