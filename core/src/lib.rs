//! Shared state for services, behind traits: cache, sessions, events, locks, rate limits, token revocation.
//!
//! A service programs against this crate and never sees a client of any server. A backend crate supplies the
//! stores: `stanchion-memory` for unit tests, `stanchion-redis` for production. Swapping them is one line.
//!
//! ```
//! use stanchion::prelude::*;
//! use stanchion_memory::MemoryBackend;
//!
//! async fn load_user() -> std::io::Result<String> {
//!     Ok("Ada".to_owned())
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let stores = MemoryBackend::new().stores();
//!     // let stores = stanchion_redis::RedisBackend::connect("redis://localhost").await?.stores();
//!     let users = stores.cache::<String>("user").ttl(minutes(10)).build()?;
//!     let user = users.get_or_load("u123", load_user).await?;
//!     let _guard = stores.locks()?.acquire("nightly-report").await?;
//!     assert_eq!(*user, "Ada");
//!     Ok(())
//! }
//! ```
//!
//! Two layers: the **store traits** ([`cache::CacheStore`], [`session::SessionStore`], [`event::EventBus`],
//! [`lock::Locker`], [`limit::RateLimiter`], [`token::TokenStore`]) are what a backend implements, over bytes
//! and plain records, few methods, each with a contract in prose that the conformance suite holds it to. The
//! **façades** ([`cache::Cache`], [`session::Sessions`], [`event::Topic`], [`lock::Locks`],
//! [`limit::Limits`], [`token::Tokens`]) are what services call.
//!
//! Rules that hold everywhere:
//! - a lost race is data (`Ok(Conflict)`, `Ok(Busy)`), an [`Error`] means that there is no result;
//! - an error says whether the change may have happened: [`Error::effect`];
//! - one state change is one atomic step, by the store's clock, with an expiry;
//! - dropping any future leaks nothing; every async method says so under *Cancel safety*.
//!
//! Where to go on: the [guide], with a page per area; [`prelude`], what most services need.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod attempts;
pub mod cache;
pub mod changes;
pub mod clock;
pub mod codec;
pub mod contract;
mod copies;
#[cfg(feature = "encryption")]
pub mod encryption;
pub mod environment;
pub mod error;
pub mod event;
pub mod guide;
pub mod key;
pub mod layer;
pub mod limit;
pub mod lock;
pub mod prelude;
pub mod random;
pub mod session;
pub mod stores;
pub mod telemetry;
pub mod time;
pub mod token;

pub use self::error::{Effect, Error, ErrorKind, Result};

/// The README's example is compiled and run as a doc test, as those of the guide are.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
