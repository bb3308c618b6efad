//! Everything that a cache counts, once.

use std::convert::Infallible;
use std::sync::atomic::Ordering;

use stanchion::prelude::*;
use stanchion_memory::MokaNear;

use crate::support::{Flaky, instant, manual, settle, slow};

pub(crate) async fn run() {
    hits_and_loads().await;
    feed_away().await;
    two_processes().await;
    misses().await;
    read_while_it_changes().await;
    outage().await;
    loads_that_hang().await;
}

async fn loads_that_hang() {
    let (backend, clock) = manual();
    let build = || {
        let builder = backend.handle().stores().cache::<u32>("n").ttl(seconds(10));
        builder.stale_while_revalidate(minutes(10)).background_loads(1).build().unwrap()
    };
    let (here, there) = (build(), build());
    here.set_many(&[(1, 1), (2, 2)]).await.unwrap();
    clock.advance(seconds(11));
    for id in [1, 2] {
        here.get_or_load(id, std::future::pending::<Result<u32, Infallible>>).await.unwrap();
    }
    assert_eq!(here.stats().reloads_skipped, 1);
    let (hung, _word, begun) = slow(&there, 3);
    begun.await.unwrap();
    let waiting = instant(&there, 3, 3);
    for _ in 0..60 {
        settle().await;
        clock.advance(std::time::Duration::from_millis(100));
    }
    waiting.await.unwrap().unwrap();
    assert_eq!(there.stats().waits_ended, 1);
    hung.abort();
}

async fn hits_and_loads() {
    let (backend, clock) = manual();
    let builder = backend.stores().cache::<u32>("n").ttl(minutes(10)).near(MokaNear::entries(10));
    let cache = builder.stale_while_revalidate(minutes(5)).build().unwrap();
    for _ in 0..3 {
        instant(&cache, 1, 1).await.unwrap().unwrap();
    }
    cache.get_or_load(2, || async { Err::<u32, _>("down") }).await.unwrap_err();
    clock.advance(minutes(11));
    instant(&cache, 1, 2).await.unwrap().unwrap();
    settle().await;
    assert_eq!(cache.stats().stale_served, 1);
    cache.clear().await.unwrap();
    assert!(cache.stats().epoch_flushes > 0);
}

async fn feed_away() {
    let (backend, clock) = manual();
    let flaky = Flaky::over(&backend.stores());
    let cache = flaky.cache(&clock).near(MokaNear::entries(10)).near_in_outage(minutes(1)).build().unwrap();
    cache.set(1, &1).await.unwrap();
    cache.get(1).await.unwrap();
    flaky.lose_feed();
    cache.get(1).await.unwrap();
    assert_eq!(cache.stats().outage_hits, 1);
}

async fn two_processes() {
    let (backend, clock) = manual();
    let here: Cache<u32> = backend.stores().cache("n").build().unwrap();
    let there: Cache<u32> = backend.handle().stores().cache("n").build().unwrap();
    let (load, word, begun) = slow(&here, 1);
    begun.await.unwrap();
    let waiting = instant(&there, 1, 2);
    settle().await;
    assert!(there.stats().lease_waits > 0);
    there.set(1, &3).await.unwrap();
    word.send(1).unwrap();
    load.await.unwrap().unwrap();
    clock.advance(seconds(1));
    waiting.await.unwrap().unwrap();
    assert_eq!(here.stats().fenced, 1);
}

async fn misses() {
    let (backend, clock) = manual();
    let stores = backend.stores();
    let cache: Cache<u32> = stores.cache("n").schema(1, &[]).max_bytes(100).build().unwrap();
    let newer: Cache<u32> = stores.cache("n").schema(2, &[]).build().unwrap();
    newer.set(1, &1).await.unwrap();
    assert!(cache.get(1).await.unwrap().is_none());
    let text: Cache<String> = stores.cache("n").schema(1, &[]).max_bytes(100).build().unwrap();
    text.set(2, &"two".to_owned()).await.unwrap();
    assert!(cache.get(2).await.unwrap().is_none());
    let tag = Tag::new("team").unwrap();
    cache.put(3, Loaded::new(3).tag(tag.clone())).await.unwrap();
    clock.advance(seconds(1));
    cache.invalidate_tag(&tag).await.unwrap();
    assert!(cache.get(3).await.unwrap().is_none());
    let long = || async { Ok::<_, Infallible>("x".repeat(200)) };
    text.get_or_load(4, long).await.unwrap();
    let (stats, text) = (cache.stats(), text.stats());
    assert_eq!((stats.newer, stats.undecodable, stats.dropped, text.unstorable), (1, 1, 1, 1));
}

async fn read_while_it_changes() {
    let (backend, clock) = manual();
    let flaky = Flaky::over(&backend.stores());
    let cache = flaky.cache(&clock).near(MokaNear::entries(10)).build().unwrap();
    let there: Cache<u32> = backend.handle().stores().cache("n").build().unwrap();
    cache.set(1, &1).await.unwrap();
    flaky.late.store(true, Ordering::SeqCst);
    let reading = {
        let cache = cache.clone();
        tokio::spawn(async move { cache.get(1).await })
    };
    settle().await;
    there.set(1, &2).await.unwrap();
    flaky.arrive.notify_one();
    reading.await.unwrap().unwrap();
    assert_eq!(cache.stats().near_fenced, 1);
}

async fn outage() {
    let (backend, clock) = manual();
    let flaky = Flaky::over(&backend.stores());
    let cache = flaky.cache(&clock).build().unwrap();
    flaky.lose();
    instant(&cache, 1, 1).await.unwrap().unwrap();
    assert!(cache.stats().store_failures > 0);
}
