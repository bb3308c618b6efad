//! Every store of [`stanchion`] in memory: for unit tests, and for a service that runs alone.
//!
//! The same contract as on a server, not an approximation: the conformance suite runs on both. Time is the
//! injected clock, so that an hour's expiry takes a test no time. (`ManualClock` is behind stanchion's feature
//! `test-util`.)
//!
//! ```
//! use std::sync::Arc;
//!
//! use stanchion::clock::ManualClock;
//! use stanchion::prelude::*;
//! use stanchion::environment::Environment;
//! use stanchion_memory::{MemoryBackend, MemoryConfig};
//!
//! #[tokio::main]
//! async fn main() -> stanchion::Result<()> {
//!     let clock = ManualClock::new();
//!     let environment = Environment::system().clock(Arc::new(clock.clone()));
//!     let backend = MemoryBackend::with(MemoryConfig::new().environment(environment));
//!     // A second handle acts as a second process on the same data.
//!     let (here, there) = (backend.stores(), backend.handle().stores());
//!
//!     here.cache::<String>("name").ttl(hours(1)).build()?.set("u1", &"Ada".to_owned()).await?;
//!     let names = there.cache::<String>("name").build()?;
//!     assert_eq!(names.get("u1").await?.as_deref().map(String::as_str), Some("Ada"));
//!     clock.advance(hours(1));
//!     assert!(names.get("u1").await?.is_none());
//!     Ok(())
//! }
//! ```
//!
//! Expired entries are cleared away a few at a time, with each operation, so that memory follows what is live. Nothing is
//! written to disk: the data is gone with the last handle and the last store made from one.

#![cfg_attr(docsrs, feature(doc_cfg))]

/// The README's example is compiled and run as a doc test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod backend;
mod cache;
mod config;
mod event;
mod expiring;
mod limit;
mod lock;
#[cfg(any(feature = "moka", feature = "quick"))]
mod near;
mod session;
mod shared;
mod token;
mod watchers;

pub use self::backend::MemoryBackend;
pub use self::config::MemoryConfig;
#[cfg(feature = "quick")]
pub use self::near::QuickNear;
#[cfg(feature = "moka")]
pub use self::near::{MokaEviction, MokaNear};
