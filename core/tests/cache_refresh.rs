//! A refresh on a store without leases: what was being loaded before it is not stored in its place.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::convert::Infallible;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use stanchion::Result;
use stanchion::cache::{
    CacheBuilder, CacheCapabilities, CacheCounters, CacheFeed, CacheLeases, CacheStore, CacheTags, SetEntry,
    SetOptions, SetOutcome,
};
use stanchion::environment::Environment;
use stanchion::key::Key;
use stanchion::prelude::*;
use stanchion::time::{Timestamp, Ttl};
use stanchion_memory::MemoryBackend;
use tokio::sync::oneshot;

use support::{Loading, slow};

/// Values of memory, without any of the optional parts.
#[derive(Debug)]
struct Bare(Arc<dyn CacheStore>);

fn bare() -> Cache<u32> {
    let store = Bare(MemoryBackend::new().stores().cache_store().unwrap());
    CacheBuilder::new(Arc::new(store), Environment::system(), "n").build().unwrap()
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CacheStore for Bare {
    fn capabilities(&self) -> CacheCapabilities {
        self.0.capabilities()
    }
    fn leases(&self) -> Option<&dyn CacheLeases> {
        None
    }
    fn tags(&self) -> Option<&dyn CacheTags> {
        None
    }
    fn feed(&self) -> Option<&dyn CacheFeed> {
        None
    }
    fn counters(&self) -> Option<&dyn CacheCounters> {
        None
    }
    fn now(&self) -> Timestamp {
        self.0.now()
    }
    async fn get(&self, key: &Key) -> Result<Option<Bytes>> {
        self.0.get(key).await
    }
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        self.0.get_many(keys).await
    }
    async fn get_many_with_ttl(&self, keys: &[Key]) -> Result<Vec<Option<(Bytes, Ttl)>>> {
        self.0.get_many_with_ttl(keys).await
    }
    async fn set(&self, key: &Key, value: Bytes, options: &SetOptions) -> Result<SetOutcome> {
        self.0.set(key, value, options).await
    }
    async fn set_many(&self, entries: &[SetEntry]) -> Result<Vec<SetOutcome>> {
        self.0.set_many(entries).await
    }
    async fn remove_many(&self, keys: &[Key]) -> Result<u64> {
        self.0.remove_many(keys).await
    }
    async fn touch(&self, key: &Key, ttl: Ttl) -> Result<bool> {
        self.0.touch(key, ttl).await
    }
    async fn ttl(&self, key: &Key) -> Result<Option<Ttl>> {
        self.0.ttl(key).await
    }
}

/// Loads anew what is there, with a loader that waits for a word.
fn refreshing(cache: &Cache<u32>) -> (Loading<u32>, oneshot::Sender<u32>, oneshot::Receiver<()>) {
    let (word, value) = oneshot::channel();
    let (began, begun) = oneshot::channel();
    let cache = cache.clone();
    let task = tokio::spawn(async move {
        let load = move || async move {
            let _ = began.send(());
            Ok::<_, Infallible>(value.await.unwrap())
        };
        cache.refresh(1, load).await
    });
    (task, word, begun)
}

#[tokio::test]
async fn a_refresh_is_not_undone_by_a_load_that_began_before_it() {
    for is_there in [false, true] {
        for older_is_a_refresh in [false, true] {
            let cache = bare();
            if is_there {
                cache.set(1, &6).await.unwrap();
            }
            let begin = |refresh: bool| if refresh { refreshing(&cache) } else { slow(&cache, 1) };
            if is_there && !older_is_a_refresh {
                continue; // it is a hit
            }
            let (older, old, begun) = begin(older_is_a_refresh);
            begun.await.unwrap();
            // The database is written here.
            let (newer, new, begun) = begin(true);
            begun.await.unwrap();
            old.send(7).unwrap();
            assert_eq!(*older.await.unwrap().unwrap(), 7);
            new.send(8).unwrap();
            assert_eq!(*newer.await.unwrap().unwrap(), 8);
            let found = cache.get(1).await.unwrap().map(|value| *value);
            assert_ne!(found, Some(7), "there: {is_there}, older is a refresh: {older_is_a_refresh}");
        }
    }
}
