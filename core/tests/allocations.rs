//! A hit of the near cache takes no memory, with either engine. Counted on this thread, in a program of its own.

use allocation_counter::measure;
use futures_util::FutureExt;
use stanchion::cache::{Cache, NearEngine};
use stanchion_memory::{MemoryBackend, MokaNear, QuickNear};

const HITS: u32 = 10_000;

async fn filled(near: impl NearEngine) -> Cache<String> {
    let stores = MemoryBackend::new().stores();
    let cache = stores.cache::<String>("user").near(near).build().expect("a cache");
    for n in 0..100_u64 {
        cache.set(n, &format!("user {n}")).await.expect("it is set");
    }
    // The first reads bring the values near, and the engine's own buffers into being.
    for turn in 0..20_000 {
        assert!(cache.get(turn % 100).await.expect("it is read").is_some());
    }
    cache
}

/// How often memory was taken during so many hits.
fn taken(mut hit: impl FnMut(u64)) -> u64 {
    measure(|| (0..HITS).for_each(|turn| hit(u64::from(turn % 100)))).count_total
}

async fn takes_nothing(near: impl NearEngine) {
    let cache = filled(near).await;
    let before = cache.stats();
    assert_eq!(taken(|n| assert!(cache.peek(n).is_some())), 0, "peek");
    assert_eq!(taken(|n| assert!(matches!(cache.get(n).now_or_never(), Some(Ok(Some(_)))))), 0, "get");
    let load = || async { Err::<String, _>(std::io::Error::other("nothing is loaded")) };
    let hit = |n| assert!(matches!(cache.get_or_load(n, load).now_or_never(), Some(Ok(_))));
    assert_eq!(taken(hit), 0, "get_or_load");
    let hits = cache.stats().near_hits - before.near_hits;
    assert!(hits >= 2 * u64::from(HITS), "only {hits} were hits of the near cache");
}

#[tokio::test]
async fn a_near_hit_on_moka_takes_no_memory() {
    takes_nothing(MokaNear::entries(1_000)).await;
}

#[tokio::test]
async fn a_near_hit_on_quick_cache_takes_no_memory() {
    takes_nothing(QuickNear::entries(1_000)).await;
}

#[test]
fn the_counter_counts() {
    assert_eq!(taken(|n| drop(std::hint::black_box(Box::new(n)))), u64::from(HITS));
}
