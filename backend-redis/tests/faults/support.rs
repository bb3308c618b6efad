//! What the cases share.

#[macro_use]
#[path = "../support/mod.rs"]
mod shared;

#[path = "../support/calls.rs"]
mod calls;

use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use stanchion::cache::{SetEntry, SetOptions, Shard, Watcher};
use stanchion::key::Key;
use stanchion::time::Ttl;
use stanchion::{Effect, Error, ErrorKind};
use stanchion_conformance::servers::RedisProcess;
use stanchion_redis::RedisConfig;

pub(crate) use self::calls::{TIMEOUT, becomes, connect, eventually, refused, send, soon};
pub(crate) use self::shared::{case, completed};

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

/// A connection of the test itself, for words that are no text.
pub(crate) async fn raw(server: &RedisProcess) -> MultiplexedConnection {
    redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap()
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
