//! The near cache: decoded values in this process, in front of the store, and what keeps them coherent.
//!
//! An entry is published only if no invalidation of it was received since its value was read from the store ([`Fence`]),
//! and is read only while both feeds are up ([`NearCache`]). The listeners pass invalidations on.

mod cache;
mod echo;
mod engine;
mod fence;
mod generations;
mod listener;
mod local;

pub(super) use self::cache::{Feed, NearCache};
pub(super) use self::engine::{Due, More};
pub use self::engine::{NearEngine, NearEntry, NearValue};
pub(super) use self::fence::{Fence, Snapshot};
pub(crate) use self::generations::GenerationCache;
pub(super) use self::listener::{Dependents, InvalidationListener, NamespaceListener};
pub(super) use self::local::{LocalClear, LocalFill, LocalWrite};
