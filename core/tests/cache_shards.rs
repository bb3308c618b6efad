//! A shard that is away costs its own keys, and no others.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stanchion::cache::{CacheBuilder, CacheStore, LoadError, WarmOptions};
use stanchion::prelude::*;
use stanchion_memory::MokaNear;

use support::shards::{A, B, Sharded, TAGS};

/// Values: as many in each of the two shards, by their last digit.
const IDS: std::ops::Range<u32> = 0..40;

fn is_in(shard: u8, id: u32) -> bool {
    id % 2 == u32::from(shard)
}

fn near(builder: CacheBuilder<u32>) -> Cache<u32> {
    builder.near(MokaNear::entries(1_000)).build().unwrap()
}

/// Asks for every value, each with its own loader; answers those that were loaded. A loader's value is `100 + id`.
async fn loaded(cache: &Cache<u32>) -> Vec<u32> {
    let loaded = Arc::new(Mutex::new(Vec::new()));
    for id in IDS {
        let of = Arc::clone(&loaded);
        let load = move || async move {
            of.lock().unwrap().push(id);
            Ok::<_, Infallible>(100 + id)
        };
        cache.get_or_load(id, load).await.unwrap();
    }
    std::mem::take(&mut *loaded.lock().unwrap())
}

/// The same in one batch; answers those that the loader was asked for.
async fn loaded_together(cache: &Cache<u32>) -> Vec<u32> {
    let ids: Vec<u32> = IDS.collect();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let of = Arc::clone(&asked);
    let load = move |ids: Vec<u32>| async move {
        of.lock().unwrap().clone_from(&ids);
        Ok::<_, Infallible>(ids.into_iter().map(|id| (id, 100 + id)).collect::<Vec<_>>())
    };
    let values = cache.get_or_load_many(&ids, load).await.unwrap();
    assert!(values.iter().all(Option::is_some));
    std::mem::take(&mut *asked.lock().unwrap())
}

fn all() -> Vec<u32> {
    IDS.collect()
}

fn of_shard(shard: u8) -> Vec<u32> {
    IDS.filter(|id| is_in(shard, *id)).collect()
}

#[tokio::test]
async fn only_the_keys_of_a_shard_that_is_away_are_loaded() {
    let (store, clock) = Sharded::new(TAGS);
    for cache in [store.cache(&clock).build().unwrap(), near(store.cache(&clock))] {
        cache.clear().await.unwrap();
        assert_eq!(loaded(&cache).await, all());
        assert_eq!((loaded(&cache).await, loaded_together(&cache).await), (vec![], vec![]));
        store.take_away(A);
        for _ in 0..3 {
            assert_eq!(loaded(&cache).await, of_shard(A));
            assert_eq!(loaded_together(&cache).await, of_shard(A));
        }
        store.bring_back(A);
        // The circuit breaker of that shard lets one through after a pause.
        clock.advance(Duration::from_secs(2));
        assert_eq!((loaded(&cache).await, loaded_together(&cache).await), (vec![], vec![]));
    }
}

#[tokio::test]
async fn the_near_copies_of_living_shards_are_read_and_the_others_never_stale() {
    let (store, clock) = Sharded::new(TAGS);
    let cache = near(store.cache(&clock));
    loaded(&cache).await;
    loaded(&cache).await;
    assert!(all().into_iter().all(|id| cache.peek(id).is_some()));
    let calls = (store.calls(A), store.calls(B), store.calls(TAGS));

    store.take_away(A);
    for id in IDS {
        assert_eq!(cache.peek(id).is_some(), is_in(B, id), "{id}");
    }
    // Missed: it was written while the shard was away from this process.
    let other = store.cache(&clock).build().unwrap();
    let (missed, key) = (2, cache.key(2).unwrap());
    let there = store.behind(A);
    assert_eq!(there.remove_many(&[key]).await.unwrap(), 1);
    store.bring_back(A);
    assert!(of_shard(A).into_iter().all(|id| cache.peek(id).is_none()), "from before the loss");
    assert_eq!(cache.get(missed).await.unwrap(), None, "nothing is stale");
    assert_eq!((store.calls(B), store.calls(TAGS)), (calls.1, calls.2), "nobody else was asked");
    assert!(store.calls(A) > calls.0);

    // A change in the shard that stayed is heard of all the while.
    store.take_away(A);
    other.set(3, &7).await.unwrap();
    assert_eq!(cache.peek(3), None);
    assert_eq!(cache.get(3).await.unwrap().as_deref(), Some(&7));
    other.clear().await.unwrap();
    assert!(all().into_iter().all(|id| cache.peek(id).is_none()), "and so is a clear");
}

#[tokio::test]
async fn the_circuit_breaker_of_one_shard_is_none_of_anothers() {
    let (store, clock) = Sharded::new(TAGS);
    let cache = store.cache(&clock).build().unwrap();
    loaded(&cache).await;
    store.take_away(A);
    for id in of_shard(A).into_iter().take(5) {
        assert!(cache.get(id).await.is_err());
        clock.advance(Duration::from_millis(100));
    }
    let before = (store.calls(A), store.calls(B));
    assert_eq!(loaded(&cache).await, of_shard(A));
    let asked = (store.calls(A) - before.0, store.calls(B) - before.1);
    assert_eq!(asked, (0, of_shard(B).len()), "after five failures over some time it is not asked");
    assert_eq!(cache.stats().store_failures, of_shard(A).len() as u64 + 5);
}

#[tokio::test]
async fn a_batch_is_answered_for_by_the_shards_that_live() {
    let (store, clock) = Sharded::new(TAGS);
    let cache = store.cache(&clock).build().unwrap();
    store.take_away(B);
    // Nothing is there yet: what can be stored is.
    assert_eq!(loaded_together(&cache).await, all());
    assert_eq!(loaded_together(&cache).await, of_shard(B));
    assert_eq!(loaded(&cache).await, of_shard(B));
    // There is nothing to be warmed where the store is away.
    let load = |ids: Vec<u32>| async { Ok::<_, Infallible>(ids.into_iter().map(|id| (id, id)).collect()) };
    let warmed = cache.warm::<_, _, u32, _, _>(IDS, WarmOptions::new(), load, |_| ()).await.unwrap();
    let half = of_shard(A).len() as u64;
    assert_eq!((warmed.present, warmed.failed, warmed.stored), (half, half, 0));
    // Without a loader there is no answer for all.
    assert!(cache.get_many(&all()).await.is_err());
    assert!(cache.get_many(&of_shard(A)).await.unwrap().iter().all(Option::is_some));
    // Where the caller wants no loads in place of the store, that is the error of the whole.
    let closed = store.cache(&clock).fail_closed().build().unwrap();
    let ids = all();
    let refused =
        closed.get_or_load_many(&ids, |_| async { Ok::<Vec<(u32, u32)>, Infallible>(vec![]) }).await;
    assert!(matches!(refused, Err(LoadError::Store(_))), "{refused:?}");
}

#[tokio::test]
async fn a_batch_over_the_bound_is_refused_though_each_part_is_within_it() {
    let (store, clock) = Sharded::new(TAGS);
    let cache = store.cache(&clock).build().unwrap();
    let most = u32::try_from(store.capabilities().max_batch).unwrap();
    let ids: Vec<u32> = (0..=most).collect();
    assert_eq!(cache.get_many(&ids).await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn what_is_written_under_a_tag_that_is_away_is_judged_by_nobody() {
    // Generations in one shard with half of the values: their fate is that of all.
    let (store, clock) = Sharded::new(A);
    let cache = near(store.cache(&clock));
    loaded(&cache).await;
    assert!(loaded(&cache).await.is_empty());
    store.take_away(A);
    assert!(
        all().into_iter().all(|id| cache.peek(id).is_none()),
        "whether the cache was cleared, nobody hears"
    );
    assert_eq!(loaded(&cache).await, all());
    // What was loaded without its generations is not stored.
    let there = store.behind(B);
    let key = cache.key(1).unwrap();
    assert_eq!(there.remove_many(std::slice::from_ref(&key)).await.unwrap(), 1);
    assert_eq!(loaded_together(&cache).await, all());
    assert_eq!(there.get(&key).await.unwrap(), None);
    store.bring_back(A);
    clock.advance(Duration::from_secs(2));
    assert_eq!(loaded(&cache).await, [1]);
}

#[tokio::test]
async fn a_key_that_moves_takes_its_near_copy_with_it() {
    let (store, clock) = Sharded::new(TAGS);
    let cache = near(store.cache(&clock));
    loaded(&cache).await;
    loaded(&cache).await;
    let key = cache.key(2).unwrap();
    assert!(cache.peek(2).is_some());
    store.move_key(&key, B).await;
    assert_eq!(cache.peek(2), None);
    assert!(cache.get(2).await.unwrap().is_some() && cache.peek(2).is_some());
    store.take_away(A);
    assert!(cache.peek(2).is_some(), "that is no longer its shard");
    store.take_away(B);
    assert_eq!(cache.peek(2), None);
}

#[tokio::test]
async fn a_generation_that_moves_takes_the_near_cache_with_it() {
    let (store, clock) = Sharded::new(TAGS);
    let cache = near(store.cache(&clock));
    loaded(&cache).await;
    loaded(&cache).await;
    let tag = Tag::of_namespace(&stanchion::key::Namespace::new("cache", "n").unwrap()).unwrap();
    store.take_away(B);
    // To a shard that is away: nobody would hear of a clear.
    store.move_key(tag.key(), B).await;
    assert!(all().into_iter().all(|id| cache.peek(id).is_none()));
    loaded(&cache).await;
    assert!(all().into_iter().all(|id| cache.peek(id).is_none()));
    store.bring_back(B);
    clock.advance(Duration::from_secs(2));
    loaded(&cache).await;
    loaded(&cache).await;
    assert!(all().into_iter().all(|id| cache.peek(id).is_some()));
    store.take_away(TAGS);
    assert!(all().into_iter().all(|id| cache.peek(id).is_some()), "that is no longer its shard");
}

#[tokio::test]
async fn a_value_under_a_tag_that_is_not_heard_of_is_compared_at_each_hit() {
    // The namespace's generation in one shard, the tag's in another, whose feed is away.
    let (store, clock) = Sharded::new(TAGS);
    let tag = Tag::new("t").unwrap();
    store.move_key(tag.key(), B).await;
    let tags = tag.clone();
    let cache = near(store.cache(&clock).tags(move |_| vec![tags.clone()]));
    store.lose_feed(B);
    let load = |value: u32| move || async move { Ok::<_, Infallible>(value) };
    for _ in 0..2 {
        assert_eq!(*cache.get_or_load(2, load(1)).await.unwrap(), 1);
    }
    store.behind(B).tags().unwrap().bump(std::slice::from_ref(&tag)).await.unwrap();
    assert_eq!(cache.peek(2), None, "it was invalidated unheard");
    assert_eq!(*cache.get_or_load(2, load(2)).await.unwrap(), 2);
}
