//! What the cases share.

use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use stanchion::cache::{SetEntry, SetOptions, Shard, Watcher};
use stanchion::environment::Health;
use stanchion::key::Key;
use stanchion::stores::Stores;
use stanchion::time::Ttl;
use stanchion::{Effect, Error, ErrorKind};
use stanchion_conformance::servers::{RedisProcess, Reply, until};
use stanchion_redis::{RedisBackend, RedisConfig};

/// How long a case waits for what must come: for machines with much else to do.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// A deadline for what is to succeed.
const LONG_DEADLINE: Duration = Duration::from_secs(10);

/// One server, with a deadline that no healthy call comes near.
pub(crate) fn config(url: &str) -> RedisConfig {
    RedisConfig::standalone(url).unwrap().deadline(LONG_DEADLINE).cache_deadline(LONG_DEADLINE)
}

pub(crate) fn cluster_config(urls: &[String]) -> RedisConfig {
    RedisConfig::cluster(urls.iter().map(String::as_str))
        .unwrap()
        .deadline(LONG_DEADLINE)
        .cache_deadline(LONG_DEADLINE)
}

pub(crate) async fn connect(config: RedisConfig) -> Stores {
    RedisBackend::connect(config).await.unwrap().stores()
}

/// The error of connecting with these settings.
pub(crate) async fn refused(config: RedisConfig) -> Error {
    match RedisBackend::connect(config).await {
        Ok(_) => panic!("it connected"),
        Err(error) => error,
    }
}

pub(crate) async fn becomes(stores: &Stores, wanted: Health) {
    let mut health = stores.health();
    let waited = tokio::time::timeout(TIMEOUT, health.wait_for(|health| *health == wanted)).await;
    assert!(waited.is_ok(), "never {wanted:?}, but {:?}", stores.health().current());
}

/// Waits until the condition holds.
pub(crate) async fn soon(what: &str, mut holds: impl FnMut() -> bool) {
    until(what, TIMEOUT, || std::future::ready(if holds() { Ok(()) } else { Err("not yet") })).await.unwrap();
}

pub(crate) fn key(id: &str) -> Key {
    Key::new("cache", "fault", id).unwrap()
}

pub(crate) fn entry(key: &Key, value: impl Into<Bytes>) -> SetEntry {
    SetEntry::new(key.clone(), value.into(), SetOptions::new(hour()))
}

pub(crate) fn hour() -> Ttl {
    Ttl::new(Duration::from_hours(1)).unwrap()
}

/// The error of a call that must fail.
pub(crate) fn failed<T: Debug>(outcome: Result<T, Error>) -> Error {
    outcome.expect_err("it must fail")
}

/// The two things a caller acts on.
pub(crate) fn facts(error: &Error) -> (ErrorKind, Effect) {
    (error.kind(), error.effect())
}

/// One command of the test itself, which must not be refused.
pub(crate) async fn send(server: &RedisProcess, words: &[&str]) -> Reply {
    let reply = server.command(words).await.unwrap();
    assert!(!reply.is_error(), "{words:?}: {}", reply.text());
    reply
}

/// A connection of the test itself, for words that are no text.
pub(crate) async fn raw(server: &RedisProcess) -> MultiplexedConnection {
    redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap()
}

/// Calls until there is no error; answers the outcome.
pub(crate) async fn eventually<T, F: Future<Output = Result<T, Error>>>(
    what: &str,
    call: impl FnMut() -> F,
) -> T {
    until(what, TIMEOUT, call).await.unwrap()
}

/// Counts how often a feed has come up.
#[derive(Debug, Default)]
pub(crate) struct Restored(AtomicUsize);

impl Restored {
    pub(crate) fn times(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Watcher for Restored {
    fn changed(&self, _: &str) {}
    fn lost(&self, _: Shard) {}
    fn restored(&self, _: Shard) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
