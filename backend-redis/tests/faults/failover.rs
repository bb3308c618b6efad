//! A master becomes a replica, and its address leads to another master.

use std::time::Duration;

use stanchion::cache::{AllParts as _, SetOptions};
use stanchion::environment::Health;
use stanchion::random::SystemRandom;
use stanchion::session::{HashingKey, NewSession, SessionLimit, SessionToken};
use stanchion::token::Verdict;
use stanchion::{Effect, ErrorKind};
use stanchion_conformance::servers::until;

use crate::operations::{ALL, service, token, value};
use crate::pair::Pair;
use crate::support::{
    TIMEOUT, becomes, config, connect, eventually, facts, failed, hour, key, refused, send,
};

/// No heartbeat comes in the time of a case.
const NEVER: Duration = Duration::from_hours(1);

pub(crate) async fn a_refused_write_is_enough_to_follow_it() {
    let pair = Pair::start().await;
    let stores = connect(config(&pair.proxy.url()).ping_every(NEVER)).await;
    let cache = stores.cache_store().unwrap();
    let _ = cache.set(&key("before"), value(), &SetOptions::new(hour())).await.unwrap();
    pair.in_sync().await;
    let port = pair.b.addr().port().to_string();
    pair.proxy.forward_to(pair.b.addr());
    send(&pair.a, &["FAILOVER", "TO", "127.0.0.1", &port]).await;
    let counter = key("n");
    eventually("a write", || cache.add(&counter, 1, hour())).await;
    assert_eq!(send(&pair.b, &["GET", "cache:fault:n"]).await.text(), "1");
    becomes(&stores, Health::Up).await;
    for operation in ALL {
        let answer = (operation.run)(&stores).await;
        assert!(answer.is_ok(), "{}: {}", operation.name, answer.unwrap_err());
    }
    assert!(cache.get(&key("before")).await.unwrap().is_some());
}

/// What is read from a demoted master that can't sync with the new one is as old as the failover.
pub(crate) async fn a_demoted_master_is_not_read_from() {
    let pair = Pair::start().await;
    let stores = connect(config(&pair.proxy.url()).ping_every(Duration::from_millis(50))).await;
    let (sessions, tokens) = (stores.session_store().unwrap(), stores.token_store().unwrap());
    let id = HashingKey::unkeyed().session_id(&SessionToken::generate("u1", &SystemRandom).unwrap());
    let new = NewSession::new(id.clone(), "u1", hour(), hour(), SessionLimit::Reject(9));
    let _ = sessions.create(&service(), new).await.unwrap();
    assert_eq!(tokens.check(&service(), &token()).await.unwrap(), Verdict::Active);
    pair.in_sync().await;
    pair.proxy.forward_to(pair.b.addr());
    pair.swap_apart().await;
    let other = connect(config(&pair.b.url())).await;
    other.token_store().unwrap().revoke(&service(), "j1", hour()).await.unwrap();
    other.session_store().unwrap().destroy(&service(), &id).await.unwrap();
    // Only reads: no reply says that it is a replica.
    until("the revocation", TIMEOUT, || async {
        match tokens.check(&service(), &token()).await {
            Ok(Verdict::Active) => Err("active".to_owned()),
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    })
    .await
    .unwrap();
    let service = service();
    assert!(eventually("a session", || sessions.load(&service, &id)).await.is_none());
    becomes(&stores, Health::Up).await;
}

/// Nothing is read from it, at the first connection either.
pub(crate) async fn a_replica_is_not_connected_to() {
    let pair = Pair::start().await;
    let error = refused(config(&pair.b.url()).connect_attempts(2)).await;
    assert_eq!(facts(&error), (ErrorKind::Unavailable, Effect::NotApplied), "{error}");
    let says = format!("{} is a replica", pair.b.addr());
    assert!(error.to_string().contains(&says) && error.to_string().contains("2 attempts"), "{error}");
    // Once it is a master, it is.
    let connecting = tokio::spawn(connect(config(&pair.b.url()).connect_attempts(1_000)));
    send(&pair.b, &["REPLICAOF", "NO", "ONE"]).await;
    becomes(&connecting.await.unwrap(), Health::Up).await;
}

/// The server goes on, as a replica, and nothing else is at its address: calls fail, and what they say is true.
pub(crate) async fn without_a_master_calls_fail_until_there_is_one() {
    let pair = Pair::start().await;
    let stores = connect(config(&pair.proxy.url()).ping_every(Duration::from_millis(50))).await;
    let cache = stores.cache_store().unwrap();
    pair.swap_apart().await;
    becomes(&stores, Health::Down).await;
    let error = failed(cache.get(&key("a")).await);
    assert_eq!(facts(&error), (ErrorKind::Unavailable, Effect::NotApplied), "{error}");
    pair.proxy.forward_to(pair.b.addr());
    becomes(&stores, Health::Up).await;
    cache.add(&key("n"), 1, hour()).await.unwrap();
}
