//! Cached values: plain strings with an expiry, and beside each, while it is being loaded, a lease.

mod commands;
mod groups;
mod quorum;
mod replies;
mod store;
mod verdict;

pub(crate) use self::store::{CacheSettings, RedisCache};
