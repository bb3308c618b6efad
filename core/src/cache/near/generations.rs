//! The generations of tags, cached in this process: while the feed is up a tag check costs no trip.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use super::Fence;
use crate::cache::store::{CacheStore, CacheTags, Generation, Tag, Watch, Watcher};
use crate::error::{Error, ErrorKind, Result};

/// How many generations are cached; beyond that the cache is emptied.
const MOST: usize = 100_000;

/// One for each store, shared by all its caches.
#[derive(Debug)]
pub(crate) struct GenerationCache {
    store: Arc<dyn CacheStore>,
    state: Arc<KnownGenerations>,
    // They end with it.
    _watches: Vec<Watch>,
}

/// The known generations, without the watches: who holds them holds no feed.
#[derive(Debug, Default)]
pub(in crate::cache) struct KnownGenerations {
    fence: Fence,
    known: RwLock<HashMap<Tag, Known>>,
    changes: AtomicU64,
    /// Which of its feeds are up.
    up: Mutex<[bool; 2]>,
}

/// The listener of one of the two feeds.
#[derive(Debug)]
struct FeedListener {
    state: Arc<KnownGenerations>,
    feed: usize,
}

impl Watcher for FeedListener {
    fn changed(&self, key: &str) {
        self.state.changed(key);
    }

    fn lost(&self) {
        self.state.up()[self.feed] = false;
        self.state.lost();
    }

    fn restored(&self) {
        let mut up = self.state.up();
        up[self.feed] = true;
        if *up == [true; 2] {
            self.state.restored();
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Known {
    generation: Generation,
    epoch: u64,
}

impl KnownGenerations {
    fn up(&self) -> MutexGuard<'_, [bool; 2]> {
        self.up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The generation under this key is over.
    pub(super) fn changed(&self, key: &str) {
        self.fence.invalidate(key, || self.forget(key));
    }

    fn lost(&self) {
        let _ = self.fence.lost();
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    fn restored(&self) {
        self.fence.restored();
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    fn forget(&self, key: &str) {
        if let Some(tag) = Tag::stored(key) {
            self.known.write().unwrap_or_else(PoisonError::into_inner).remove(&tag);
        }
        // After the removal: whoever sees the new count finds the old generation gone.
        self.changes.fetch_add(1, Ordering::AcqRel);
    }
}

impl GenerationCache {
    /// One that watches the store where it has a feed, and else asks each time.
    pub(crate) fn of(store: Arc<dyn CacheStore>) -> Result<Arc<Self>> {
        let state = Arc::new(KnownGenerations::default());
        let mut watches = Vec::new();
        if let Some(source) = store.feed() {
            for (feed, namespace) in Tag::namespaces()?.into_iter().enumerate() {
                watches.push(
                    source.watch(&namespace, Arc::new(FeedListener { state: Arc::clone(&state), feed }))?,
                );
            }
        }
        Ok(Arc::new(Self { store, state, _watches: watches }))
    }

    fn tags(&self) -> Result<&dyn CacheTags> {
        self.store.tags().ok_or_else(|| Error::unsupported("this store has no tags"))
    }

    /// How often a change of any tag was received: what was compared under the same number need not be compared again.
    pub(in crate::cache) fn changes(&self) -> u64 {
        self.state.changes.load(Ordering::Acquire)
    }

    /// The generation of a tag, if it is known.
    pub(in crate::cache) fn peek(&self, tag: &Tag) -> Option<Generation> {
        let epoch = self.state.fence.epoch()?;
        let known = self.state.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(tag).filter(|known| known.epoch == epoch).map(|known| known.generation)
    }

    /// The generations of tags, in their order; those that are not known are asked for in one trip.
    pub(in crate::cache) async fn generations(&self, tags: &[Tag]) -> Result<Vec<Generation>> {
        let mut generations: Vec<_> = tags.iter().map(|tag| self.peek(tag)).collect();
        let missing: Vec<Tag> = tags
            .iter()
            .zip(&generations)
            .filter(|(_, known)| known.is_none())
            .map(|(tag, _)| tag.clone())
            .collect();
        if !missing.is_empty() {
            let fence = &self.state.fence;
            let snapshots: Vec<_> = missing.iter().map(|tag| fence.snapshot(tag.key().as_str())).collect();
            let asked = self.ask(&missing).await?;
            let mut answers = asked.iter().zip(missing).zip(snapshots);
            for slot in generations.iter_mut().filter(|slot| slot.is_none()) {
                let Some(((&(generation, _), tag), snapshot)) = answers.next() else {
                    return Err(Error::new(ErrorKind::Internal, "the store answered too few generations"));
                };
                *slot = Some(generation);
                fence.publish(snapshot, |epoch| self.keep(tag, Known { generation, epoch }));
            }
        }
        Ok(generations.into_iter().flatten().collect())
    }

    /// The generations of tags, in their order, and their ages, as the store has them: in one trip, unless they are more
    /// than a batch may have.
    pub(in crate::cache) async fn ask(&self, tags: &[Tag]) -> Result<Vec<(Generation, Duration)>> {
        let mut answers = Vec::with_capacity(tags.len());
        for batch in tags.chunks(self.store.capabilities().max_batch.max(1)) {
            answers.extend(self.tags()?.generations(batch).await?);
        }
        Ok(answers)
    }

    fn keep(&self, tag: Tag, known: Known) {
        let mut map = self.state.known.write().unwrap_or_else(PoisonError::into_inner);
        if map.len() >= MOST {
            map.clear();
        }
        map.insert(tag, known);
    }

    pub(in crate::cache) fn known(&self) -> Arc<KnownGenerations> {
        Arc::clone(&self.state)
    }

    /// Invalidates everything under the tags.
    pub(in crate::cache) async fn bump(&self, tags: &[Tag]) -> Result<()> {
        let bumped = self.tags()?.bump(tags).await;
        // Also after an error: it may have happened.
        for tag in tags {
            self.state.changed(tag.key().as_str());
        }
        bumped.map(drop)
    }
}
