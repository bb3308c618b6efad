//! Real servers under test, and the faults they are put through.
//!
//! - [`RedisServer::find`] looks for a Redis in a fixed order: an address from the environment, a container, a
//!   process of its own; [`Absent`] says what was looked for, and whether that turns the run red;
//! - [`RedisProcess`], [`Cluster`] and [`Sentinel`] are servers that a test owns: it may kill, pause and restart
//!   them, and have a replica take a master's place;
//! - [`Proxy`] stands in front of a server and loses replies, refuses connections or goes silent;
//! - [`ThrottledLink`] stands in front of a server and is slow;
//! - [`Scripted`] is no Redis at all: it answers with the reply that a test names.
//!
//! Everything listens on 127.0.0.1 only, and whatever is started here is ended with its owner: when it is
//! dropped, when a test panics, and also when the test process is killed.

mod cluster;
mod container;
mod find;
mod link;
mod port;
mod process;
mod proxy;
mod relay;
mod replication;
mod resp;
mod scripted;
mod sentinel;
mod throttled;
mod tls;
mod traffic;
mod wait;
mod watcher;

use std::fmt;

pub use self::cluster::{Cluster, ClusterSetup};
pub use self::container::RedisContainer;
pub use self::find::{Absent, RedisServer, Require, Search, Topology};
pub use self::link::Link;
pub use self::process::RedisProcess;
pub use self::proxy::Proxy;
pub use self::resp::Reply;
pub use self::scripted::Scripted;
pub use self::sentinel::{Sentinel, SentinelSetup};
pub use self::throttled::ThrottledLink;
pub use self::tls::TlsFiles;
pub use self::wait::until;

/// A server could not be started, reached or told what to do. Says what was tried and what came back.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct ServerError {
    message: String,
}

impl ServerError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }

    /// For `map_err`: what was tried, then why it failed.
    pub(crate) fn of<E: fmt::Display>(tried: impl fmt::Display) -> impl FnOnce(E) -> Self {
        move |why| Self::new(format!("{tried}: {why}"))
    }
}
