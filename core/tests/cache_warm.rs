//! Warming: how much runs at once, and how far ahead its identifiers are read.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::stream::{self, StreamExt};
use stanchion::cache::WarmOptions;
use stanchion::prelude::*;
use tokio::sync::Semaphore;

use support::{manual, settle};

/// A loader whose calls end when they are told to.
struct Loader {
    begun: AtomicUsize,
    under_way: AtomicUsize,
    most: AtomicUsize,
    gate: Semaphore,
}

impl Loader {
    fn new() -> Arc<Self> {
        let zero = AtomicUsize::default;
        Arc::new(Self { begun: zero(), under_way: zero(), most: zero(), gate: Semaphore::new(0) })
    }

    async fn load(self: Arc<Self>, ids: Vec<u32>) -> Result<Vec<(u32, u32)>, Infallible> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let under_way = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(under_way, Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        Ok(ids.into_iter().map(|id| (id, id)).collect())
    }

    /// How many calls have begun, and how many of them are under way.
    fn calls(&self) -> (usize, usize) {
        (self.begun.load(Ordering::SeqCst), self.under_way.load(Ordering::SeqCst))
    }
}

#[tokio::test]
async fn no_more_calls_of_the_loader_run_at_once_than_was_said() {
    for at_once in [1, 3] {
        let (backend, _) = manual();
        let cache: Cache<u32> = backend.stores().cache("n").build().unwrap();
        let loader = Loader::new();
        let options = WarmOptions::new().batch(5).unwrap().concurrency(at_once).unwrap();
        let warming = {
            let (cache, loader) = (cache.clone(), Arc::clone(&loader));
            tokio::spawn(async move {
                cache.warm(0..100, options, move |ids| Arc::clone(&loader).load(ids), |_| ()).await
            })
        };
        for ended in 0..20 {
            settle().await;
            // As many as there may be, while there are so many left.
            assert_eq!(loader.calls(), ((ended + at_once).min(20), at_once.min(20 - ended)));
            loader.gate.add_permits(1);
        }
        let warmed = warming.await.unwrap().unwrap();
        assert_eq!((warmed.seen, warmed.stored, warmed.failed), (100, 100, 0));
        assert_eq!(loader.most.load(Ordering::SeqCst), at_once);
    }
}

#[tokio::test]
async fn a_stream_is_read_no_faster_than_what_it_names_is_loaded() {
    let (backend, _) = manual();
    let cache: Cache<u32> = backend.stores().cache("n").build().unwrap();
    // What is there takes no call of the loader, and lets the stream be read on.
    cache.set_many(&[(0, 7), (1, 7), (2, 7), (3, 7), (4, 7)]).await.unwrap();
    let loader = Loader::new();
    let (read, told) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let options = WarmOptions::new().batch(5).unwrap().concurrency(2).unwrap();
    let warming = {
        let (cache, loader, read, told) = (cache.clone(), loader.clone(), read.clone(), told.clone());
        // It has no end of its own.
        let ids = stream::iter(0_u32..)
            .inspect(move |_| {
                read.fetch_add(1, Ordering::SeqCst);
            })
            .take(60);
        tokio::spawn(async move {
            let load = move |ids| Arc::clone(&loader).load(ids);
            let progress = move |warmed: &stanchion::cache::Warmed| {
                told.store(usize::try_from(warmed.seen).unwrap(), Ordering::SeqCst);
            };
            cache.warm_stream(ids, options, load, progress).await
        })
    };
    for ended in 1..=10 {
        settle().await;
        assert_eq!(told.load(Ordering::SeqCst), ended * 5);
        assert_eq!(read.load(Ordering::SeqCst), (ended + 2) * 5, "what is loaded, and two batches under way");
        loader.gate.add_permits(1);
    }
    loader.gate.add_permits(1);
    let warmed = warming.await.unwrap().unwrap();
    assert_eq!((warmed.seen, warmed.present, warmed.stored), (60, 5, 55));
    assert_eq!(read.load(Ordering::SeqCst), 60);
}
