//! The near cache: decoded values in this process, in front of the store, and what keeps them coherent.
//!
//! An entry is published only if no invalidation of it was received since its value was read from the store ([`Fence`]),
//! and is read only while the feed of the shard that it was read from is up, and that of the generations ([`NearCache`]). The listeners pass invalidations on.

mod cache;
mod echo;
mod engine;
mod epoch;
mod fence;
mod generations;
mod listener;
mod local;
mod namespace;

pub(super) use self::cache::{Feed, NearCache};
pub(super) use self::engine::{Due, More};
pub use self::engine::{NearEngine, NearEntry, NearValue};
pub(super) use self::fence::{Fence, Snapshot};
pub(super) use self::generations::Dated;
pub(crate) use self::generations::GenerationCache;
pub(super) use self::listener::{Dependents, InvalidationListener};
pub(super) use self::local::{LocalClear, LocalFill, LocalInvalidation, LocalWrite};
pub(super) use self::namespace::NamespaceListener;
