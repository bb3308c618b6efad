//! The near cache: decoded values in this process, in front of the store.

mod cache;
mod engine;
mod fence;

pub(super) use self::cache::{Feed, Near};
pub(in crate::cache) use self::engine::{Due, More};
pub use self::engine::{NearEngine, NearEntry, NearValue};
pub(super) use self::fence::{Fence, Snapshot};
