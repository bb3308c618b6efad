//! Every call of every store ends, by the injected clock.

use std::sync::Arc;
use std::time::Duration;

use stanchion::cache::{CacheParts, CacheStore};
use stanchion::clock::ManualClock;
use stanchion::environment::Environment;
use stanchion::layer::{Call, Deadline, Fault, Faults};
use stanchion::stores::Stores;
use stanchion::time::seconds;
use stanchion::{Effect, ErrorKind};
use stanchion_memory::{MemoryBackend, MemoryConfig};

use crate::calls::{every, key};
use crate::silent::{Silent, silent};
use crate::{settled, without_timers};

fn manual() -> (Environment, ManualClock) {
    let clock = ManualClock::new();
    (Environment::system().clock(Arc::new(clock.clone())), clock)
}

/// Every call of these stores ends when this is over, and not before.
async fn every_call_ends_after(deadline: Duration, stores: &Stores, clock: &ManualClock) {
    let mut operations = Vec::new();
    for (operation, mut call) in every(stores) {
        assert!(settled(call.as_mut()).await.is_none(), "{operation} is in flight");
        assert_eq!(clock.sleepers(), 1, "{operation} sleeps on the clock");
        clock.advance(deadline.checked_sub(Duration::from_millis(1)).unwrap());
        assert!(settled(call.as_mut()).await.is_none(), "{operation} ended early");
        clock.advance(Duration::from_millis(1));
        let error = settled(call.as_mut()).await.expect(operation).unwrap_err();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::Timeout, Some(operation)));
        let in_table = Call::ALL.iter().find(|call| call.operation == operation).unwrap();
        let effect = if in_table.changes { Effect::Unknown } else { Effect::NotApplied };
        assert_eq!(error.effect(), effect, "{operation}");
        operations.push(operation);
    }
    assert_eq!(operations.len(), Call::ALL.len(), "every operation was called");
    assert_eq!(clock.sleepers(), 0);
}

#[test]
fn a_store_that_declares_no_deadline_gets_five_seconds_for_every_call() {
    without_timers(async {
        let (environment, clock) = manual();
        every_call_ends_after(seconds(5), &silent(environment, None).build(), &clock).await;
    });
}

#[test]
fn the_bundle_sets_another() {
    without_timers(async {
        let (environment, clock) = manual();
        let stores = silent(environment, None).call_deadline(Duration::from_millis(300)).unwrap().build();
        every_call_ends_after(Duration::from_millis(300), &stores, &clock).await;
    });
}

#[test]
fn a_layer_that_keeps_no_deadline_is_put_under_that_of_the_bundle() {
    without_timers(async {
        let (environment, clock) = manual();
        let backend = MemoryBackend::with(MemoryConfig::new().environment(environment.clone()));
        let stores = Stores::builder(environment.clone()).backend(Arc::new(backend));
        let faults = Faults::new(&environment);
        for call in Call::ALL {
            faults.plan(call.operation, 1, Fault::Hang).unwrap();
        }
        let stores = stores.call_deadline(seconds(2)).unwrap().build().layer(faults);
        every_call_ends_after(seconds(2), &stores, &clock).await;
    });
}

#[test]
fn the_layer_shortens_what_a_store_declares() {
    without_timers(async {
        let (environment, clock) = manual();
        let layer = Deadline::new(Duration::from_millis(50), &environment).unwrap();
        let stores = silent(environment, Some(seconds(60))).build().layer(layer);
        every_call_ends_after(Duration::from_millis(50), &stores, &clock).await;
    });
}

#[test]
fn a_store_that_declares_a_deadline_is_handed_out_as_it_is() {
    without_timers(async {
        let (environment, clock) = manual();
        let store: Arc<dyn CacheStore> = Arc::new(Silent(Some(Duration::ZERO)));
        let stores = Stores::builder(environment.clone()).cache(store.clone()).build();
        assert!(Arc::ptr_eq(&stores.cache_store().unwrap(), &store));
        for (operation, mut call) in every(&silent(environment, Some(seconds(1))).build()) {
            assert!(settled(call.as_mut()).await.is_none(), "{operation}");
            assert_eq!(clock.sleepers(), 0, "{operation} has no timer");
        }
    });
}

#[tokio::test]
async fn what_is_declared_is_the_shorter_of_the_two() {
    let (environment, _) = manual();
    let layer = Deadline::new(seconds(2), &environment).unwrap();
    for (own, declared) in [(None, 2), (Some(9), 2), (Some(1), 1), (Some(0), 0)] {
        let stores = silent(environment.clone(), own.map(seconds)).build().layer(layer.clone());
        let declared = Some(seconds(declared));
        assert_eq!(stores.cache_store().unwrap().capabilities().base.call_deadline, declared);
        assert_eq!(stores.session_store().unwrap().capabilities().base.call_deadline, declared);
        assert_eq!(stores.event_bus().unwrap().capabilities().base.call_deadline, declared);
        assert_eq!(stores.locker().unwrap().capabilities().base.call_deadline, declared);
        assert_eq!(stores.rate_limiter().unwrap().capabilities().base.call_deadline, declared);
        assert_eq!(stores.token_store().unwrap().capabilities().base.call_deadline, declared);
    }
}

#[test]
fn zero_is_refused() {
    let environment = Environment::system();
    assert_eq!(Deadline::new(Duration::ZERO, &environment).unwrap_err().kind(), ErrorKind::InvalidInput);
    let refused = Stores::builder(environment).call_deadline(Duration::ZERO).map(drop);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn the_longest_is_no_overflow() {
    // On both clocks: one of them hands the time to the runtime's timers.
    for environment in [Environment::system(), manual().0] {
        let layer = Deadline::new(Duration::MAX, &environment).unwrap();
        let stores = MemoryBackend::with(MemoryConfig::new().environment(environment)).stores().layer(layer);
        assert_eq!(stores.cache_store().unwrap().get(&key()).await.unwrap(), None);
    }
}

#[tokio::test]
async fn an_answer_that_is_there_counts_however_late() {
    let (environment, clock) = manual();
    let (layer, faults) = (Deadline::new(seconds(1), &environment).unwrap(), Faults::new(&environment));
    let backend = MemoryBackend::with(MemoryConfig::new().environment(environment));
    let cache = backend.stores().layer(faults.clone()).layer(layer).cache_store().unwrap();
    faults.plan("cache.get", 1, Fault::Delay(seconds(1))).unwrap();
    let key = key();
    let mut call = cache.get(&key);
    assert!(settled(call.as_mut()).await.is_none());
    // Both are due now.
    clock.advance(seconds(60));
    assert_eq!(settled(call.as_mut()).await.unwrap().unwrap(), None);
}

#[tokio::test]
async fn optional_parts_are_there_where_the_store_has_them() {
    let none = CacheParts::none();
    for parts in
        [CacheParts::all(), none, none.leases(true), none.tags(true), none.feed(true), none.counters(true)]
    {
        let backend = MemoryBackend::with(MemoryConfig::new().cache_parts(parts));
        let stores = backend.stores();
        let layered = stores.layer(Deadline::new(seconds(1), stores.environment()).unwrap());
        assert_eq!(CacheParts::of(&*layered.cache_store().unwrap()), parts);
    }
}
