//! Everything that the other façades count, once.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use stanchion::clock::ManualClock;
use stanchion::event::Received;
use stanchion::layer::{Fault, Faults, Metrics, Retry, Trace};
use stanchion::prelude::*;
use stanchion::session::SessionsBuilder;
use stanchion::time::{Timestamp, hours};
use stanchion::token::{Mark, RefreshPolicy, Refreshed, TokenFacts, TokenStore};

use crate::faulty::{Faulty, Scripted};
use crate::support::{down, manual, settle};

pub(crate) async fn sessions() {
    let (backend, _) = manual();
    let stores = backend.stores().service("auth").unwrap();
    let store = Faulty::over(stores.token_store().unwrap());
    let (environment, service) = (stores.environment().clone(), stores.service_name().clone());
    let tokens = stanchion::token::TokensBuilder::new(store.clone(), environment, service).build().unwrap();
    let of = |limit| {
        let builder: SessionsBuilder = stores.sessions();
        builder.limit(limit).revoking_tokens(&tokens).build().unwrap()
    };
    let (sessions, strict) = (of(SessionLimit::EvictOldest(1)), of(SessionLimit::Reject(1)));
    let open = async |user| sessions.create(user, Patch::new()).await.map(Option::unwrap);
    let first = open("u1").await.unwrap();
    let second = open("u1").await.unwrap();
    assert!(strict.create("u1", Patch::new()).await.unwrap().is_none());
    store.is_down(true);
    open("u1").await.unwrap_err();
    store.is_down(false);
    assert!(sessions.load(&second.token).await.unwrap().is_none());
    let third = open("u1").await.unwrap();
    assert!(sessions.load(&third.token).await.unwrap().is_some());
    assert!(sessions.authenticate(&third.token.reveal()).await.unwrap().is_some());
    assert!(sessions.authenticate(&first.token.reveal()).await.unwrap().is_none());
    assert!(sessions.authenticate("nonsense").await.unwrap().is_none());
    assert_eq!(sessions.destroy(&third.token).await.unwrap(), DestroyOutcome::Destroyed);
    open("u1").await.unwrap();
    assert_eq!(sessions.destroy_all("u1", None).await.unwrap().len(), 1);
    stores.close(seconds(1)).await.unwrap();
    sessions.load(&first.token).await.unwrap_err();
    sessions.authenticate(&first.token.reveal()).await.unwrap_err();
}

/// An outbox that is full before anything can be published, and a session that times out.
pub(crate) async fn session_events() {
    let (backend, clock) = manual();
    let stores = backend.stores().service("auth").unwrap();
    let faults = Faults::new(stores.environment());
    let builder = stores.layer(faults.clone()).sessions().idle_timeout(minutes(1)).publishing();
    let sessions = builder.reap_every(seconds(10)).build().unwrap();
    faults.plan("event.publish", u32::MAX, Fault::Fail(down(Effect::NotApplied))).unwrap();
    let open = async || sessions.create("u1", Patch::new()).await.unwrap().unwrap();
    for _ in 0..5_001 {
        assert_eq!(sessions.destroy(&open().await.token).await.unwrap(), DestroyOutcome::Destroyed);
    }
    for outage in [true, false] {
        for _ in 0..8 {
            settle().await;
            clock.advance(seconds(10));
        }
        if outage {
            faults.clear();
        }
    }
    open().await;
    for _ in 0..12 {
        settle().await;
        clock.advance(seconds(10));
    }
    stores.close(seconds(1)).await.unwrap();
}

pub(crate) async fn locks() {
    let (backend, clock) = manual();
    let stores = backend.stores();
    let locker = Faulty::over(stores.locker().unwrap());
    let locks = Locks::new(locker.clone(), stores.environment().clone());
    let guard = locks.acquire("job").await.unwrap();
    assert!(locks.try_acquire("job").await.unwrap().is_none());
    let left = tokio::spawn(locks.acquire("job").attempt());
    settle().await;
    left.abort();
    settle().await;
    guard.release().await.unwrap();

    locker.is_down(true);
    locks.try_acquire("job").await.unwrap_err();
    locker.is_down(false);

    let guard = locks.acquire("job").lease(seconds(30)).await.unwrap();
    locker.is_down(true);
    clock.advance(seconds(10));
    settle().await;
    guard.release().await.unwrap_err();
    locker.is_down(false);

    let guard = locks.acquire("other").lease(seconds(30)).await.unwrap();
    clock.advance(seconds(31));
    guard.lost().await;
}

#[derive(Debug, Serialize, Deserialize)]
struct Happened {
    number: u32,
}

impl Event for Happened {
    const TYPE: &'static str = "test.happened";
}

pub(crate) async fn events() {
    let (backend, _) = manual();
    let topic = backend.stores().topic::<Happened>().unwrap();
    let mut events = topic.subscribe_with(1).await.unwrap();
    for number in 0..2 {
        topic.publish(&Happened { number }).await.unwrap();
    }
    assert!(matches!(events.next().await, Some(Delivery::Lagged(1))));
    assert!(matches!(events.next().await, Some(Delivery::Event { .. })));
    events.close();

    let bus = Scripted::like(&*backend.stores().event_bus().unwrap());
    let environment = backend.stores().environment().clone();
    let topic: Topic<Happened> = Topic::new(bus.clone(), environment, "service").unwrap();
    let mut events = topic.subscribe().await.unwrap();
    let sender = bus.senders.lock().unwrap().pop().unwrap();
    sender.send(Received::Reconnected);
    sender.send(Received::Malformed(down(Effect::Unknown)));
    assert!(matches!(events.next().await, Some(Delivery::Reconnected)));
    assert!(matches!(events.next().await, Some(Delivery::Malformed(_))));
    topic.publish(&Happened { number: 3 }).await.unwrap_err();
}

pub(crate) async fn limits() {
    let (backend, clock) = manual();
    let stores = backend.stores();
    let limits = stores.limits("login").per_minute(2).build().unwrap();
    assert!(limits.check_cost("u1", 2).await.unwrap().is_allowed());
    assert!(matches!(limits.check("u1").await.unwrap(), Decision::Denied { .. }));
    let decision = limits.check_cost("u1", 3).await.unwrap();
    assert!(matches!(decision, Decision::CostExceedsCapacity { .. }));
    places(&stores, &clock).await;
    stores.close(seconds(1)).await.unwrap();
    limits.check("u1").await.unwrap_err();
}

/// Places that can't be given back: the error stays, the lease is over, and too many wait.
async fn places(stores: &Stores, clock: &ManualClock) {
    let faults = Faults::new(stores.environment());
    let stores = stores.layer(faults.clone());
    let enter = async |lease: u64, count: u32| {
        let places = stores.in_flight("login", 2_000).lease(Duration::from_millis(lease)).build().unwrap();
        let mut guards = Vec::new();
        for _ in 0..count {
            guards.push(places.enter("u1").await.unwrap().guard().unwrap());
        }
        guards
    };
    for (lease, count, kind) in [
        (1_000, 1, ErrorKind::Denied),
        (10, 1, ErrorKind::Unavailable),
        (1_000, 1_025, ErrorKind::Unavailable),
    ] {
        let guards = enter(lease, count).await;
        faults.plan("limit.give_back", count, Fault::Fail(Error::new(kind, "down"))).unwrap();
        drop(guards);
        settle_all().await;
        // Those that wait are given back.
        clock.advance(seconds(1));
        settle_all().await;
    }
}

/// Of very many tasks.
async fn settle_all() {
    for _ in 0..100 {
        settle().await;
    }
}

/// A call of every area, one of which fails first.
pub(crate) async fn layers() {
    let (backend, clock) = manual();
    let stores = backend.stores().service("auth").unwrap();
    let environment = stores.environment().clone();
    let faults = Faults::new(&environment);
    let stores = stores.layer(faults.clone()).layer(Retry::new(&environment));
    let stores = stores.layer(Metrics::new(&environment)).layer(Trace::new());
    let cache: Cache<u32> = stores.cache("n").build().unwrap();
    cache.set(1, &1).await.unwrap();
    let sessions = stores.sessions().build().unwrap();
    sessions.create("u1", Patch::new()).await.unwrap();
    stores.topic::<Happened>().unwrap().publish(&Happened { number: 1 }).await.unwrap();
    stores.locks().unwrap().try_acquire("job").await.unwrap();
    stores.tokens().build().unwrap().revoke_user("u1").await.unwrap();
    faults.plan("limit.peek", 1, Fault::Fail(down(Effect::NotApplied))).unwrap();
    let limits = stores.limits("login").per_minute(2).build().unwrap();
    let peeking = tokio::spawn(async move { limits.peek("u1").await });
    settle().await;
    clock.advance(seconds(1));
    peeking.await.unwrap().unwrap();
}

async fn refresh_tokens(tokens: &Tokens, store: &Faulty<dyn TokenStore>) {
    let first = tokens.issue_pair("u3", IssueOptions::new()).await.unwrap().refresh.reveal();
    let second = tokens.refresh(&first).await.unwrap().pair().unwrap().refresh.reveal();
    assert!(matches!(tokens.refresh(&first).await.unwrap(), Refreshed::Repeated(_)));
    store.is_down(true);
    tokens.refresh(&second).await.unwrap_err();
    store.is_down(false);
    tokens.refresh(&second).await.unwrap().pair().unwrap();
    assert!(matches!(tokens.refresh(&first).await.unwrap(), Refreshed::Reused(_)));
    assert!(matches!(tokens.refresh(&first).await.unwrap(), Refreshed::Gone));
    let other = tokens.issue_pair("u3", IssueOptions::new()).await.unwrap().refresh.reveal();
    tokens.revoke_user("u3").await.unwrap();
    assert!(matches!(tokens.refresh(&other).await.unwrap(), Refreshed::Revoked(_)));
}

pub(crate) async fn tokens() {
    let (backend, clock) = manual();
    let stores = backend.stores().service("auth").unwrap();
    let key = JwtKey::hs256("k", &[7; 32]).unwrap();
    let store = Faulty::over(stores.token_store().unwrap());
    let tokens = stanchion::token::TokensBuilder::new(
        store.clone(),
        stores.environment().clone(),
        stores.service_name().clone(),
    );
    let tokens = tokens.key(key).refreshing(RefreshPolicy::new()).build().unwrap();
    refresh_tokens(&tokens, &store).await;
    let issued = tokens.issue("u1", IssueOptions::new()).await.unwrap();
    tokens.verify(&issued.token).await.unwrap();
    tokens.verify("nonsense").await.unwrap_err();
    let facts =
        TokenFacts::new("j1", vec![(Scope::User("u2".into()), Mark::IssuedAt(Timestamp::from_secs(1)))]);
    assert_eq!(tokens.check(&facts).await.unwrap(), Verdict::Active);

    store.is_down(true);
    tokens.verify(&issued.token).await.unwrap_err();
    tokens.check(&facts).await.unwrap_err();
    store.is_down(false);

    tokens.revoke_user("u2").await.unwrap();
    assert!(matches!(tokens.check(&facts).await.unwrap(), Verdict::Revoked(_)));
    tokens.revoke("j1", Timestamp::from_secs(u64::MAX / 2_000_000)).await.unwrap();
    assert!(matches!(tokens.check(&facts).await.unwrap(), Verdict::Revoked(_)));

    let other = tokens.issue("u1", IssueOptions::new()).await.unwrap();
    tokens.revoke(&other.claims.jti, other.claims.expires_at()).await.unwrap();
    assert!(matches!(tokens.verify(&other.token).await, Err(VerifyError::Revoked(_))));
    for scope in [Scope::Client("c".into()), Scope::Session("s".into()), Scope::Service] {
        tokens.revoke_scope(&scope).await.unwrap();
    }
    assert!(matches!(tokens.verify(&issued.token).await, Err(VerifyError::Revoked(_))));
    clock.advance(hours(2));
    assert!(matches!(tokens.verify(&issued.token).await, Err(VerifyError::Expired)));
}
