//! Near copies while the invalidation feed is away, where a cache is asked to serve them.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use stanchion::clock::ManualClock;
use stanchion::prelude::*;
use stanchion_memory::MokaNear;

use support::{Flaky, manual};

struct Outage {
    here: Cache<u32>,
    there: Cache<u32>,
    flaky: Arc<Flaky>,
    clock: ManualClock,
    team: Tag,
}

/// A cache that serves near copies for half a minute of an outage, with one under 1 and one under 2.
async fn filled(most: Option<Duration>) -> Outage {
    let (backend, clock) = manual();
    let flaky = Flaky::over(&backend.stores());
    let team = Tag::new("team").unwrap();
    let tag = team.clone();
    let mut builder = flaky
        .cache(&clock)
        .ttl(minutes(1))
        .near(MokaNear::entries(100))
        .tags(move |id| if id == "1" { vec![tag.clone()] } else { Vec::new() });
    if let Some(most) = most {
        builder = builder.near_in_outage(most);
    }
    let here = builder.build().unwrap();
    let there = backend.handle().stores().cache("n").build().unwrap();
    for id in [1, 2] {
        here.set(id, &id).await.unwrap();
        assert_eq!(here.get(id).await.unwrap().as_deref(), Some(&id));
    }
    Outage { here, there, flaky, clock, team }
}

/// What is served, and whether it is unconfirmed, and for how long; by a loader that answers 100.
async fn served(cache: &Cache<u32>, id: u32) -> (u32, Option<Duration>) {
    let served = cache.serve(id, || async { Ok::<_, Infallible>(100) }).await.unwrap();
    let age = match served.freshness {
        Freshness::Fresh => None,
        Freshness::Unconfirmed { age } => Some(age),
        stale @ Freshness::Stale { .. } => panic!("{stale:?}"),
    };
    (*served.value, age)
}

#[tokio::test]
async fn a_near_copy_is_served_and_said_to_be_unconfirmed() {
    let Outage { here, flaky, clock, .. } = filled(Some(seconds(30))).await;
    assert_eq!(served(&here, 1).await, (1, None));
    flaky.lose();
    clock.advance(seconds(20));
    let calls = flaky.calls.load(SeqCst);
    assert_eq!(served(&here, 1).await, (1, Some(seconds(20))));
    assert_eq!(here.peek(1).as_deref(), Some(&1));
    assert_eq!(here.get(1).await.unwrap().as_deref(), Some(&1));
    assert_eq!(here.get_many(&[1, 2]).await.unwrap()[1].as_deref(), Some(&2));
    let many = |ids: Vec<u32>| async move {
        Ok::<_, Infallible>(ids.into_iter().map(|id| (id, 100)).collect::<Vec<_>>())
    };
    let many = here.serve_many(&[1], many).await.unwrap();
    assert_eq!(
        many[0].as_ref().unwrap().as_ref().unwrap().freshness,
        Freshness::Unconfirmed { age: seconds(20) }
    );
    let find = || async { Ok::<_, Infallible>(Some(100)) };
    let (_, freshness) = here.serve_found(1, find).await.unwrap();
    assert_eq!(freshness, Freshness::Unconfirmed { age: seconds(20) });
    assert_eq!((flaky.calls.load(SeqCst), here.stats().loads), (calls, 0), "nobody is asked");
    assert_eq!(here.stats().outage_hits, 7);
    // Not for longer than was said,
    clock.advance(seconds(11));
    assert_eq!(served(&here, 1).await, (100, None));
    // and no longer once the feed is back.
    flaky.restore();
    clock.advance(seconds(2));
    assert_eq!(here.peek(2), None);
    assert_eq!(served(&here, 2).await, (2, None), "from the store");
}

#[tokio::test]
async fn nothing_is_served_so_unless_it_is_asked_for() {
    let Outage { here, flaky, .. } = filled(None).await;
    flaky.lose();
    assert_eq!(here.peek(1), None);
    assert_eq!(served(&here, 1).await, (100, None));
}

#[tokio::test]
async fn nothing_is_served_beyond_its_ttl() {
    let Outage { here, flaky, clock, .. } = filled(Some(hours(1))).await;
    flaky.lose();
    clock.advance(seconds(59));
    assert_eq!(served(&here, 1).await, (1, Some(seconds(59))));
    clock.advance(seconds(1));
    assert_eq!(served(&here, 1).await, (100, None));
}

#[tokio::test]
async fn nothing_is_served_that_this_process_knows_to_be_over() {
    // Its tag, by a bump of which nobody knows whether it was made.
    let Outage { here, flaky, team, .. } = filled(Some(hours(1))).await;
    flaky.lose();
    here.invalidate_tag(&team).await.unwrap_err();
    assert_eq!((here.peek(1), here.peek(2).as_deref()), (None, Some(&2)));
    here.clear().await.unwrap_err();
    assert_eq!(here.peek(2), None);
    // A removal that nobody knows of either.
    let Outage { here, flaky, .. } = filled(Some(hours(1))).await;
    flaky.lose();
    here.remove(2).await.unwrap_err();
    assert_eq!((here.peek(1).as_deref(), here.peek(2)), (Some(&1), None));
}

#[tokio::test]
async fn what_is_read_during_the_outage_is_as_old_as_that() {
    let Outage { here, there, flaky, clock, .. } = filled(Some(seconds(30))).await;
    flaky.lose_feed();
    clock.advance(seconds(31));
    there.set(2, &20).await.unwrap();
    assert_eq!(served(&here, 2).await, (20, None), "what is near is too old, and the store is asked");
    clock.advance(seconds(10));
    assert_eq!(served(&here, 2).await, (20, Some(seconds(10))));
    // A copy of before an earlier outage is not served in a later one.
    flaky.restore();
    flaky.lose_feed();
    assert_eq!(here.peek(2), None);
}
