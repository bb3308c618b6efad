//! The near cache on the memory backend: two handles are two processes.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use stanchion::cache::{CacheBuilder, SetOptions, SetOutcome};
use stanchion::environment::Environment;
use stanchion::prelude::*;
use stanchion::time::Ttl;
use stanchion_memory::{MemoryBackend, MokaNear};

use support::{Flaky, manual, settle};

fn near(backend: &MemoryBackend) -> Cache<u32> {
    backend.stores().cache("n").near(MokaNear::entries(1_000)).build().unwrap()
}

#[tokio::test]
async fn a_hit_costs_no_call_and_a_change_by_anybody_drops_it() {
    let (backend, _) = manual();
    let flaky = Flaky::over(&backend.stores());
    let here: Cache<u32> = CacheBuilder::new(flaky.clone(), Environment::system(), "n")
        .near(MokaNear::entries(1_000))
        .build()
        .unwrap();
    let there = backend.handle().stores().cache::<u32>("n").build().unwrap();
    there.set("a", &1).await.unwrap();
    assert_eq!(here.get("a").await.unwrap().as_deref(), Some(&1));
    let calls = flaky.calls.load(Ordering::SeqCst);
    for _ in 0..10 {
        assert_eq!(here.get("a").await.unwrap().as_deref(), Some(&1));
        assert_eq!(here.peek("a").as_deref(), Some(&1));
    }
    assert_eq!(flaky.calls.load(Ordering::SeqCst), calls);

    there.set("a", &2).await.unwrap();
    assert_eq!(here.peek("a"), None);
    assert_eq!(here.get("a").await.unwrap().as_deref(), Some(&2));
    there.remove("a").await.unwrap();
    assert_eq!(here.get("a").await.unwrap(), None);
    // A foreign program that knows nothing of headers.
    let stored = backend.stores().cache_store().unwrap();
    here.set("b", &3).await.unwrap();
    assert_eq!(here.get("b").await.unwrap().as_deref(), Some(&3));
    let key = here.key("b").unwrap();
    let set = stored.set(&key, "foreign".into(), &SetOptions::new(Ttl::MAX)).await.unwrap();
    assert_eq!(set, SetOutcome::Stored);
    assert_eq!(here.get("b").await.unwrap(), None);
    let stats = here.stats();
    assert_eq!((stats.undecodable, stats.near_hits), (1, 20));
}

#[tokio::test]
async fn own_writes_are_read_and_other_caches_are_not_touched() {
    let (backend, _) = manual();
    let (cache, other) = (near(&backend), near(&backend));
    let strange = backend.stores().cache::<u32>("other").near(MokaNear::entries(10)).build().unwrap();
    strange.set("a", &7).await.unwrap();
    assert_eq!(strange.get("a").await.unwrap().as_deref(), Some(&7));
    for n in 0..5 {
        cache.set("a", &n).await.unwrap();
        assert_eq!(cache.get("a").await.unwrap().as_deref(), Some(&n));
        assert_eq!(other.get("a").await.unwrap().as_deref(), Some(&n));
        assert_eq!(cache.peek("a").as_deref(), Some(&n));
    }
    cache.set_many(&[("a", 10), ("b:{}", 11)]).await.unwrap();
    assert_eq!(cache.get("b:{}").await.unwrap().as_deref(), Some(&11));
    assert_eq!(cache.peek("b:{}").as_deref(), Some(&11), "an identifier that has to be escaped");
    assert_eq!(cache.remove_many(&["a", "b:{}"]).await.unwrap(), 2);
    assert_eq!(other.get_many(&["a", "b:{}"]).await.unwrap(), [None, None]);
    assert_eq!(strange.peek("a").as_deref(), Some(&7));
}

#[tokio::test]
async fn only_what_was_read_enters_and_it_ends_with_its_life() {
    let (backend, clock) = manual();
    let cache: Cache<u32> =
        backend.stores().cache("n").ttl(minutes(10)).near(MokaNear::entries(10)).build().unwrap();
    assert_eq!(*cache.get_or_load("a", || async { Ok::<_, Infallible>(1) }).await.unwrap(), 1);
    assert_eq!(cache.peek("a"), None, "a fill is not a read");
    assert_eq!(*cache.get_or_load("a", || async { Ok::<_, Infallible>(2) }).await.unwrap(), 1);
    assert_eq!(cache.peek("a").as_deref(), Some(&1));
    clock.advance(minutes(9));
    assert_eq!(cache.peek("a").as_deref(), Some(&1));
    clock.advance(minutes(1));
    assert_eq!(cache.peek("a"), None);
    assert_eq!(*cache.get_or_load("a", || async { Ok::<_, Infallible>(3) }).await.unwrap(), 3);
}

#[tokio::test]
async fn dropping_everything_reaches_every_process_at_once() {
    let (backend, _) = manual();
    let (here, there) = (near(&backend), near(&backend.handle()));
    for id in 0..50 {
        here.set(id, &id).await.unwrap();
        assert!(there.get(id).await.unwrap().is_some());
    }
    here.clear().await.unwrap();
    for id in 0..50 {
        assert_eq!((here.peek(id), there.peek(id)), (None, None));
        assert_eq!((here.get(id).await.unwrap(), there.get(id).await.unwrap()), (None, None));
    }
    there.set(1, &100).await.unwrap();
    assert_eq!(here.get(1).await.unwrap().as_deref(), Some(&100));
    assert_eq!(here.stats().dropped, 50);
}

#[tokio::test]
async fn when_the_feed_is_lost_nothing_is_read_near() {
    let (backend, _) = manual();
    let stores = backend.handle().stores();
    let cache: Cache<u32> = stores.cache("n").near(MokaNear::entries(10)).build().unwrap();
    cache.set("a", &1).await.unwrap();
    assert!(cache.get("a").await.unwrap().is_some());
    assert!(cache.peek("a").is_some());
    // Closing the handle ends its feed.
    stores.close(seconds(1)).await.unwrap();
    assert_eq!(cache.peek("a"), None);
    assert_eq!(cache.get("a").await.unwrap_err().kind(), ErrorKind::Closed);
    assert!(cache.stats().epoch_flushes > 0);
}

/// A near cache, here on a store whose feed can be lost, every value of which has a tag; and the same cache elsewhere.
struct Tagged {
    here: Cache<u32>,
    there: Cache<u32>,
    flaky: Arc<Flaky>,
    team: Tag,
}

fn tagged() -> Tagged {
    let (backend, clock) = manual();
    let flaky = Flaky::over(&backend.stores());
    let team = Tag::new("team").unwrap();
    let tag = team.clone();
    let here = flaky.cache(&clock).near(MokaNear::entries(100)).tags(move |_| vec![tag.clone()]);
    let there = backend.handle().stores().cache("n").build().unwrap();
    Tagged { here: here.build().unwrap(), there, flaky, team }
}

#[tokio::test]
async fn what_was_near_before_the_feed_was_lost_is_not_read_after_it_is_back() {
    let Tagged { here, there, flaky, team } = tagged();
    let ids = ["changed", "removed", "dropped", "same"];
    for id in ids {
        here.set(id, &1).await.unwrap();
        assert!(here.get(id).await.unwrap().is_some());
        assert!(here.peek(id).is_some());
    }
    flaky.lose();
    for id in ids {
        assert_eq!(here.peek(id), None, "{id}: nobody knows whether it still stands");
    }
    // Nobody is told of these.
    there.set("changed", &2).await.unwrap();
    there.remove("removed").await.unwrap();
    flaky.restore();
    for id in ids {
        assert_eq!(here.peek(id), None, "{id}: a feed that is back says nothing of what was before");
    }
    assert_eq!(here.get("changed").await.unwrap().as_deref(), Some(&2));
    assert_eq!(here.get("removed").await.unwrap(), None);
    assert_eq!(here.get("same").await.unwrap().as_deref(), Some(&1));
    // From now on it is near again, and what was dropped while the feed was away is known by its tag.
    assert_eq!((here.peek("changed").as_deref(), here.peek("same").as_deref()), (Some(&2), Some(&1)));
    flaky.lose();
    there.invalidate_tag(&team).await.unwrap();
    flaky.restore();
    assert_eq!((here.get("same").await.unwrap(), here.get("dropped").await.unwrap()), (None, None));
    // A loss that nothing came of costs a read, and no more.
    here.set("same", &3).await.unwrap();
    here.get("same").await.unwrap();
    let flushes = here.stats().epoch_flushes;
    flaky.lose();
    flaky.restore();
    assert_eq!(here.stats().epoch_flushes, flushes + 1, "both feeds at once");
    assert_eq!(here.peek("same"), None);
    assert_eq!(here.get("same").await.unwrap().as_deref(), Some(&3));
    there.set("same", &4).await.unwrap();
    assert_eq!(here.peek("same"), None, "what changes is told again");
    assert_eq!(here.get("same").await.unwrap().as_deref(), Some(&4));
}

#[tokio::test]
async fn while_the_feed_is_away_the_store_is_asked_for_values_and_tags() {
    let Tagged { here, there, flaky, team } = tagged();
    here.set_many(&[("a", 1), ("b", 1)]).await.unwrap();
    here.get_many(&["a", "b"]).await.unwrap();
    flaky.lose_feed();
    there.set("a", &2).await.unwrap();
    assert_eq!(here.get("a").await.unwrap().as_deref(), Some(&2));
    assert_eq!(here.get("b").await.unwrap().as_deref(), Some(&1));
    assert_eq!(
        (here.peek("a"), here.peek("b")),
        (None, None),
        "what is read enters only while changes are told"
    );
    there.invalidate_tag(&team).await.unwrap();
    assert_eq!(here.get("a").await.unwrap().as_deref(), Some(&2), "written without the tag");
    assert_eq!(here.get("b").await.unwrap(), None, "its tag was dropped, and nobody told");
    assert_eq!(here.get_many(&["b"]).await.unwrap(), [None]);
}

#[tokio::test]
async fn what_was_read_before_the_feed_was_lost_does_not_enter_after_it_is_back() {
    let (backend, clock) = manual();
    let flaky = Flaky::over(&backend.stores());
    let here = flaky.cache(&clock).near(MokaNear::entries(100)).build().unwrap();
    let there: Cache<u32> = backend.handle().stores().cache("n").build().unwrap();
    there.set("a", &1).await.unwrap();
    flaky.late.store(true, Ordering::SeqCst);
    let reading = {
        let here = here.clone();
        tokio::spawn(async move { here.get("a").await })
    };
    settle().await;
    flaky.lose();
    there.set("a", &2).await.unwrap();
    flaky.restore();
    flaky.arrive.notify_one();
    assert_eq!(reading.await.unwrap().unwrap().as_deref(), Some(&1));
    assert_eq!(here.peek("a"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_reader_racing_one_writer_leaves_nothing_stale() {
    // All of them have room near.
    const KEYS: u32 = 300;
    // Far more than it takes until something was read near.
    const MOST: u32 = 1_000;
    let (backend, _) = manual();
    let (reader, writer) = (near(&backend), near(&backend.handle()));
    let (stats, last) = (reader.clone(), 3);
    let writing = tokio::spawn(async move {
        // Old versions, for as long as none of them was read near: only then a stale one could be.
        for version in 0..MOST {
            for id in 0..KEYS {
                writer.set(id, &(version % last)).await.unwrap();
            }
            if version >= last && stats.stats().near_hits > u64::from(KEYS) {
                break;
            }
        }
        for id in 0..KEYS {
            writer.set(id, &last).await.unwrap();
        }
    });
    while !writing.is_finished() {
        for id in 0..KEYS {
            // Hot keys are in between.
            for id in [id, id % 7] {
                reader.get(id).await.unwrap();
            }
        }
    }
    writing.await.unwrap();
    for id in 0..KEYS {
        assert_eq!(reader.get(id).await.unwrap().as_deref(), Some(&last), "{id}");
    }
    let hits = reader.stats().near_hits;
    assert!(hits > u64::from(KEYS), "{hits} reads were served near");
}
