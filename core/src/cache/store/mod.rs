//! The contract of a cache backend. Nothing here knows a façade.

mod capability;
mod counters;
mod feed;
mod leases;
mod options;
mod tags;
mod values;

pub use self::capability::{CacheCapabilities, CacheParts};
pub use self::counters::CacheCounters;
pub use self::feed::{CacheFeed, Watch, Watcher};
pub use self::leases::{CacheLeases, Fetched, Fill, FillOutcome, LeaseRequest, LeaseToken, Want};
pub use self::options::{SetEntry, SetOptions, SetOutcome, When};
pub use self::tags::{CacheTags, Generation, Tag};
pub use self::values::CacheStore;
