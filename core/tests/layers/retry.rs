//! What is retried, when, how often, and what is not.

use std::time::Duration;

use stanchion::clock::ManualClock;
use stanchion::layer::{Deadline, Fault, Faults, Retry};
use stanchion::lock::AcquireOutcome;
use stanchion::stores::Stores;
use stanchion::time::seconds;
use stanchion::{Effect, Error, ErrorKind};

use crate::calls::{key, lock, ttl};
use crate::seen::Seen;
use crate::support::manual;
use crate::{driven, settled, without_timers};

const MS: Duration = Duration::from_millis(1);

/// Memory, with faults around it, and around them what counts the attempts.
struct Bed {
    stores: Stores,
    faults: Faults,
    attempts: Seen,
    clock: ManualClock,
}

fn bed() -> Bed {
    let (backend, clock) = manual();
    let stores = backend.stores();
    let (faults, attempts) = (Faults::new(stores.environment()), Seen::default());
    let stores = stores.layer(faults.clone()).layer(attempts.clone());
    Bed { stores, faults, attempts, clock }
}

impl Bed {
    fn retry(&self) -> Retry {
        Retry::new(self.stores.environment())
    }

    fn fail(&self, operation: &str, calls: u32, error: Error) {
        self.faults.plan(operation, calls, Fault::Fail(error)).unwrap();
    }
}

fn down() -> Error {
    Error::new(ErrorKind::Unavailable, "down")
}

#[test]
fn a_call_that_fails_in_passing_is_retried_after_a_growing_pause() {
    without_timers(async {
        let bed = bed();
        let cache = bed.stores.layer(bed.retry()).cache_store().unwrap();
        bed.fail("cache.get", 2, down());
        let (answer, took) = driven(&bed.clock, MS, cache.get(&key())).await;
        assert_eq!(answer.unwrap(), None);
        assert_eq!(bed.attempts.count(), 3);
        // 10 to 20 ms, and 20 to 40 ms.
        assert!((30 * MS..=60 * MS).contains(&took), "{took:?}");
    });
}

#[test]
fn attempts_end() {
    without_timers(async {
        let bed = bed();
        let cache = bed.stores.layer(bed.retry().attempts(4).unwrap()).cache_store().unwrap();
        bed.fail("cache.get", 100, down());
        let (answer, _) = driven(&bed.clock, MS, cache.get(&key())).await;
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(bed.attempts.count(), 4);
    });
}

#[tokio::test]
async fn what_will_fail_again_is_not_retried() {
    let bed = bed();
    let cache = bed.stores.layer(bed.retry()).cache_store().unwrap();
    for kind in [ErrorKind::Denied, ErrorKind::InvalidInput, ErrorKind::Codec, ErrorKind::Closed] {
        bed.fail("cache.get", 1, Error::new(kind, "no"));
        assert_eq!(cache.get(&key()).await.unwrap_err().kind(), kind);
    }
    assert_eq!(bed.attempts.count(), 4);
}

#[test]
fn what_may_have_been_added_is_not_added_twice() {
    without_timers(async {
        let bed = bed();
        let cache = bed.stores.layer(bed.retry()).cache_store().unwrap();
        let counters = cache.counters().unwrap();
        bed.faults.plan("cache.add", 1, Fault::LoseReply).unwrap();
        let error = counters.add(&key(), 1, ttl()).await.unwrap_err();
        assert_eq!((error.effect(), bed.attempts.count()), (Effect::Unknown, 1));
        // But what was certainly not added is.
        bed.fail("cache.add", 1, down());
        let (sum, _) = driven(&bed.clock, MS, counters.add(&key(), 1, ttl())).await;
        assert_eq!((sum.unwrap(), bed.attempts.count()), (2, 3));
    });
}

#[test]
fn a_lock_whose_reply_was_lost_is_acquired_by_the_retry() {
    without_timers(async {
        let bed = bed();
        let locks = bed.stores.layer(bed.retry()).locker().unwrap();
        bed.faults.plan("lock.acquire", 2, Fault::LoseReply).unwrap();
        let (outcome, _) = driven(&bed.clock, MS, locks.acquire(&lock())).await;
        assert!(matches!(outcome.unwrap(), AcquireOutcome::Acquired(_)));
        assert_eq!(bed.attempts.count(), 3);
    });
}

#[test]
fn the_doubt_of_an_earlier_attempt_stays() {
    without_timers(async {
        let bed = bed();
        let cache = bed.stores.layer(bed.retry()).cache_store().unwrap();
        bed.faults.plan("cache.touch", 1, Fault::LoseReply).unwrap();
        bed.fail("cache.touch", 100, down());
        let (answer, _) = driven(&bed.clock, MS, cache.touch(&key(), ttl())).await;
        assert_eq!(answer.unwrap_err().effect(), Effect::Unknown);
        assert_eq!(bed.attempts.count(), 3);
    });
}

#[test]
fn the_store_says_when_unless_that_is_too_late() {
    without_timers(async {
        let bed = bed();
        let cache = bed.stores.layer(bed.retry()).cache_store().unwrap();
        let busy = |wait| Error::new(ErrorKind::Throttled, "busy").with_retry_after(wait);
        bed.fail("cache.get", 1, busy(500 * MS));
        let (answer, took) = driven(&bed.clock, MS, cache.get(&key())).await;
        assert_eq!(answer.unwrap(), None);
        assert!((510 * MS..=520 * MS).contains(&took), "{took:?}");
        bed.fail("cache.get", 1, busy(seconds(10)));
        assert_eq!(cache.get(&key()).await.unwrap_err().retry_after(), Some(seconds(10)));
        assert_eq!(bed.attempts.count(), 3);
    });
}

#[test]
fn an_outage_is_not_multiplied() {
    without_timers(async {
        let bed = bed();
        let stores = bed.stores.layer(bed.retry());
        let (cache, limits) = (stores.cache_store().unwrap(), stores.rate_limiter().unwrap());
        bed.fail("cache.get", u32::MAX, down());
        bed.fail("limit.peek", u32::MAX, down());
        for _ in 0..500 {
            // All areas share the budget.
            driven(&bed.clock, 5 * MS, cache.get(&key())).await.0.unwrap_err();
            driven(&bed.clock, 5 * MS, limits.peek(&key(), &[])).await.0.unwrap_err();
        }
        let retries = bed.attempts.count() - 1_000;
        assert!((100..=110).contains(&retries), "{retries} retries of 1,000 calls");
    });
}

#[test]
fn a_deadline_outside_bounds_all_attempts_and_one_inside_each() {
    without_timers(async {
        let bed = bed();
        let deadline = Deadline::new(seconds(1), bed.stores.environment()).unwrap();
        bed.faults.plan("cache.get", 1, Fault::Hang).unwrap();
        let outside = bed.stores.layer(bed.retry()).layer(deadline.clone()).cache_store().unwrap();
        let (answer, took) = driven(&bed.clock, 10 * MS, outside.get(&key())).await;
        assert_eq!((answer.unwrap_err().kind(), took), (ErrorKind::Timeout, seconds(1)));
        assert_eq!(bed.attempts.count(), 1);

        bed.faults.plan("cache.get", 1, Fault::Hang).unwrap();
        let inside = bed.stores.layer(deadline).layer(bed.retry()).cache_store().unwrap();
        let (answer, took) = driven(&bed.clock, 10 * MS, inside.get(&key())).await;
        assert_eq!(answer.unwrap(), None);
        assert!((seconds(1)..=seconds(1) + 20 * MS).contains(&took), "{took:?}");
        assert_eq!(bed.attempts.count(), 3);
    });
}

#[test]
fn what_is_declared_includes_the_retries() {
    let bed = bed();
    let deadline = Deadline::new(seconds(1), bed.stores.environment()).unwrap();
    let retry = bed.retry().attempts(3).unwrap().backoff(MS, 100 * MS).unwrap();
    let stores = bed.stores.layer(deadline).layer(retry);
    // Three attempts, and between them twice what was asked for and a back-off.
    let declared = stores.locker().unwrap().capabilities().base.call_deadline;
    assert_eq!(declared, Some(seconds(3) + 4 * 100 * MS));
}

#[test]
fn dropping_the_call_ends_its_retries() {
    without_timers(async {
        let bed = bed();
        let cache = bed.stores.layer(bed.retry()).cache_store().unwrap();
        bed.fail("cache.get", 100, down());
        let key = key();
        let mut call = cache.get(&key);
        assert!(settled(call.as_mut()).await.is_none());
        assert_eq!((bed.clock.sleepers(), bed.attempts.count()), (1, 1));
        drop(call);
        bed.clock.advance(seconds(60));
        tokio::task::yield_now().await;
        assert_eq!((bed.clock.sleepers(), bed.attempts.count()), (0, 1));
    });
}

#[test]
fn settings_out_of_their_bounds_are_refused() {
    let retry = bed().retry();
    let refused = [
        retry.clone().attempts(0),
        retry.clone().attempts(Retry::MAX_ATTEMPTS + 1),
        retry.clone().backoff(Duration::ZERO, seconds(1)),
        retry.clone().backoff(seconds(2), seconds(1)),
        retry.clone().budget(101, 1),
        retry.clone().budget(10, 0),
        retry.clone().budget(10, Retry::MAX_RESERVE + 1),
    ];
    for refused in refused {
        assert_eq!(refused.map(drop).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    assert!(retry.attempts(1).is_ok_and(|retry| retry.budget(0, 1).is_ok()));
}
