//! A circuit breaker: stops asking a shard of the store that does not answer.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::time::Monotonic;

/// Failures without an answer in between after which it opens,
const FAILURES: u32 = 5;
/// if they are spread over so long.
const WINDOW: Duration = Duration::from_millis(250);
/// What fails within so long is one failure, however many calls meet it.
const MOMENT: Duration = Duration::from_millis(50);
/// A failure after so long is the first of others: what failed before it says nothing of now.
const FORGOTTEN: Duration = Duration::from_secs(10);
/// For how long, before one call tries again.
const PAUSE: Duration = Duration::from_secs(1);

/// Closed while the shard answers. Once nothing was answered over a window in which several calls have failed, it is open, and
/// calls fail at once; one call at a time tries again after each pause, and the first success closes it.
#[derive(Debug, Default)]
pub(super) struct CircuitBreaker {
    is_open: AtomicBool,
    /// Whether anything has failed since the last answer: an answer looks no further where nothing has.
    is_failing: AtomicBool,
    // When the next call may try, in µs of the monotonic clock.
    next_try: AtomicU64,
    run: Mutex<Run>,
}

/// The failures since the last answer.
#[derive(Debug, Default)]
struct Run {
    failures: u32,
    first: Monotonic,
    /// The last that was counted.
    last: Monotonic,
}

fn micros(time: Monotonic) -> u64 {
    u64::try_from(time.since_origin().as_micros()).unwrap_or(u64::MAX)
}

impl CircuitBreaker {
    pub(super) fn is_closed(&self) -> bool {
        !self.is_open.load(Ordering::Relaxed)
    }

    fn run(&self) -> MutexGuard<'_, Run> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a call may ask the shard.
    pub(super) fn allows(&self, now: impl FnOnce() -> Monotonic) -> bool {
        if self.is_closed() {
            return true;
        }
        let (now, next) = (micros(now()), self.next_try.load(Ordering::Relaxed));
        // Whoever moves the time on is the one that tries; if it is dropped meanwhile, another follows.
        now >= next
            && self
                .next_try
                .compare_exchange(next, micros_after(now), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    pub(super) fn answered(&self) {
        if self.is_failing.load(Ordering::Relaxed) {
            let mut run = self.run();
            run.failures = 0;
            self.is_failing.store(false, Ordering::Relaxed);
            self.is_open.store(false, Ordering::Relaxed);
        }
    }

    pub(super) fn failed(&self, now: Monotonic) {
        let mut run = self.run();
        let since = now.saturating_since(run.last);
        if run.failures == 0 || since >= FORGOTTEN {
            *run = Run { failures: 1, first: now, last: now };
        } else if since >= MOMENT {
            run.failures = run.failures.saturating_add(1);
            run.last = now;
        }
        self.is_failing.store(true, Ordering::Relaxed);
        let lasts = now.saturating_since(run.first) >= WINDOW;
        if run.failures >= FAILURES && lasts && self.is_closed() {
            self.next_try.store(micros_after(micros(now)), Ordering::Relaxed);
            self.is_open.store(true, Ordering::Relaxed);
        }
    }
}

fn micros_after(now: u64) -> u64 {
    now.saturating_add(u64::try_from(PAUSE.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_millis(millis))
    }

    #[test]
    fn it_opens_after_failures_tries_once_a_pause_and_closes_on_success() {
        let breaker = CircuitBreaker::default();
        for n in 0..4 {
            breaker.failed(at(100 * n));
        }
        breaker.answered();
        for n in 0..5 {
            assert!(breaker.allows(|| at(600 + 100 * n)));
            breaker.failed(at(600 + 100 * n));
        }
        assert!(!breaker.allows(|| at(1_999)));
        assert!(breaker.allows(|| at(2_000)), "one tries");
        assert!(!breaker.allows(|| at(2_001)), "and no other");
        breaker.failed(at(2_100));
        assert!(!breaker.allows(|| at(2_900)));
        assert!(breaker.allows(|| at(3_000)));
        breaker.answered();
        assert!(breaker.allows(|| at(3_001)) && breaker.allows(|| at(3_001)));
    }

    #[test]
    fn what_fails_within_a_moment_does_not_open_it() {
        let breaker = CircuitBreaker::default();
        for n in 0..1_000 {
            breaker.failed(at(n / 4));
        }
        assert!(breaker.is_closed(), "a thousand calls of a quarter of a second");
        breaker.failed(at(250));
        assert!(!breaker.is_closed(), "nothing was answered since");
        let breaker = CircuitBreaker::default();
        for second in 0..4 {
            breaker.failed(at(1_000 * second));
        }
        assert!(breaker.is_closed());
        breaker.failed(at(4_000));
        assert!(!breaker.is_closed(), "also where few ask");
    }

    #[test]
    fn what_fails_together_is_one_failure() {
        let breaker = CircuitBreaker::default();
        for n in 0..4 {
            for _ in 0..100 {
                breaker.failed(at(100 * n));
            }
        }
        assert!(breaker.is_closed(), "four moments");
        breaker.failed(at(349));
        assert!(breaker.is_closed(), "still the fourth");
        breaker.failed(at(350));
        assert!(!breaker.is_closed());
    }

    #[test]
    fn a_failure_of_long_ago_does_not_open_it() {
        let breaker = CircuitBreaker::default();
        let hours = 10_000_000;
        breaker.failed(at(0));
        for n in 0..5 {
            breaker.failed(at(hours + 50 * n));
            assert!(breaker.is_closed(), "{n}: for no longer than 200 ms");
        }
        breaker.failed(at(hours + 250));
        assert!(!breaker.is_closed());
    }
}
