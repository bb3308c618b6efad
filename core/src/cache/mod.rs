//! Cached values: [`CacheStore`] for backends, [`Cache`] and [`Counters`] for services.
//!
//! A cache entry may vanish at any time; nothing but speed is lost with it.
//
// A key's way in: facade (what is called) -> load (single flight, lease, loader) -> read (one look at the entry) -> near
// (the copy in this process) and wire (the stored form) -> store (the backend's contract), and back.

mod facade;
mod keyspace;
mod load;
mod near;
mod policy;
mod read;
mod stats;
mod store;
mod wire;

pub use self::facade::{Cache, CacheBuilder, Counters, CountersBuilder, WarmOptions, Warmed};
pub use self::load::{Found, Freshness, LoadError, Loaded, Served, SharedFailure, StaleReason};
pub(crate) use self::near::GenerationCache;
pub use self::near::{NearEngine, NearEntry, NearValue};
pub use self::policy::Eager;
pub use self::stats::CacheStats;
#[cfg(feature = "test-util")]
pub use self::store::AllParts;
pub use self::store::{
    CacheCapabilities, CacheCounters, CacheFeed, CacheLeases, CacheParts, CacheStore, CacheTags, Fetched,
    Fill, FillOutcome, Generation, LeaseRequest, LeaseToken, Release, SetEntry, SetOptions, SetOutcome,
    Shard, Tag, Want, Watch, Watcher, When,
};
#[cfg(feature = "compression")]
pub use self::wire::Compression;
pub use self::wire::schema_of;
#[cfg(feature = "encryption")]
pub use self::wire::{EncryptionKey, Keyring};
