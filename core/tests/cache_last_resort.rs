//! What the fail-safe serves when the store is away: the last that this process knows, and nothing that it knows to be over.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::convert::Infallible;
use std::sync::Arc;

use stanchion::cache::{CacheBuilder, StaleReason};
use stanchion::clock::ManualClock;
use stanchion::prelude::*;
use stanchion_memory::{MemoryBackend, MokaNear};

use support::{Flaky, manual};

/// Two processes: one with a near cache, a tag on everything and a fail-safe, on a store that can be lost; and another.
struct Two {
    here: Cache<u32>,
    there: Cache<u32>,
    flaky: Arc<Flaky>,
    team: Tag,
}

fn two_with(more: impl FnOnce(CacheBuilder<u32>) -> CacheBuilder<u32>) -> Two {
    let (backend, clock): (MemoryBackend, ManualClock) = manual();
    let flaky = Flaky::over(&backend.stores());
    let team = Tag::new("team").unwrap();
    let tags_of = {
        let team = team.clone();
        move |_: &str| vec![team.clone()]
    };
    let builder = flaky.cache(&clock).near(MokaNear::entries(100)).tags(tags_of.clone());
    let here = more(builder.fail_safe(hours(1), seconds(30))).build().unwrap();
    let there = backend.handle().stores().cache("n").tags(tags_of).build().unwrap();
    Two { here, there, flaky, team }
}

fn two() -> Two {
    two_with(|builder| builder)
}

async fn keep_near(cache: &Cache<u32>, id: u32, value: u32) {
    cache.set(id, &value).await.unwrap();
    assert_eq!(cache.get(id).await.unwrap().as_deref(), Some(&value));
}

/// What is served by a failing loader, alone and in a batch.
async fn last_resort(cache: &Cache<u32>, id: u32) -> [Option<u32>; 2] {
    let one = cache.serve(id, || async { Err::<u32, _>("down") }).await;
    let fails = |_| async { Err::<Vec<(u32, u32)>, _>("down") };
    let many = cache.serve_many(&[id], fails).await.unwrap().remove(0);
    let one = match one {
        Ok(served) => {
            assert!(matches!(served.freshness, Freshness::Stale { .. }), "{served:?}");
            Some(*served.value)
        }
        Err(LoadError::Loader(error)) => {
            assert_eq!(*error, "down");
            None
        }
        Err(LoadError::Store(_)) => None,
        Err(other) => panic!("{other:?}"),
    };
    [one, many.ok().flatten().map(|served| *served.value)]
}

#[tokio::test]
async fn nothing_is_served_whose_tag_was_dropped() {
    for closed in [false, true] {
        let two = || two_with(|builder| if closed { builder.fail_closed() } else { builder });
        // Here, and nobody reads it in between.
        let Two { here, flaky, team, .. } = two();
        keep_near(&here, 1, 1).await;
        here.invalidate_tag(&team).await.unwrap();
        flaky.lose();
        assert_eq!(last_resort(&here, 1).await, [None; 2]);
        // Elsewhere, which the feed has told.
        let Two { here, there, flaky, team } = two();
        keep_near(&here, 1, 1).await;
        there.invalidate_tag(&team).await.unwrap();
        flaky.lose();
        assert_eq!(last_resort(&here, 1).await, [None; 2]);
        // What nothing came of is served.
        let Two { here, flaky, .. } = two();
        keep_near(&here, 1, 1).await;
        flaky.lose();
        assert_eq!(last_resort(&here, 1).await, [Some(1); 2]);
    }
}

#[tokio::test]
async fn nothing_is_served_whose_tag_is_known_to_be_dropped_from_another_value() {
    let Two { here, there, flaky, team } = two();
    keep_near(&here, 1, 1).await;
    keep_near(&here, 2, 2).await;
    flaky.lose_feed();
    there.invalidate_tag(&team).await.unwrap();
    there.set(2, &20).await.unwrap();
    // It has the generation that is the current one.
    assert_eq!(here.get(2).await.unwrap().as_deref(), Some(&20));
    flaky.lose();
    assert_eq!(last_resort(&here, 1).await, [None; 2]);
    assert_eq!(last_resort(&here, 2).await, [Some(20); 2]);
}

#[tokio::test]
async fn nothing_is_served_of_an_older_generation_of_the_cache() {
    let Two { here, there, flaky, .. } = two();
    keep_near(&here, 1, 1).await;
    keep_near(&here, 2, 2).await;
    flaky.lose_feed();
    there.clear().await.unwrap();
    there.set(2, &20).await.unwrap();
    assert_eq!(here.get(2).await.unwrap().as_deref(), Some(&20));
    flaky.lose();
    assert_eq!(last_resort(&here, 1).await, [None; 2]);
    assert_eq!(last_resort(&here, 2).await, [Some(20); 2]);
}

#[tokio::test]
async fn nothing_is_served_that_was_read_to_be_absent() {
    for (is_back, batch) in [(true, false), (true, true), (false, false), (false, true)] {
        let Two { here, there, flaky, .. } = two();
        keep_near(&here, 1, 1).await;
        flaky.lose_feed();
        there.remove(1).await.unwrap();
        if is_back {
            flaky.restore();
        }
        if batch {
            assert_eq!(here.get_many(&[1]).await.unwrap(), [None]);
        } else {
            assert_eq!(here.get(1).await.unwrap(), None);
        }
        flaky.lose();
        assert_eq!(last_resort(&here, 1).await, [None; 2], "{is_back} {batch}");
    }
}

#[tokio::test]
async fn nothing_is_served_that_a_loader_has_found_to_be_absent() {
    let Two { here, flaky, .. } = two();
    keep_near(&here, 1, 1).await;
    flaky.lose();
    let found = here.get_or_find(1, || async { Ok::<_, Infallible>(None::<u32>) }).await.unwrap();
    assert_eq!(found, None);
    assert_eq!(last_resort(&here, 1).await, [None; 2]);
}

#[tokio::test]
async fn what_was_read_last_is_served_and_nothing_older() {
    for batch in [false, true] {
        let Two { here, there, flaky, .. } = two();
        keep_near(&here, 1, 1).await;
        flaky.lose_feed();
        there.set(1, &2).await.unwrap();
        if batch {
            assert_eq!(here.get_many(&[1]).await.unwrap()[0].as_deref(), Some(&2));
        } else {
            assert_eq!(here.get(1).await.unwrap().as_deref(), Some(&2));
        }
        flaky.lose();
        assert_eq!(here.peek(1), None, "it is for the last resort alone");
        assert_eq!(last_resort(&here, 1).await, [Some(2); 2]);
        let served = here.serve(1, || async { Err::<u32, _>("down") }).await.unwrap();
        assert!(matches!(served.freshness, Freshness::Stale { why: StaleReason::LoaderFailed, .. }));
    }
}
