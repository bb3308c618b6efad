//! A refresh on a store without leases: what was being loaded before it is not stored in its place.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::convert::Infallible;

use stanchion::cache::CacheParts;
use stanchion::prelude::*;
use stanchion_memory::{MemoryBackend, MemoryConfig};
use tokio::sync::oneshot;

use support::{Loading, slow};

/// A cache on values alone.
fn bare() -> Cache<u32> {
    let config = MemoryConfig::new().cache_parts(CacheParts::none());
    MemoryBackend::with(config).stores().cache("n").build().unwrap()
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
