//! Cached values: [`CacheStore`] for backends, [`Cache`] and [`Counters`] for services.
//!
//! A cache entry may vanish at any time; nothing but speed is lost with it.

mod batch;
mod breaker;
mod builder;
mod capability;
mod counters;
mod facade;
mod flight;
mod inner;
mod judge;
mod lease;
mod lease_guard;
mod load;
mod loaded;
mod mirror;
mod near;
mod options;
mod policy;
mod stats;
mod store;
mod tag;
mod told;
mod waiters;
mod warm;
mod watch;
mod wire;
mod wiring;
mod write;

pub use self::builder::CacheBuilder;
pub use self::capability::CacheCapabilities;
pub use self::counters::{Counters, CountersBuilder};
pub use self::facade::Cache;
pub use self::flight::LoadError;
pub use self::lease::{Fetched, Fill, FillOutcome, LeaseRequest, LeaseToken, Want};
pub use self::loaded::{Freshness, Loaded, Served, Why};
pub(crate) use self::mirror::Mirror;
pub use self::near::{NearEngine, NearEntry, NearValue};
pub use self::options::{SetEntry, SetOptions, SetOutcome, When};
pub use self::policy::Eager;
pub use self::stats::CacheStats;
pub use self::store::CacheStore;
pub use self::tag::{Generation, Tag};
pub use self::warm::{WarmOptions, Warmed};
pub use self::watch::{Watch, Watcher};
#[cfg(feature = "compression")]
pub use self::wire::Compression;
pub use self::wire::schema_of;
#[cfg(feature = "encryption")]
pub use self::wire::{EncryptionKey, Keyring};
