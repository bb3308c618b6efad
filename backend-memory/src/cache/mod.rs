//! Cached values.

mod recency;
mod state;
mod store;

pub(crate) use self::state::State;
pub(crate) use self::store::MemoryCache;
