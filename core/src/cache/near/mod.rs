//! The near cache: decoded values in this process, in front of the store.

mod engine;
mod fence;

pub use self::engine::{NearEngine, NearEntry, NearValue};
pub(super) use self::fence::{Fence, Snapshot};
