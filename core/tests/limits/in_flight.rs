//! At most so many at once.

use std::time::Duration;

use stanchion::ErrorKind;
use stanchion::layer::{Fault, Faults};
use stanchion::limit::{Entered, InFlight};
use stanchion::time::seconds;
use stanchion::{Effect, Error};

use crate::{manual, settled};

async fn full_for(places: &InFlight) -> Duration {
    match places.enter("u1").await.unwrap() {
        Entered::Full { retry_after } => retry_after,
        other @ Entered::In(_) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_place_is_given_back_by_word_or_by_drop() {
    let (_clock, stores) = manual();
    let places = stores.in_flight("export", 2).build().unwrap();
    let first = places.enter("u1").await.unwrap().guard().unwrap();
    let second = places.enter("u1").await.unwrap().guard().unwrap();
    assert_eq!(full_for(&places).await, seconds(30));
    assert!(places.enter("u2").await.unwrap().guard().is_some());
    assert!(first.is_held());
    assert!(first.give_back().await.unwrap());
    let third = places.enter("u1").await.unwrap().guard().unwrap();
    drop(second);
    settled().await;
    assert!(places.enter("u1").await.unwrap().guard().is_some());
    drop(third);
}

#[tokio::test]
async fn a_place_ends_by_itself_unless_it_is_renewed() {
    let (clock, stores) = manual();
    let places = stores.in_flight("export", 1).lease(seconds(10)).build().unwrap();
    let mut held = places.enter("u1").await.unwrap().guard().unwrap();
    clock.advance(seconds(9));
    assert!(held.renew().await.unwrap() && held.is_held());
    clock.advance(seconds(9));
    assert_eq!(full_for(&places).await, seconds(1));
    clock.advance(seconds(1));
    // By the clock, whatever task has run.
    assert!(!held.is_held());
    let next = places.enter("u1").await.unwrap().guard().unwrap();
    assert!(!held.renew().await.unwrap(), "another has it");
    assert!(!held.give_back().await.unwrap());
    assert!(next.is_held());
    assert_eq!(full_for(&places).await, seconds(10));
}

#[tokio::test]
async fn a_caller_that_is_gone_holds_nothing() {
    let (_clock, stores) = manual();
    let places = stores.in_flight("export", 1).build().unwrap();
    for _ in 0..5 {
        let mut entering = std::pin::pin!(places.enter("u1"));
        assert!(futures_util::poll!(entering.as_mut()).is_pending());
    }
    settled().await;
    assert!(places.enter("u1").await.unwrap().guard().is_some());
}

#[tokio::test]
async fn what_may_have_been_taken_is_given_back() {
    let (clock, stores) = manual();
    let faults = Faults::new(stores.environment());
    let faulty = stores.layer(faults.clone()).in_flight("export", 1).build().unwrap();
    faults.plan("limit.lease", 1, Fault::LoseReply).unwrap();
    let error = faulty.enter("u1").await.unwrap_err();
    assert_eq!(error.effect(), Effect::Unknown);
    settled().await;
    let held = faulty.enter("u1").await.unwrap().guard().unwrap();
    // A place that could not be given back is tried again while its lease lasts.
    faults.plan("limit.give_back", 1, Fault::Fail(Error::new(ErrorKind::Unavailable, "down"))).unwrap();
    drop(held);
    settled().await;
    clock.advance(Duration::from_millis(250));
    settled().await;
    assert!(faulty.enter("u1").await.unwrap().guard().is_some());
}

#[tokio::test]
async fn bad_numbers_are_refused() {
    let (_clock, stores) = manual();
    for most in [0, 10_001] {
        let error = stores.in_flight("export", most).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    assert!(stores.in_flight("export", 1).lease(Duration::ZERO).build().is_err());
}
