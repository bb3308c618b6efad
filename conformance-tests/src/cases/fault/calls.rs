//! The calls that are made on a server that is away.

use std::time::Duration;

use futures_util::future::BoxFuture;
use stanchion::Result;
use stanchion::event::{Envelope, EventId, EventType, SubscribeOptions};
use stanchion::key::{Key, Name};
use stanchion::limit::Tier;
use stanchion::lock::{LockRequest, LockToken};
use stanchion::random::SystemRandom;
use stanchion::session::{HashingKey, NewSession, SessionLimit, SessionToken};
use stanchion::stores::Stores;
use stanchion::time::Ttl;
use stanchion::token::Scope;

use crate::{Failure, Outcome};
use stanchion::cache::AllParts as _;

/// One call, which can be made again and again.
pub(super) struct Call {
    pub(super) name: &'static str,
    /// Whether it may change something.
    pub(super) writes: bool,
    /// What a request of this call contains and no other does, if it makes one each time.
    pub(super) text: Option<&'static str>,
    pub(super) ask: Box<dyn Fn() -> BoxFuture<'static, Result<()>> + Send + Sync>,
}

impl Call {
    pub(super) fn new<F>(
        name: &'static str,
        writes: bool,
        ask: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        Self { name, writes, text: None, ask: Box::new(move || Box::pin(ask())) }
    }

    fn reading<F>(
        name: &'static str,
        text: &'static str,
        ask: impl Fn(&'static str) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        Self { text: Some(text), ..Self::new(name, false, move || ask(text)) }
    }
}

/// A call that reads and one that changes something, of every store that is offered.
pub(super) fn calls(stores: &Stores) -> Vec<Call> {
    let mut calls = Vec::new();
    let service = || Name::new("auth");
    if let Ok(cache) = stores.cache_store() {
        calls.push(Call::reading("cache.get", "read-cache", move |text| {
            let cache = cache.clone();
            async move { cache.get(&Key::new("cache", "fault", text)?).await.map(drop) }
        }));
    }
    if let Ok(sessions) = stores.session_store() {
        calls.push(Call::reading("session.list", "read-session", move |text| {
            let sessions = sessions.clone();
            async move { sessions.list(&service()?, text).await.map(drop) }
        }));
    }
    if let Ok(tokens) = stores.token_store() {
        let scope = |id: &str| Scope::User(id.to_owned());
        let reading = tokens.clone();
        calls.push(Call::reading("token.epochs", "read-token", move |text| {
            let tokens = reading.clone();
            async move { tokens.epochs(&service()?, &[scope(text)]).await.map(drop) }
        }));
        calls.push(Call::new("token.revoke_all", true, move || {
            let tokens = tokens.clone();
            async move { tokens.revoke_all(&service()?, &scope("changed"), Ttl::MAX).await.map(drop) }
        }));
    }
    if let Ok(limits) = stores.rate_limiter() {
        calls.push(Call::reading("limit.peek", "read-limit", move |text| {
            let limits = limits.clone();
            async move { limits.peek(&Key::new("rate_limit", "fault", text)?, &[tier()?]).await.map(drop) }
        }));
    }
    if let Ok(locks) = stores.locker() {
        let reading = locks.clone();
        calls.push(Call::reading("lock.inspect", "read-lock", move |text| {
            let locks = reading.clone();
            async move { locks.inspect(&Key::new("locks", "lock", text)?).await.map(drop) }
        }));
        calls.push(Call::new("lock.acquire", true, move || {
            let locks = locks.clone();
            async move {
                let key = Key::new("locks", "lock", "changed")?;
                let request = LockRequest::new(key, LockToken::new([1; 16]), Ttl::MAX);
                locks.acquire(&request).await.map(drop)
            }
        }));
    }
    if let Ok(bus) = stores.event_bus() {
        let (publishing, stores) = (bus.clone(), stores.clone());
        calls.push(Call::new("event.subscribe", false, move || {
            let bus = bus.clone();
            async move { bus.subscribe(SubscribeOptions::new(Name::new("calls")?)).await.map(drop) }
        }));
        calls.push(Call::new("event.publish", true, move || {
            let (bus, stores) = (publishing.clone(), stores.clone());
            async move { bus.publish(&event(&stores, "calls.made")?).await }
        }));
    }
    for counted in ALL.iter().filter(|counted| counted.is_offered(stores)) {
        calls.push(counted.call(stores, "calls"));
    }
    calls
}

/// An event that is published once.
pub(super) fn event(stores: &Stores, event_type: &str) -> Result<Envelope> {
    let environment = stores.environment();
    let id = EventId::generate(&*environment.clock, &*environment.random)?;
    Ok(Envelope::new(id, "suite", EventType::new(event_type)?, environment.clock.wall(), 1.into()))
}

fn tier() -> Result<Tier> {
    // Nothing comes back in the time of a case.
    Tier::with_burst(100, Duration::from_hours(24), BURST)
}

const BURST: u32 = 1_000;
const ALL: &[Counted] = &[Counted::Cache, Counted::Session, Counted::Limit];

/// A change that is done twice if it is asked for twice, and can be counted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Counted {
    Cache,
    Session,
    Limit,
}

impl Counted {
    /// Those that are offered; a backend without any is not shown these cases.
    pub(super) fn offered(stores: &Stores) -> Outcome<Vec<Self>> {
        let offered: Vec<_> = ALL.iter().copied().filter(|counted| counted.is_offered(stores)).collect();
        if offered.is_empty() {
            return Err(Failure::Ignored("no store is offered whose changes can be counted".into()));
        }
        Ok(offered)
    }

    fn is_offered(self, stores: &Stores) -> bool {
        match self {
            Self::Cache => stores.cache_store().is_ok_and(|cache| cache.counters().is_some()),
            Self::Session => stores.session_store().is_ok(),
            Self::Limit => stores.rate_limiter().is_ok(),
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Cache => "cache.add",
            Self::Session => "session.create",
            Self::Limit => "limit.check",
        }
    }

    /// A thing to do it to, whose name no other request contains.
    pub(super) const fn lost(self) -> &'static str {
        match self {
            Self::Cache => "lost-add",
            Self::Session => "lost-create",
            Self::Limit => "lost-check",
        }
    }

    /// Does it once more, to the thing of this name.
    pub(super) async fn add(self, stores: &Stores, of: &str) -> Result<()> {
        match self {
            Self::Cache => stores.cache_store()?.add(&self.key(of)?, 1, Ttl::MAX).await.map(drop),
            Self::Session => {
                let token = SessionToken::generate(of, &SystemRandom)?;
                let id = HashingKey::unkeyed().session_id(&token);
                let new = NewSession::new(id, of, Ttl::MAX, Ttl::MAX, SessionLimit::EvictOldest(BURST));
                stores.session_store()?.create(&Name::new("auth")?, new).await.map(drop)
            }
            Self::Limit => stores.rate_limiter()?.check(&self.key(of)?, &[tier()?], 1).await.map(drop),
        }
    }

    /// Doing it once more, as a call.
    pub(super) fn call(self, stores: &Stores, of: &'static str) -> Call {
        let stores = stores.clone();
        Call::new(self.name(), true, move || {
            let stores = stores.clone();
            async move { self.add(&stores, of).await }
        })
    }

    /// How often it was done.
    pub(super) async fn count(self, stores: &Stores, of: &str) -> Result<u64> {
        Ok(match self {
            Self::Cache => {
                let stored = stores.cache_store()?.get(&self.key(of)?).await?;
                let text = stored.map(|stored| String::from_utf8_lossy(&stored).into_owned());
                text.and_then(|text| text.parse().ok()).unwrap_or_default()
            }
            Self::Session => stores.session_store()?.list(&Name::new("auth")?, of).await?.len() as u64,
            Self::Limit => {
                let standing = stores.rate_limiter()?.peek(&self.key(of)?, &[tier()?]).await?;
                u64::from(BURST - standing.first().map_or(BURST, |standing| standing.remaining.min(BURST)))
            }
        })
    }

    fn key(self, of: &str) -> Result<Key> {
        match self {
            Self::Cache => Key::new("counter", "fault", of),
            Self::Session | Self::Limit => Key::new("rate_limit", "fault", of),
        }
    }
}
