//! The contract of a cache backend. Nothing here knows a façade.

#[cfg(feature = "test-util")]
mod all_parts;
mod capability;
mod counters;
mod feed;
mod leases;
mod options;
mod shard;
mod tags;
mod values;

#[cfg(feature = "test-util")]
pub use self::all_parts::AllParts;
pub use self::capability::{CacheCapabilities, CacheParts};
pub use self::counters::CacheCounters;
pub use self::feed::{CacheFeed, Watch, Watcher};
pub use self::leases::{CacheLeases, Fetched, Fill, FillOutcome, LeaseRequest, LeaseToken, Release, Want};
pub use self::options::{SetEntry, SetOptions, SetOutcome, When};
pub use self::shard::Shard;
pub(super) use self::shard::ShardSet;
pub use self::tags::{CacheTags, Generation, Tag};
pub use self::values::CacheStore;
