//! How much a near cache may hold.

use std::fmt;
use std::sync::Arc;

use stanchion::cache::NearEntry;

type HeapBytes = Arc<dyn Fn(&NearEntry) -> usize + Send + Sync>;

/// The bound of one engine, and the weight of an entry under it.
#[derive(Clone)]
pub(super) enum Bound {
    /// So many entries; each weighs 1.
    Entries(u64),
    /// So many bytes.
    Bytes(u64, HeapBytes),
}

impl Bound {
    pub(super) fn bytes<T: 'static>(
        limit: u64,
        heap_bytes: impl Fn(&T) -> usize + Send + Sync + 'static,
    ) -> Self {
        let measure = move |entry: &NearEntry| {
            let value = entry.value.as_deref().and_then(|value| value.downcast_ref());
            value.map_or(0, &heap_bytes)
        };
        Self::Bytes(limit, Arc::new(measure))
    }

    pub(super) fn limit(&self) -> u64 {
        match self {
            Self::Entries(limit) | Self::Bytes(limit, _) => *limit,
        }
    }

    /// Never zero: the engines keep what weighs nothing for ever. `own` bytes are the engine's, for each entry.
    pub(super) fn weigh(&self, own: usize, key: &str, entry: &NearEntry) -> u32 {
        match self {
            Self::Entries(_) => 1,
            Self::Bytes(_, heap_bytes) => {
                let value = entry.value.as_deref().map_or(0, size_of_val);
                let parts = [own, key.len(), value, heap_bytes(entry)];
                let sum = parts.into_iter().fold(0, usize::saturating_add);
                u32::try_from(sum).unwrap_or(u32::MAX)
            }
        }
    }
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entries(limit) => write!(f, "{limit} entries"),
            Self::Bytes(limit, _) => write!(f, "{limit} bytes"),
        }
    }
}
