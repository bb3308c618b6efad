//! Cached values: [`CacheStore`] for backends, [`Cache`] and [`Counters`] for services.
//!
//! A cache entry may vanish at any time; nothing but speed is lost with it.

mod batch;
mod breaker;
mod builder;
mod counters;
mod facade;
mod flight;
mod inner;
mod judge;
mod lease_guard;
mod load;
mod loaded;
mod mirror;
mod near;
mod policy;
mod stats;
mod store;
mod told;
mod waiters;
mod warm;
mod wire;
mod wiring;
mod write;

pub use self::builder::CacheBuilder;
pub use self::counters::{Counters, CountersBuilder};
pub use self::facade::Cache;
pub use self::flight::LoadError;
pub use self::loaded::{Freshness, Loaded, Served, StaleReason};
pub(crate) use self::mirror::Mirror;
pub use self::near::{NearEngine, NearEntry, NearValue};
pub use self::policy::Eager;
pub use self::stats::CacheStats;
pub use self::store::{
    CacheCapabilities, CacheCounters, CacheFeed, CacheLeases, CacheParts, CacheStore, CacheTags, Fetched,
    Fill, FillOutcome, Generation, LeaseRequest, LeaseToken, SetEntry, SetOptions, SetOutcome, Tag, Want,
    Watch, Watcher, When,
};
pub use self::warm::{WarmOptions, Warmed};
#[cfg(feature = "compression")]
pub use self::wire::Compression;
pub use self::wire::schema_of;
#[cfg(feature = "encryption")]
pub use self::wire::{EncryptionKey, Keyring};
