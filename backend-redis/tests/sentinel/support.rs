//! What the cases share.

use std::time::Duration;

use stanchion::Error;
use stanchion::environment::Health;
use stanchion::stores::Stores;
use stanchion_conformance::servers::{RedisProcess, Reply, Sentinel, until};
use stanchion_redis::{RedisBackend, RedisConfig};

/// How long a case waits for what must come: for machines with much else to do.
pub(crate) const TIMEOUT: Duration = Duration::from_mins(1);

/// With the deadlines that a service has unless it sets others.
pub(crate) fn config(sentinel: &Sentinel) -> RedisConfig {
    named(sentinel.name(), &sentinel.urls())
}

pub(crate) fn named(name: &str, urls: &[String]) -> RedisConfig {
    RedisConfig::sentinel(name, urls.iter().map(String::as_str)).unwrap()
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

/// One command of the test itself, which must not be refused.
pub(crate) async fn send(server: &RedisProcess, words: &[&str]) -> Reply {
    let reply = server.command(words).await.unwrap();
    assert!(!reply.is_error(), "{words:?}: {}", reply.text());
    reply
}

/// The connections of services to this server, by what they are for.
pub(crate) async fn connections(server: &RedisProcess) -> Vec<String> {
    let list = send(server, &["CLIENT", "LIST"]).await.text();
    let names = list
        .lines()
        .filter_map(|line| line.split(' ').find_map(|field| field.strip_prefix("name=stanchion:")));
    let mut names: Vec<_> = names.map(ToOwned::to_owned).collect();
    names.sort();
    names
}

/// Calls until there is no error; answers the outcome.
pub(crate) async fn eventually<T, F: Future<Output = Result<T, Error>>>(
    what: &str,
    limit: Duration,
    call: impl FnMut() -> F,
) -> T {
    until(what, limit, call).await.unwrap()
}
