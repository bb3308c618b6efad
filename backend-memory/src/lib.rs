//! Every store of [`stanchion`] in memory: for unit tests, and for a service that runs alone.
//!
//! The same contract as on a server, not an approximation: the conformance suite runs on both. Time is the
//! injected clock, so that an hour's expiry takes a test no time.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> stanchion::Result<()> {
//! use stanchion::prelude::*;
//! use stanchion_memory::MemoryBackend;
//!
//! let backend = MemoryBackend::new();
//! let stores = backend.stores();
//! // A second handle acts as a second process on the same data.
//! let other = backend.handle().stores();
//!
//! stores.cache::<String>("name").build()?.set("u1", &"Ada".to_owned()).await?;
//! let name = other.cache::<String>("name").build()?.get("u1").await?;
//! assert_eq!(name.as_deref().map(String::as_str), Some("Ada"));
//! # Ok(()) }
//! ```

mod backend;
mod cache;
mod config;
mod event;
mod expiring;
mod limit;
mod lock;
mod recency;
mod session;
mod token;

pub use self::backend::MemoryBackend;
pub use self::config::MemoryConfig;
