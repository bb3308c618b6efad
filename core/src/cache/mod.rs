//! Cached values: [`CacheStore`] for backends, [`Cache`] and [`Counters`] for services.
//!
//! A cache entry may vanish at any time; nothing but speed is lost with it.

mod capability;
mod counters;
mod facade;
mod flight;
mod options;
mod stats;
mod store;
mod wire;

pub use self::capability::CacheCapabilities;
pub use self::counters::{Counters, CountersBuilder};
pub use self::facade::{Cache, CacheBuilder};
pub use self::flight::LoadError;
pub use self::options::{SetOptions, SetOutcome, When};
pub use self::stats::CacheStats;
pub use self::store::CacheStore;
