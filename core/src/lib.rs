//! Shared state for services, behind traits: cache, sessions, events, locks, rate limits, token revocation.
//!
//! A service programs against this crate and never sees a client of any server. A backend crate supplies the
//! stores: `stanchion-memory` for unit tests, `stanchion-redis` for production. Swapping them is one line.
//!
//! ```
//! use stanchion::prelude::*;
//! use stanchion_memory::MemoryBackend;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let stores = MemoryBackend::new().stores();
//! // let stores = stanchion_redis::RedisBackend::connect("redis://localhost").await?.stores();
//! let users = stores.cache::<String>("user").ttl(minutes(10)).build()?;
//! let user = users.get_or_load("u123", || async { Ok::<_, std::io::Error>("Ada".to_owned()) }).await?;
//! let _once = stores.locks()?.acquire("nightly-report").await?;
//! assert_eq!(*user, "Ada");
//! # Ok(()) }
//! ```
//!
//! Two layers: the **store traits** ([`cache::CacheStore`], [`session::SessionStore`], [`event::EventBus`],
//! [`lock::Locker`], [`limit::RateLimiter`], [`token::TokenStore`]) are what a backend implements, over bytes
//! and plain records, few methods, each with a contract in prose that the conformance suite holds it to. The
//! **façades** ([`cache::Cache`], [`session::Sessions`], [`event::Topic`], [`lock::Locks`],
//! [`limit::Limits`], [`token::Tokens`]) are what services call.
//!
//! Rules that hold everywhere:
//! - a lost race is data (`Ok(Conflict)`, `Ok(Busy)`), an [`Error`] means that the question was not answered;
//! - an error says whether the change happened all the same: [`Error::effect`];
//! - one state change is one atomic step, by the store's clock, with an expiry;
//! - dropping any future leaks nothing; every async method says so under *Cancel safety*.

pub mod cache;
pub mod clock;
pub mod codec;
pub mod contract;
pub mod environment;
pub mod error;
pub mod event;
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

/// The guide's and the README's examples are compiled and run as doc tests.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../README.md")]
    struct Readme;
    #[doc = include_str!("../docs/guide/getting-started.md")]
    struct GettingStarted;
    #[doc = include_str!("../docs/guide/cache.md")]
    struct Caching;
    #[cfg(feature = "jwt")]
    #[doc = include_str!("../docs/guide/sessions.md")]
    struct Sessions;
    #[doc = include_str!("../docs/guide/events.md")]
    struct Events;
    #[doc = include_str!("../docs/guide/coordination.md")]
    struct Coordination;
}
