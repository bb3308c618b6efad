//! The model-based test finds stores that are wrong, and shows the shortest way to see it.
#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use stanchion::clock::ManualClock;
use stanchion::environment::Environment;
use stanchion::key::{Key, Name};
use stanchion::layer::{Around, Call, FaultRates, Faults};
use stanchion::limit::{
    AttemptOutcome, AttemptRequest, Decision, Grant, LeaseOutcome, LeaseRequest, LimitCapabilities,
    RateLimiter, Settlement, Tier, TierStatus,
};
use stanchion::session::{
    CreateOutcome, NewSession, Patch, PatchOutcome, RotateOutcome, Rotation, SessionBounds,
    SessionCapabilities, SessionId, SessionOutbox, SessionRecord, SessionStore, SessionSummary, TouchOutcome,
};
use stanchion::stores::Stores;
use stanchion::time::Ttl;
use stanchion::{Error, ErrorKind, Result};
use stanchion_conformance::Offers;
use stanchion_conformance::model::{Answer, Operation, World, agree, agree_despite_faults, cases};
use stanchion_memory::{MemoryBackend, MemoryConfig};
use tokio::runtime::Runtime;

/// Two handles on a fresh memory, each as `alter` makes it.
fn world(alter: impl Fn(&Stores) -> Stores) -> World {
    let clock = ManualClock::new();
    let environment = Environment::system().clock(Arc::new(clock.clone()));
    let backend = MemoryBackend::with(MemoryConfig::new().environment(environment));
    let handles = [backend.stores(), backend.handle().stores()].iter().map(alter).collect();
    World::new(handles).ticking(move || clock.advance(Duration::from_millis(1)))
}

fn runtime() -> Runtime {
    Runtime::new().unwrap()
}

#[test]
fn memory_agrees_with_itself() {
    let agreed = agree(
        &runtime(),
        Offers::all(),
        cases(64),
        60,
        async || world(Stores::clone),
        async || world(Stores::clone),
    );
    assert!(agreed.is_ok(), "{}", agreed.unwrap_err());
}

/// Says that the version is what it was.
#[derive(Debug)]
struct ForgetsTheVersion(Arc<dyn SessionStore>);

#[async_trait]
impl SessionStore for ForgetsTheVersion {
    fn capabilities(&self) -> SessionCapabilities {
        self.0.capabilities()
    }
    fn outbox(&self) -> Option<&dyn SessionOutbox> {
        self.0.outbox()
    }
    fn bounded(&self, bounds: SessionBounds) -> Arc<dyn SessionStore> {
        Arc::new(Self(self.0.bounded(bounds)))
    }
    async fn create(&self, service: &Name, session: NewSession) -> Result<CreateOutcome> {
        self.0.create(service, session).await
    }
    async fn load(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        self.0.load(service, id).await
    }
    async fn use_session(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        self.0.use_session(service, id).await
    }
    async fn patch(&self, service: &Name, id: &SessionId, patch: &Patch) -> Result<PatchOutcome> {
        Ok(match self.0.patch(service, id, patch).await? {
            PatchOutcome::Saved { version } => PatchOutcome::Saved { version: version - 1 },
            other => other,
        })
    }
    async fn touch(&self, service: &Name, id: &SessionId) -> Result<TouchOutcome> {
        self.0.touch(service, id).await
    }
    async fn rotate(
        &self,
        service: &Name,
        user: &str,
        id: &SessionId,
        rotation: &Rotation,
    ) -> Result<RotateOutcome> {
        self.0.rotate(service, user, id, rotation).await
    }
    async fn destroy(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        self.0.destroy(service, id).await
    }
    async fn list(&self, service: &Name, user: &str) -> Result<Vec<SessionSummary>> {
        self.0.list(service, user).await
    }
    async fn destroy_all(
        &self,
        service: &Name,
        user: &str,
        except: Option<&SessionId>,
    ) -> Result<Vec<SessionId>> {
        self.0.destroy_all(service, user, except).await
    }
}

/// Gives back nothing.
#[derive(Debug)]
struct KeepsWhatIsRefunded(Arc<dyn RateLimiter>);

#[async_trait]
impl RateLimiter for KeepsWhatIsRefunded {
    fn capabilities(&self) -> LimitCapabilities {
        self.0.capabilities()
    }
    async fn check(&self, key: &Key, tiers: &[Tier], cost: u32) -> Result<Decision> {
        self.0.check(key, tiers, cost).await
    }
    async fn peek(&self, key: &Key, tiers: &[Tier]) -> Result<Vec<TierStatus>> {
        self.0.peek(key, tiers).await
    }
    async fn refund(&self, key: &Key, tiers: &[Tier], _cost: u32) -> Result<()> {
        self.0.refund(key, tiers, 0).await
    }
    async fn take_up_to(&self, key: &Key, tiers: &[Tier], most: u32) -> Result<Grant> {
        self.0.take_up_to(key, tiers, most).await
    }
    async fn add(&self, key: &Key, permits: u32, life: Ttl) -> Result<u32> {
        self.0.add(key, permits, life).await
    }
    async fn reset(&self, key: &Key) -> Result<()> {
        self.0.reset(key).await
    }
    async fn lease(&self, key: &Key, request: &LeaseRequest) -> Result<LeaseOutcome> {
        self.0.lease(key, request).await
    }
    async fn give_back(&self, key: &Key, holder: &str) -> Result<bool> {
        self.0.give_back(key, holder).await
    }
    async fn attempt(&self, key: &Key, request: &AttemptRequest) -> Result<AttemptOutcome> {
        self.0.attempt(key, request).await
    }
    async fn settle(&self, key: &Key, settlement: &Settlement) -> Result<()> {
        self.0.settle(key, settlement).await
    }
}

/// The same stores, but for those that are given.
fn altered(
    stores: &Stores,
    sessions: impl Fn(Arc<dyn SessionStore>) -> Arc<dyn SessionStore>,
    limits: impl Fn(Arc<dyn RateLimiter>) -> Arc<dyn RateLimiter>,
) -> Stores {
    Stores::builder(stores.environment().clone())
        .cache(stores.cache_store().unwrap())
        .sessions(sessions(stores.session_store().unwrap()))
        .events(stores.event_bus().unwrap())
        .locks(stores.locker().unwrap())
        .limits(limits(stores.rate_limiter().unwrap()))
        .tokens(stores.token_store().unwrap())
        .build()
}

#[test]
fn a_version_that_stands_still_is_found_and_shrunk() {
    let wrong = async || world(|stores| altered(stores, |s| Arc::new(ForgetsTheVersion(s)), |limits| limits));
    let found =
        agree(&runtime(), Offers::all(), 1_000, 60, async || world(Stores::clone), wrong).unwrap_err();
    assert!(
        matches!(found.steps.as_slice(), [one, two]
            if matches!(&one.operation, Operation::Session(_)) && matches!(&two.operation, Operation::Session(_))),
        "one session, one patch:\n{found}"
    );
    let told = found.to_string();
    for part in ["1. by", "Create", "2. by", "Patch", "expected", "version: 2", "observed", "version: 1"] {
        assert!(told.contains(part), "{part} in\n{told}");
    }
}

#[test]
fn a_refund_that_is_kept_is_found_and_shrunk() {
    let wrong =
        async || world(|stores| altered(stores, |s| s, |limits| Arc::new(KeepsWhatIsRefunded(limits))));
    let found =
        agree(&runtime(), Offers::all(), 1_000, 60, async || world(Stores::clone), wrong).unwrap_err();
    assert_eq!(found.steps.len(), 3, "taken, given back, looked at:\n{found}");
}

/// Limits and locks alone, and limits that are wrong if they are to be.
fn some(stores: &Stores, wrong: bool) -> Stores {
    let mut limits = stores.rate_limiter().unwrap();
    if wrong {
        limits = Arc::new(KeepsWhatIsRefunded(limits));
    }
    Stores::builder(stores.environment().clone()).limits(limits).locks(stores.locker().unwrap()).build()
}

fn offers(limit: bool, lock: bool) -> Offers {
    let mut offers = Offers::all();
    (offers.cache, offers.session, offers.event, offers.token) = (false, false, false, false);
    (offers.limit, offers.lock) = (limit, lock);
    offers
}

#[test]
fn a_store_of_some_areas_is_compared_in_those() {
    let (right, wrong) =
        (async || world(|stores| some(stores, false)), async || world(|stores| some(stores, true)));
    let all = async || world(Stores::clone);
    let agreed = agree(&runtime(), offers(true, true), cases(64), 60, all, right);
    assert!(agreed.is_ok(), "{}", agreed.unwrap_err());
    let agreed = agree(&runtime(), offers(false, true), cases(64), 60, all, wrong);
    assert!(agreed.is_ok(), "what is not offered is in no sequence:\n{}", agreed.unwrap_err());
    let found = agree(&runtime(), offers(true, true), 1_000, 60, all, wrong).unwrap_err();
    assert_eq!(found.steps.len(), 3, "taken, given back, looked at:\n{found}");
    // One that says that it has everything is found out.
    assert!(agree(&runtime(), Offers::all(), 64, 60, all, right).is_err());
}

#[test]
fn one_area_is_enough_and_none_is_no_agreement() {
    let all = async || world(Stores::clone);
    let mut events = offers(false, false);
    events.event = true;
    let agreed = agree(&runtime(), events, cases(16), 20, all, all);
    assert!(agreed.is_ok(), "{}", agreed.unwrap_err());
    let nothing = agree(&runtime(), offers(false, false), 64, 60, all, all).unwrap_err();
    assert!(nothing.steps.is_empty());
    assert!(matches!(nothing.observed, Answer::Failed(ErrorKind::Unsupported, _)), "{nothing}");
}

/// Faults of every kind, of this seed. Their delays pass by themselves: the clock of the stores stands still.
fn faults(seed: u64) -> Faults {
    let faults = Faults::seeded(&Environment::system(), seed);
    let rates = FaultRates::new().not_done(0.15).unwrap().lost(0.15).unwrap();
    faults.rate("*", rates.late(0.1, Duration::from_micros(100)).unwrap()).unwrap();
    faults
}

#[test]
fn what_is_answered_through_faults_is_true() {
    for seed in 0..8 {
        let agreed = agree_despite_faults(
            &runtime(),
            Offers::all(),
            cases(24),
            30,
            async || world(Stores::clone),
            async || {
                let faults = faults(seed);
                world(move |stores| stores.layer(faults.clone()))
            },
        );
        assert!(agreed.is_ok(), "seed {seed}:\n{}", agreed.unwrap_err());
    }
}

/// Makes every change, and says of each fifth that it was not made.
#[derive(Debug, Clone, Default)]
struct SaysThatNothingWasDone(Arc<AtomicU64>);

impl Around for SaysThatNothingWasDone {
    fn deadline(&self, own: Option<Duration>) -> Option<Duration> {
        own
    }

    async fn call<'a, T: Send + 'a>(
        &'a self,
        call: Call,
        mut work: impl FnMut() -> stanchion::layer::Answer<'a, T> + Send + 'a,
    ) -> Result<T> {
        let answer = work().await;
        if call.changes && self.0.fetch_add(1, Ordering::SeqCst) % 5 == 4 {
            return Err(Error::new(ErrorKind::Unavailable, "nothing was done").with_operation(call.operation));
        }
        answer
    }
}

#[test]
fn a_layer_that_says_not_done_of_what_is_done_is_found() {
    let wrong = async || {
        let (faults, wrong) = (faults(1), SaysThatNothingWasDone::default());
        world(move |stores| stores.layer(wrong.clone()).layer(faults.clone()))
    };
    let found =
        agree_despite_faults(&runtime(), Offers::all(), 1_000, 40, async || world(Stores::clone), wrong)
            .unwrap_err();
    let told = found.to_string();
    assert!(told.contains("Failed(Unavailable, NotApplied)") && told.contains("could be"), "{told}");
    // How far it can be made shorter depends on what was drawn.
    assert!(found.steps.len() < 40, "{told}");
}

#[test]
fn what_is_answered_as_done_and_is_not_is_found_through_faults() {
    let wrong = async || {
        let faults = faults(2);
        world(move |stores| {
            altered(stores, |s| s, |limits| Arc::new(KeepsWhatIsRefunded(limits))).layer(faults.clone())
        })
    };
    let limits = offers(true, false);
    let found = agree_despite_faults(&runtime(), limits, 1_000, 30, async || world(Stores::clone), wrong);
    let found = found.unwrap_err();
    assert!(found.to_string().contains("Refund"), "{found}");
}
