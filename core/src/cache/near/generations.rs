//! The generations of tags, cached in this process: while the feed is up a tag check costs no trip.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use super::Fence;
use super::epoch::Epoch;
use crate::cache::store::{CacheStore, CacheTags, Generation, Shard, ShardSet, Tag, Watch, Watcher};
use crate::error::{Error, ErrorKind, Result};

/// How many generations are cached; beyond that the cache is emptied.
const MOST: usize = 100_000;

/// A generation, and how long ago it was made.
pub(in crate::cache) type Dated = (Generation, Duration);

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
    /// In which shards each of its feeds is up.
    up: Mutex<[ShardSet; 2]>,
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

    fn lost(&self, shard: Shard) {
        let mut up = self.state.up();
        up[self.feed].set(shard, false);
        self.state.lost(shard);
    }

    fn restored(&self, shard: Shard) {
        let mut up = self.state.up();
        up[self.feed].set(shard, true);
        if up.iter().all(|up| up.contains(shard)) {
            self.state.restored(shard);
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Known {
    generation: Generation,
    epoch: Epoch,
}

impl KnownGenerations {
    fn up(&self) -> MutexGuard<'_, [ShardSet; 2]> {
        self.up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The generation under this key is over.
    pub(super) fn changed(&self, key: &str) {
        self.fence.invalidate(key, || self.forget(key));
    }

    fn lost(&self, shard: Shard) {
        let _ = self.fence.lost(shard);
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    fn restored(&self, shard: Shard) {
        self.fence.restored(shard);
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
        let known = self.state.known.read().unwrap_or_else(PoisonError::into_inner);
        let known = known.get(tag).filter(|known| self.state.fence.is_current(known.epoch));
        known.map(|known| known.generation)
    }

    /// The generation of a tag as it was known last, even if something may have changed since; `None` if it has changed.
    pub(in crate::cache) fn last_known(&self, tag: &Tag) -> Option<Generation> {
        let known = self.state.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(tag).map(|known| known.generation)
    }

    /// The generations of tags, in their order; those that are not known are asked for in one trip.
    pub(in crate::cache) async fn generations(&self, tags: &[Tag]) -> Result<Vec<Generation>> {
        let ask = |missing: Vec<Tag>| async move {
            match self.ask(&missing).await {
                Ok(answers) => answers.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error); missing.len()],
            }
        };
        self.each(tags, ask).await.into_iter().collect()
    }

    /// The generations of tags, in their order; `ask` asks for those that are not known, and answers in their order.
    pub(in crate::cache) async fn each<F>(
        &self,
        tags: &[Tag],
        ask: impl FnOnce(Vec<Tag>) -> F,
    ) -> Vec<Result<Generation>>
    where
        F: Future<Output = Vec<Result<Dated>>>,
    {
        let mut generations: Vec<_> = tags.iter().map(|tag| self.peek(tag).map(Ok)).collect();
        let missing: Vec<Tag> = tags
            .iter()
            .zip(&generations)
            .filter(|(_, known)| known.is_none())
            .map(|(tag, _)| tag.clone())
            .collect();
        if !missing.is_empty() {
            let fence = &self.state.fence;
            let snapshot = |tag: &Tag| fence.snapshot(tag.key().as_str(), || self.store.shard_of(tag.key()));
            let snapshots: Vec<_> = missing.iter().map(snapshot).collect();
            let mut answers = ask(missing.clone()).await.into_iter().zip(missing).zip(snapshots);
            for slot in generations.iter_mut().filter(|slot| slot.is_none()) {
                let Some(((answer, tag), snapshot)) = answers.next() else {
                    *slot = Some(Err(too_few()));
                    continue;
                };
                if let Ok((generation, _)) = &answer {
                    let generation = *generation;
                    let keep = |epoch| self.keep(&tag, Known { generation, epoch });
                    if !fence.publish(snapshot, keep) {
                        // That it has changed is known all the same.
                        fence.keep(snapshot, |epoch| self.keep_last(&tag, Known { generation, epoch }));
                    }
                }
                *slot = Some(answer.map(|(generation, _)| generation));
            }
        }
        generations.into_iter().flatten().collect()
    }

    /// The generations of tags, in their order, and their ages, as the store has them: in one trip, unless they are more
    /// than a batch may have.
    pub(in crate::cache) async fn ask(&self, tags: &[Tag]) -> Result<Vec<Dated>> {
        let mut answers = Vec::with_capacity(tags.len());
        for batch in tags.chunks(self.store.capabilities().max_batch.max(1)) {
            answers.extend(self.tags()?.generations(batch).await?);
        }
        Ok(answers)
    }

    fn keep(&self, tag: &Tag, known: Known) {
        let mut map = self.state.known.write().unwrap_or_else(PoisonError::into_inner);
        if map.len() >= MOST {
            map.clear();
        }
        map.insert(tag.clone(), known);
    }

    /// Keeps what was read while the feed is away, in which replies may come in any order: generations only grow.
    fn keep_last(&self, tag: &Tag, known: Known) {
        if self.last_known(tag).is_none_or(|last| last < known.generation) {
            self.keep(tag, known);
        }
    }

    pub(in crate::cache) fn known(&self) -> Arc<KnownGenerations> {
        Arc::clone(&self.state)
    }

    /// Invalidates everything under the tags.
    pub(in crate::cache) async fn bump(&self, tags: &[Tag]) -> Result<()> {
        // Also after an error, and where this is dropped: it may have happened.
        let _own = LocalBump { state: &self.state, tags };
        self.tags()?.bump(tags).await.map(drop)
    }

    /// The store has this generation of a tag: where another is known, that one may be over.
    pub(in crate::cache) fn read(&self, tag: &Tag, generation: Generation) {
        if self.last_known(tag).is_some_and(|last| last != generation) {
            self.state.changed(tag.key().as_str());
        }
    }
}

/// Forgets the generations of tags that are being bumped, when it is dropped.
struct LocalBump<'a> {
    state: &'a KnownGenerations,
    tags: &'a [Tag],
}

impl Drop for LocalBump<'_> {
    fn drop(&mut self) {
        for tag in self.tags {
            self.state.changed(tag.key().as_str());
        }
    }
}

fn too_few() -> Error {
    Error::new(ErrorKind::Internal, "the store answered too few generations")
}
