//! Every store of [`stanchion`] on Redis: standalone, under Sentinel, or a Cluster.
//!
//! ```no_run
//! use stanchion::prelude::*;
//! use stanchion_redis::{RedisBackend, RedisConfig};
//!
//! #[tokio::main]
//! async fn main() -> stanchion::Result<()> {
//!     let stores = RedisBackend::connect("redis://localhost").await?.stores();
//!     stores.close(seconds(5)).await?;
//!
//!     // Or with settings, on a Cluster:
//!     let config = RedisConfig::cluster(["redis://10.0.0.1", "redis://10.0.0.2"])?.prefix("staging")?;
//!     let stores = RedisBackend::connect(config).await?.stores();
//!     stores.close(seconds(5)).await
//! }
//! ```
//!
//! # Connections
//! One multiplexed connection per master carries all commands, and one more all subscriptions. Once a cache is built that is not
//! plain or has a near cache, one more per master carries invalidations. There is no pool. Each connection has a heartbeat, and
//! reconnects for ever with jittered back-off. While it is down, calls fail at once with
//! [`Unavailable`](stanchion::ErrorKind::Unavailable). A command is never sent twice, unless the server has refused it without
//! doing anything (`MOVED`, `ASK`, `TRYAGAIN`, `NOSCRIPT`).
//!
//! A standalone address has to lead to a master: a replica is not connected to, and a master that becomes one is left, with its
//! first `READONLY` or by the next heartbeat. All connections are at the same server: where one has reached another than the
//! rest, the older ones are made anew, near caches read through until then, and health is
//! [`Degraded`](stanchion::environment::Health::Degraded).
//!
//! Where [sentinels](RedisConfig::sentinel) watch over the master they are asked for its address at each connect, and one more
//! connection listens to one of them, so that connections move as soon as the master is replaced.
//!
//! Requests of all kinds that are made at the same time share writes; under load, reads of single cached values share commands
//! as well.
//!
//! # TLS
//! With the feature `tls`, for URLs that begin with `rediss://`, `rediss+cluster://` or `rediss+sentinel://`: rustls, which trusts the roots of web
//! browsers, or those of `RedisConfig::root_certificate`. Certificates in files are read for each connection. It takes the cryptography that the process has chosen
//! (`rustls::crypto::CryptoProvider`), or *ring* where none was chosen.
//!
//! # Settings and credentials
//! [`RedisConfig`] has a table of settings, their defaults and bounds; they come from code, a URL, the environment
//! ([`RedisConfig::from_env`]), or a file, with the feature `serde`. Credentials that change come from a [`CredentialsProvider`], which
//! is asked for each connection, and connections that live are authenticated anew before those end.
//!
//! # Servers
//! Meant for Redis from 6.2 and for Valkey from 7.2, in RESP3. The conformance suite has passed on Redis 6.2,
//! 7.0 and 8.2, and on Valkey 8.1 and 9.1. What is stored is specified in [`stanchion::guide::wire_format`]. How to deploy: [`stanchion::guide::redis`].

#![cfg_attr(docsrs, feature(doc_cfg))]

mod backend;
mod cache;
mod command;
mod config;
mod connect;
mod copies;
mod credentials;
mod error;
mod event;
mod feed;
mod keys;
mod limit;
mod lock;
mod meta;
mod reply;
mod scripts;
mod session;
mod shared;
#[cfg(feature = "tls")]
mod tls;
mod token;

/// The README's example is compiled as a doc test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use self::backend::RedisBackend;
pub use self::config::{IntoRedisConfig, Invalidation, RedisConfig};
pub use self::credentials::{Credentials, CredentialsProvider};
