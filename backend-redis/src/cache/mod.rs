//! Cached values: plain strings with an expiry, and beside each, while it is being loaded, a lease.

mod commands;
mod replies;
mod store;

pub(crate) use self::store::{CacheSettings, RedisCache};
