//! Giving places back to a store that does not answer.

use std::time::Duration;

use stanchion::clock::{Clock, ManualClock};
use stanchion::layer::{Fault, FaultRates, Faults};
use stanchion::limit::{Entered, InFlight, InFlightGuard};
use stanchion::stores::Stores;
use stanchion::time::seconds;
use stanchion::{Effect, Error, ErrorKind};

use crate::{manual, settled};

/// So many wait to be given back at most, as documented.
const MOST: usize = 1_024;
const STEP: Duration = Duration::from_millis(10);

fn faulty() -> (ManualClock, Stores, Faults) {
    let (clock, stores) = manual();
    let faults = Faults::seeded(stores.environment(), 1);
    let stores = stores.layer(faults.clone());
    (clock, stores, faults)
}

/// Nothing is given back from now on, until the faults are cleared.
fn is_down(faults: &Faults) {
    faults.rate("limit.give_back", FaultRates::new().not_done(1.0).unwrap()).unwrap();
}

/// How often the store was asked in vain.
fn tries(faults: &Faults) -> usize {
    let injected = faults.injected();
    let last = injected.iter().rfind(|injected| injected.operation == "limit.give_back");
    last.map_or(0, |last| usize::try_from(last.number).unwrap())
}

fn fails(faults: &Faults, error: Error) {
    faults.plan("limit.give_back", 1, Fault::Fail(error)).unwrap();
}

async fn held(places: &InFlight) -> InFlightGuard {
    places.enter("u1").await.unwrap().guard().unwrap()
}

/// How many can enter, with those that are given back by dropping the guards.
async fn free(places: &InFlight) -> usize {
    let mut guards = Vec::new();
    while let Entered::In(guard) = places.enter("u1").await.unwrap() {
        guards.push(guard);
    }
    guards.len()
}

async fn many_settle() {
    for _ in 0..100 {
        settled().await;
    }
}

#[tokio::test]
async fn the_pauses_grow_and_end_with_the_lease() {
    let (clock, stores, faults) = faulty();
    let places = stores.in_flight("export", 1).build().unwrap();
    let (held, others, from) = (held(&places).await, clock.sleepers(), clock.now());
    is_down(&faults);
    drop(held);
    settled().await;
    let (mut pauses, mut last) = (Vec::new(), from);
    while clock.now().saturating_since(from) < seconds(31) {
        if tries(&faults) > pauses.len() + 1 {
            pauses.push(clock.now().saturating_since(last));
            last = clock.now();
        }
        clock.advance(STEP);
        settled().await;
    }
    let mut longest = Duration::from_millis(100);
    for pause in &pauses {
        assert!((longest / 2..=longest + STEP).contains(pause), "{pause:?} of {longest:?}");
        longest = (longest * 2).min(seconds(5));
    }
    assert!((8..=16).contains(&pauses.len()), "{pauses:?}");
    // Not all of them in step.
    assert!(pauses.iter().any(|pause| !pause.as_millis().is_multiple_of(50)), "{pauses:?}");
    assert_eq!(clock.sleepers(), others, "it is left to its lease");
    assert_eq!(tries(&faults), pauses.len() + 1);
}

#[tokio::test]
async fn no_more_than_so_many_wait_to_be_given_back() {
    let (clock, stores, faults) = faulty();
    let places = stores.in_flight("export", 1_034).build().unwrap();
    let mut guards = Vec::new();
    for _ in 0..MOST + 10 {
        guards.push(held(&places).await);
    }
    let (last, others) = (guards.pop().unwrap(), clock.sleepers());
    is_down(&faults);
    drop(guards);
    many_settle().await;
    // Each was tried once, and so many are tried again.
    assert_eq!((tries(&faults), clock.sleepers() - others), (MOST + 9, MOST));
    // Who waits for it is answered at once.
    let refused = last.give_back().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    faults.clear();
    clock.advance(seconds(1));
    many_settle().await;
    assert_eq!(clock.sleepers(), others);
    assert_eq!(free(&places).await, MOST, "the others are left to their leases");
    many_settle().await;
    clock.advance(seconds(30));
    assert_eq!(free(&places).await, MOST + 10);
}

#[tokio::test]
async fn places_in_doubt_are_not_tried_for_if_too_many_wait() {
    let (clock, stores, faults) = faulty();
    let places = stores.in_flight("export", 10_000).build().unwrap();
    let others = clock.sleepers();
    is_down(&faults);
    faults.plan("limit.lease", 2_000, Fault::LoseReply).unwrap();
    for _ in 0..2_000 {
        assert_eq!(places.enter("u1").await.unwrap_err().effect(), Effect::Unknown);
    }
    many_settle().await;
    assert_eq!((tries(&faults), clock.sleepers() - others), (MOST, MOST));
    // All of them end with their leases, and there is room again.
    while clock.sleepers() > others {
        clock.advance(seconds(1));
        many_settle().await;
    }
    let before = tries(&faults);
    faults.plan("limit.lease", 1, Fault::LoseReply).unwrap();
    assert_eq!(places.enter("u1").await.unwrap_err().effect(), Effect::Unknown);
    settled().await;
    assert_eq!(tries(&faults), before + 1);
}

#[tokio::test]
async fn an_error_that_stays_ends_it() {
    let (clock, stores, faults) = faulty();
    let places = stores.in_flight("export", 1).build().unwrap();
    let (held, others) = (held(&places).await, clock.sleepers());
    fails(&faults, Error::new(ErrorKind::Denied, "no permission"));
    let giving = tokio::spawn(held.give_back());
    settled().await;
    assert!(giving.is_finished() && clock.sleepers() == others);
    assert_eq!(giving.await.unwrap().unwrap_err().kind(), ErrorKind::Denied);
}

#[tokio::test]
async fn it_is_not_tried_again_before_the_store_says() {
    let (clock, stores, faults) = faulty();
    let places = stores.in_flight("export", 1).build().unwrap();
    let waits = held(&places).await;
    fails(&faults, Error::new(ErrorKind::Throttled, "busy").with_retry_after(seconds(3)));
    let giving = tokio::spawn(waits.give_back());
    settled().await;
    clock.advance(seconds(3));
    settled().await;
    assert!(!giving.is_finished(), "a part of the pause comes on top");
    clock.advance(Duration::from_millis(100));
    settled().await;
    assert!(giving.await.unwrap().unwrap());
    // Later than the lease lasts is not at all.
    let held = held(&places).await;
    fails(&faults, Error::new(ErrorKind::Throttled, "busy").with_retry_after(seconds(30)));
    let giving = tokio::spawn(held.give_back());
    settled().await;
    assert!(giving.is_finished());
    assert_eq!(giving.await.unwrap().unwrap_err().kind(), ErrorKind::Throttled);
}

#[tokio::test]
async fn stores_that_close_do_not_wait_for_a_pause() {
    let (clock, stores, faults) = faulty();
    let places = stores.in_flight("export", 1).build().unwrap();
    let held = held(&places).await;
    is_down(&faults);
    drop(held);
    for _ in 0..10 {
        settled().await;
        clock.advance(seconds(1));
    }
    settled().await;
    let before = tries(&faults);
    faults.clear();
    let closing = tokio::spawn(async move { stores.close(seconds(1)).await });
    settled().await;
    assert!(before > 5 && closing.is_finished(), "{before} tries");
    closing.await.unwrap().unwrap();
}
