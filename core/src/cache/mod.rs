//! Cached values: [`CacheStore`] for backends, [`Cache`] and [`Counters`] for services.
//!
//! A cache entry may vanish at any time; nothing but speed is lost with it.

mod capability;
mod counters;
mod facade;
mod flight;
mod lease;
mod near;
mod options;
mod stats;
mod store;
mod tag;
mod watch;
mod wire;

pub use self::capability::CacheCapabilities;
pub use self::counters::{Counters, CountersBuilder};
pub use self::facade::{Cache, CacheBuilder};
pub use self::flight::LoadError;
pub use self::lease::{Fetched, Fill, FillOutcome, LeaseRequest, LeaseToken, Want};
pub use self::near::{NearEngine, NearEntry, NearValue};
pub use self::options::{SetEntry, SetOptions, SetOutcome, When};
pub use self::stats::CacheStats;
pub use self::store::CacheStore;
pub use self::tag::{Generation, Tag};
pub use self::watch::{Watch, Watcher};
pub use self::wire::schema_of;
