//! What services call: caches and counters, and how they are built.

mod batch;
mod builder;
mod cache;
mod counters;
mod follow;
mod warm;
mod writer;

pub use self::builder::CacheBuilder;
pub use self::cache::Cache;
pub use self::counters::{Counters, CountersBuilder};
pub use self::warm::{WarmOptions, Warmed};
