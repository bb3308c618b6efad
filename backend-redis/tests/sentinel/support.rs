//! What the cases share.

#[macro_use]
#[path = "../support/mod.rs"]
mod shared;

#[path = "../support/calls.rs"]
mod calls;

use std::time::Duration;

use stanchion::Error;
use stanchion_conformance::servers::{RedisProcess, Sentinel, until};
use stanchion_redis::RedisConfig;

pub(crate) use self::calls::{TIMEOUT, becomes, connect, refused, send};
pub(crate) use self::shared::case;

/// With the deadlines that a service has unless it sets others.
pub(crate) fn config(sentinel: &Sentinel) -> RedisConfig {
    named(sentinel.name(), &sentinel.urls())
}

pub(crate) fn named(name: &str, urls: &[String]) -> RedisConfig {
    RedisConfig::sentinel(name, urls.iter().map(String::as_str)).unwrap()
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
