//! Plain values, which other programs share: how fresh they are, whoever has written them.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::time::Duration;

use stanchion::cache::SetOptions;
use stanchion::prelude::*;
use stanchion::time::Ttl;
use stanchion_memory::MemoryBackend;

use support::manual;

fn plain(backend: &MemoryBackend, grace: Duration) -> Cache<u32> {
    let builder = backend.handle().stores().cache("n").plain().ttl(seconds(10));
    builder.fail_safe(grace, seconds(1)).build().unwrap()
}

async fn served(cache: &Cache<u32>, id: u32) -> Option<Served<u32>> {
    cache.serve(id, || async { Err::<u32, _>("down") }).await.ok()
}

#[tokio::test]
async fn a_touch_revives_nothing_that_is_stale() {
    let (backend, clock) = manual();
    let cache = plain(&backend, minutes(1));
    cache.set(1, &1).await.unwrap();
    clock.advance(seconds(9));
    assert!(cache.touch(1).await.unwrap(), "it is fresh");
    clock.advance(seconds(9));
    assert!(cache.get(1).await.unwrap().is_some(), "it was touched");
    clock.advance(seconds(21));
    assert!(!cache.touch(1).await.unwrap(), "it is stale");
    assert_eq!(cache.get(1).await.unwrap(), None);
    clock.advance(seconds(30));
    assert_eq!(served(&cache, 1).await.map(|served| *served.value), Some(1), "for as long as before");
    clock.advance(seconds(30));
    assert!(served(&cache, 1).await.is_none());
    assert!(!cache.touch(1).await.unwrap(), "there is none");
}

#[tokio::test]
async fn a_touch_of_a_null_is_of_no_value() {
    let (backend, _) = manual();
    let stores = backend.stores();
    let cache = plain(&backend, Duration::ZERO);
    let key = cache.key(1).unwrap();
    let options = SetOptions::new(Ttl::new(minutes(1)).unwrap());
    let _set = stores.cache_store().unwrap().set(&key, "null".into(), &options).await.unwrap();
    assert!(!cache.touch(1).await.unwrap());
}

#[tokio::test]
async fn a_value_is_judged_by_the_grace_that_it_was_written_with() {
    let (backend, clock) = manual();
    let graces = [Duration::ZERO, seconds(30), minutes(1), hours(1)];
    let caches = graces.map(|grace| plain(&backend, grace));
    for (n, writer) in caches.iter().enumerate() {
        writer.set(1, &1).await.unwrap();
        clock.advance(seconds(9));
        for (m, reader) in caches.iter().enumerate() {
            assert!(reader.get(1).await.unwrap().is_some(), "fresh, written by {n}, read by {m}");
        }
        clock.advance(seconds(1));
        for (m, reader) in caches.iter().enumerate() {
            assert!(reader.get(1).await.unwrap().is_none(), "stale, written by {n}, read by {m}");
        }
        clock.advance(seconds(20));
        for (m, reader) in caches.iter().enumerate() {
            let is_served = served(reader, 1).await.is_some();
            assert_eq!(is_served, n > 0 && m > 0, "20 s stale, written by {n}, read by {m}");
        }
        clock.advance(hours(2));
    }
}
