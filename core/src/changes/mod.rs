//! Changes of what is stored, for those who keep copies: the feed of them, and the fence that tells whether a copy is still good.

mod feed;
mod fence;

pub use self::feed::{ChangeFeed, ChangeWatcher, ChangedKeys};
pub(crate) use self::fence::{Fence, Seen};
