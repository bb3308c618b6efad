//! What cases do with a service and with its servers. Test binaries take this file by its path.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::time::Duration;

use stanchion::Error;
use stanchion::environment::Health;
use stanchion::stores::Stores;
use stanchion_conformance::servers::{RedisProcess, Reply, until};
use stanchion_redis::{RedisBackend, RedisConfig};

/// How long a case waits for what must come: for machines with much else to do.
pub(crate) const TIMEOUT: Duration = Duration::from_mins(1);

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

/// Calls until there is no error; answers the outcome.
pub(crate) async fn eventually<T, F: Future<Output = Result<T, Error>>>(
    what: &str,
    call: impl FnMut() -> F,
) -> T {
    until(what, TIMEOUT, call).await.unwrap()
}

/// One command of the test itself, which must not be refused.
pub(crate) async fn send(server: &RedisProcess, words: &[&str]) -> Reply {
    let reply = server.command(words).await.unwrap();
    assert!(!reply.is_error(), "{words:?}: {}", reply.text());
    reply
}
