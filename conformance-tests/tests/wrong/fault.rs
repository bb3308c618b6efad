//! Wrong ways to bear the loss of a server, or of a reply. What is in memory can't lose a connection: here a
//! switch stands between the handles and the memory.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, Stream, StreamExt};
use stanchion::cache::CacheStore;
use stanchion::contract::Contract;
use stanchion::environment::{Environment, Health};
use stanchion::event::{Envelope, EventBus, EventCapabilities, Received, SubscribeOptions, Subscription};
use stanchion::key::Key;
use stanchion::limit::{
    AttemptOutcome, AttemptRequest, Decision, Grant, LeaseOutcome, LeaseRequest, LimitCapabilities,
    RateLimiter, Settlement, Tier, TierStatus,
};
use stanchion::lock::Locker;
use stanchion::session::SessionStore;
use stanchion::stores::{Backend, Stores};
use stanchion::time::Ttl;
use stanchion::token::TokenStore;
use stanchion::{Effect, Error, ErrorKind, Result};
use stanchion_conformance::{Harness, Offers, OwnedServer, Place, Time, Unavailable};
use stanchion_memory::MemoryBackend;
use tokio::sync::watch;

use crate::backend::{self, locked};
use crate::proof::{Proof, must_fail};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Waits for the server to come back, however long that takes.
    WaitsForTheServer,
    /// Says that it is its own bug.
    BlamesItself,
    /// Keeps what can't be sent, says that it was not applied, and sends it later.
    SendsLater,
    /// Says of a read that nobody could answer that it may have been applied.
    ReadsAreInDoubt,
    /// Gives up for good.
    NeverRecovers,
    /// Looks at the server when it connects, and never again.
    HealthIsOfTheStart,
    /// Takes a lost reply for a refusal.
    LostIsNotApplied,
    /// Asks again when a reply is lost, and answers what came of that.
    AsksAgain,
    /// Takes a lost reply to a read for one to a change.
    LostReadsAreInDoubt,
    /// Subscribes again and says nothing of it.
    GapIsSilent,
}

const fn proof(rule: &'static str, bug: Bug, case: &'static str, message: &'static str) -> Proof {
    must_fail(rule, backend::Bug::Fault(bug), case, message)
}

pub(crate) const PROOFS: &[Proof] = &[
    proof("FAULT-01", Bug::WaitsForTheServer, "away::calls_fail_in_time", "observed: Err(Elapsed")
        .also(&["FAULT-02", "FAULT-03", "FAULT-04", "FAULT-08"]),
    proof("FAULT-01", Bug::BlamesItself, "away::calls_fail_in_time", "observed: Ok(Err(")
        .also(&["FAULT-02", "FAULT-03", "FAULT-04"]),
    proof("FAULT-02", Bug::SendsLater, "away::not_applied_is_not_done", "was not done, so at most 2"),
    proof("FAULT-02", Bug::ReadsAreInDoubt, "away::not_applied_is_not_done", "the effect of limit.peek"),
    proof("FAULT-03", Bug::NeverRecovers, "away::calls_recover", "is answered again")
        .also(&["FAULT-02", "FAULT-04", "FAULT-08"]),
    proof("FAULT-04", Bug::HealthIsOfTheStart, "away::health_follows", "not Up while the server is away"),
    proof("FAULT-05", Bug::LostIsNotApplied, "lost_reply::is_unknown", "may have been applied"),
    proof("FAULT-06", Bug::AsksAgain, "lost_reply::is_done_once", "how often limit.check was done")
        .also(&["FAULT-05"]),
    proof("FAULT-07", Bug::LostReadsAreInDoubt, "lost_reply::of_a_read", "nothing was applied"),
    proof("FAULT-08", Bug::GapIsSilent, "subscription::gap_is_told", "Reconnected, after an outage"),
];

/// A harness whose cases get servers with this bug in every handle.
pub(crate) struct Faulty {
    bug: Option<Bug>,
}

impl Faulty {
    pub(crate) const fn new(bug: Option<Bug>) -> Self {
        Self { bug }
    }
}

#[async_trait]
impl Harness for Faulty {
    fn name(&self) -> &'static str {
        "faulty"
    }

    fn offers(&self) -> Offers {
        let mut some = Offers::all();
        (some.cache, some.session, some.lock, some.token) = (false, false, false, false);
        some
    }

    fn time(&self) -> Time {
        // That of the test's runtime, which is over at once.
        Time::Real
    }

    async fn prepare(&self) -> Result<(), Unavailable> {
        Ok(())
    }

    async fn open(&self, _place: &Place) -> Result<Stores> {
        Err(Error::unsupported("the cases of faults open their own server"))
    }

    async fn advance(&self, _place: &Place, _by: Duration) {}

    async fn owned_server(&self) -> Result<Box<dyn OwnedServer>, Unavailable> {
        Ok(Box::new(Server(Arc::new(Switch {
            bug: self.bug,
            memory: MemoryBackend::new(),
            link: watch::Sender::new(Link { up: true, outages: 0 }),
            lost: Mutex::default(),
            kept: Mutex::default(),
        }))))
    }
}

/// What stands between the handles and the memory.
struct Switch {
    bug: Option<Bug>,
    memory: MemoryBackend,
    link: watch::Sender<Link>,
    lost: Mutex<Vec<String>>,
    kept: Mutex<Vec<BoxFuture<'static, ()>>>,
}

impl fmt::Debug for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Switch({:?})", self.bug)
    }
}

#[derive(Debug, Clone, Copy)]
struct Link {
    up: bool,
    outages: u64,
}

struct Server(Arc<Switch>);

#[async_trait]
impl OwnedServer for Server {
    async fn open(&self, _place: &Place) -> Result<Stores> {
        let memory = self.0.memory.handle().stores();
        let handle = Arc::new(Handle { switch: Arc::clone(&self.0), memory: memory.clone() });
        Ok(Stores::builder(Environment::system())
            .life_of(Arc::clone(&handle) as Arc<dyn Backend>)
            .limits(Arc::clone(&handle) as Arc<dyn RateLimiter>)
            .events(handle)
            .build())
    }

    fn deadline(&self) -> Duration {
        Duration::from_secs(1)
    }

    async fn stop(&self) -> Result<(), Unavailable> {
        self.0.link.send_modify(|link| *link = Link { up: false, outages: link.outages + 1 });
        Ok(())
    }

    async fn start(&self) -> Result<(), Unavailable> {
        self.0.link.send_modify(|link| link.up = self.0.bug != Some(Bug::NeverRecovers));
        Ok(())
    }

    async fn lose_reply_to(&self, text: &str) -> Result<(), Unavailable> {
        locked(&self.0.lost).push(text.to_owned());
        Ok(())
    }
}

/// One process on the server.
#[derive(Debug)]
struct Handle {
    switch: Arc<Switch>,
    memory: Stores,
}

impl Handle {
    fn has(&self, bug: Bug) -> bool {
        self.switch.bug == Some(bug)
    }

    async fn call<T, F>(&self, text: &str, writes: bool, work: impl Fn() -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        if !self.switch.link.borrow().up {
            self.away(writes, &work).await?;
        }
        let kept = std::mem::take(&mut *locked(&self.switch.kept));
        for call in kept {
            call.await;
        }
        let lost = {
            let mut lost = locked(&self.switch.lost);
            lost.iter().position(|armed| text.contains(armed.as_str())).map(|at| lost.remove(at))
        };
        if lost.is_none() {
            return work().await;
        }
        work().await?;
        let effect = match writes {
            true if self.has(Bug::AsksAgain) => return work().await,
            true if self.has(Bug::LostIsNotApplied) => Effect::NotApplied,
            true => Effect::Unknown,
            false if self.has(Bug::LostReadsAreInDoubt) => Effect::Unknown,
            false => Effect::NotApplied,
        };
        Err(Error::new(ErrorKind::Unavailable, "the connection was lost").with_effect(effect))
    }

    /// What becomes of a call on a server that is away; `Ok` if it is to be made all the same.
    async fn away<T, F>(&self, writes: bool, work: impl Fn() -> F) -> Result<()>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let mut link = self.switch.link.subscribe();
        if self.has(Bug::WaitsForTheServer) {
            // The sender is in the switch: this ends with the server being up, or never.
            let _ = link.wait_for(|link| link.up).await;
            return Ok(());
        }
        if writes && self.has(Bug::SendsLater) {
            let later = work().map(drop);
            locked(&self.switch.kept).push(later.boxed());
        }
        let kind = if self.has(Bug::BlamesItself) { ErrorKind::Internal } else { ErrorKind::Unavailable };
        let doubt = !writes && self.has(Bug::ReadsAreInDoubt);
        let effect = if doubt { Effect::Unknown } else { Effect::NotApplied };
        Err(Error::new(kind, "the server is away").with_effect(effect))
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Backend for Handle {
    fn name(&self) -> &'static str {
        "faulty"
    }

    fn health(&self) -> watch::Receiver<Health> {
        let told = watch::Sender::new(Health::Up);
        let health = told.subscribe();
        if !self.has(Bug::HealthIsOfTheStart) {
            let of = |link: Link| if link.up { Health::Up } else { Health::Down };
            let mut link = self.switch.link.subscribe();
            told.send_replace(of(*link.borrow_and_update()));
            tokio::spawn(async move {
                loop {
                    told.send_replace(of(*link.borrow_and_update()));
                    tokio::select! {
                        changed = link.changed() => if changed.is_err() { return },
                        () = told.closed() => return,
                    }
                }
            });
        }
        health
    }

    async fn close(&self) {
        let _ = self.memory.close(Duration::ZERO).await;
    }

    fn cache(&self) -> Option<Arc<dyn CacheStore>> {
        None
    }

    fn sessions(&self) -> Option<Arc<dyn SessionStore>> {
        None
    }

    fn events(&self) -> Option<Arc<dyn EventBus>> {
        None
    }

    fn locks(&self) -> Option<Arc<dyn Locker>> {
        None
    }

    fn limits(&self) -> Option<Arc<dyn RateLimiter>> {
        None
    }

    fn tokens(&self) -> Option<Arc<dyn TokenStore>> {
        None
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl RateLimiter for Handle {
    fn capabilities(&self) -> LimitCapabilities {
        LimitCapabilities::new(Contract::V1).call_deadline(Duration::ZERO)
    }

    async fn check(&self, key: &Key, tiers: &[Tier], cost: u32) -> Result<Decision> {
        let (limits, at, tiers) = (self.memory.rate_limiter()?, key.clone(), tiers.to_vec());
        let work = move || {
            let (limits, at, tiers) = (Arc::clone(&limits), at.clone(), tiers.clone());
            async move { limits.check(&at, &tiers, cost).await }
        };
        self.call(key.as_str(), true, work).await
    }

    async fn peek(&self, key: &Key, tiers: &[Tier]) -> Result<Vec<TierStatus>> {
        let (limits, at, tiers) = (self.memory.rate_limiter()?, key.clone(), tiers.to_vec());
        let work = move || {
            let (limits, at, tiers) = (Arc::clone(&limits), at.clone(), tiers.clone());
            async move { limits.peek(&at, &tiers).await }
        };
        self.call(key.as_str(), false, work).await
    }

    async fn refund(&self, key: &Key, tiers: &[Tier], cost: u32) -> Result<()> {
        self.memory.rate_limiter()?.refund(key, tiers, cost).await
    }

    async fn take_up_to(&self, key: &Key, tiers: &[Tier], most: u32) -> Result<Grant> {
        self.memory.rate_limiter()?.take_up_to(key, tiers, most).await
    }

    async fn add(&self, key: &Key, permits: u32, life: Ttl) -> Result<u32> {
        self.memory.rate_limiter()?.add(key, permits, life).await
    }

    async fn reset(&self, key: &Key) -> Result<()> {
        self.memory.rate_limiter()?.reset(key).await
    }

    async fn lease(&self, key: &Key, request: &LeaseRequest) -> Result<LeaseOutcome> {
        self.memory.rate_limiter()?.lease(key, request).await
    }

    async fn give_back(&self, key: &Key, holder: &str) -> Result<bool> {
        self.memory.rate_limiter()?.give_back(key, holder).await
    }

    async fn attempt(&self, key: &Key, request: &AttemptRequest) -> Result<AttemptOutcome> {
        self.memory.rate_limiter()?.attempt(key, request).await
    }

    async fn settle(&self, key: &Key, settlement: &Settlement) -> Result<()> {
        self.memory.rate_limiter()?.settle(key, settlement).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl EventBus for Handle {
    fn capabilities(&self) -> EventCapabilities {
        EventCapabilities::new(Contract::V1).call_deadline(Duration::ZERO)
    }

    async fn publish(&self, event: &Envelope) -> Result<()> {
        let (bus, event) = (self.memory.event_bus()?, event.clone());
        let work = move || {
            let (bus, event) = (Arc::clone(&bus), event.clone());
            async move { bus.publish(&event).await }
        };
        // Of what is kept for later, changes that can be counted are enough.
        self.call("", !self.has(Bug::SendsLater), work).await
    }

    async fn subscribe(&self, options: SubscribeOptions) -> Result<Box<dyn Subscription>> {
        let bus = self.memory.event_bus()?;
        let work = move || {
            let (bus, options) = (Arc::clone(&bus), options.clone());
            async move { bus.subscribe(options).await }
        };
        let events = self.call("", false, work).await?;
        let mut link = self.switch.link.subscribe();
        let outages = link.borrow_and_update().outages;
        Ok(Box::new(Told { events, link, outages, silent: self.has(Bug::GapIsSilent) }))
    }
}

/// A subscription that is told of outages.
#[derive(Debug)]
struct Told {
    events: Box<dyn Subscription>,
    link: watch::Receiver<Link>,
    outages: u64,
    silent: bool,
}

impl Stream for Told {
    type Item = Received;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<Option<Received>> {
        loop {
            let link = *self.link.borrow_and_update();
            if link.up && link.outages > self.outages {
                self.outages = link.outages;
                if !self.silent {
                    return Poll::Ready(Some(Received::Reconnected));
                }
            }
            // Its waker stays with the link when this is dropped.
            let changed = {
                let this = &mut *self;
                let mut changed = std::pin::pin!(this.link.changed());
                changed.as_mut().poll(context)
            };
            if !matches!(changed, Poll::Ready(Ok(()))) {
                return self.events.poll_next_unpin(context);
            }
        }
    }
}

impl Subscription for Told {
    fn close(&mut self) {
        self.events.close();
    }
}
