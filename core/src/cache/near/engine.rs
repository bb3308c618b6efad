//! What holds the entries of a near cache: moka, quick_cache, or one of your own.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::epoch::Epoch;
use crate::cache::store::{Generation, Tag};
use crate::time::{Monotonic, Timestamp};

/// A decoded value of any type.
pub type NearValue = Arc<dyn Any + Send + Sync>;

/// A decoded value and until when it is fresh. Cloning one counts references and allocates nothing.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NearEntry {
    /// The value; `None` if it is known that there is none.
    pub value: Option<NearValue>,
    /// Until when it is fresh. Whoever reads it checks that.
    pub fresh_until: Monotonic,
    /// The epoch of the fence in which it was published, and with it the shard that it was read from.
    pub(crate) epoch: Epoch,
    /// What few entries have, so that the others are small: each hit takes a copy of an entry.
    pub(crate) more: Option<Arc<More>>,
}

/// What is known of an entry that is tagged, loaded anew ahead of its end, or served while the store is away.
#[derive(Debug, Clone)]
pub(crate) struct More {
    /// `None` for not ahead of its end.
    pub(crate) due: Option<Due>,
    /// Its tags with their generations, without the namespace's.
    pub(crate) tags: Arc<[(Tag, Generation)]>,
    /// How many changes of tags had been received when its tags were last compared.
    pub(crate) tags_seen: u64,
    /// The generation of its namespace, and when its read began, where it may be served while the store is away.
    pub(crate) read: Option<(Option<Generation>, Monotonic)>,
}

/// When an entry is to be loaded anew.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Due {
    pub(crate) at: Monotonic,
    /// The end of its life by the store's time, which tells one value from the next.
    pub(crate) until: Timestamp,
}

impl NearEntry {
    /// An entry without tags and of no fence, which no cache would answer: for the tests of an engine. The caches make
    /// their own.
    pub fn new(value: Option<NearValue>, fresh_until: Monotonic) -> Self {
        Self { value, fresh_until, epoch: Epoch::NONE, more: None }
    }

    /// When its read began, where that is known.
    pub(super) fn read_at(&self) -> Option<Monotonic> {
        self.more.as_ref()?.read.map(|(_, at)| at)
    }
}

/// A bounded, concurrent map that may evict any entry. It need not know of time: whoever reads an entry checks
/// [`fresh_until`](NearEntry::fresh_until).
///
/// Keys are escaped identifiers, without service and type: each cache has an engine of its own.
///
/// # Contract
/// - `get` after `remove` of the same key, in this order on any threads, never answers the removed entry.
/// - `get` right after `insert` may answer nothing (eviction), never another key's entry.
/// - Nothing blocks for long: it is called on the hot path, and by the reader of the invalidation feed.
pub trait NearEngine: fmt::Debug + Send + Sync + 'static {
    /// The entry under this key. No allocation.
    fn get(&self, key: &str) -> Option<NearEntry>;

    /// Puts an entry in, in place of another of the same key.
    fn insert(&self, key: &str, entry: NearEntry);

    /// Takes an entry out.
    fn remove(&self, key: &str);

    /// Takes all entries out, to free memory; the fence has made them unreadable before.
    fn clear(&self);

    /// About how many entries there are.
    fn len(&self) -> u64;

    /// Whether there are none, about.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
