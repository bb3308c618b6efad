//! A circuit breaker: stops asking a shard of the store that does not answer.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::time::Monotonic;

/// Failures in a row after which it opens.
const FAILURES: u32 = 5;
/// For how long, before one call tries again.
const PAUSE: Duration = Duration::from_secs(1);

/// Closed while the shard answers. After some failures in a row it is open, and calls fail at once; one call at a
/// time tries again after each pause, and the first success closes it.
#[derive(Debug, Default)]
pub(super) struct CircuitBreaker {
    failures: AtomicU32,
    // When the next call may try, in µs of the monotonic clock.
    next_try: AtomicU64,
}

fn micros(time: Monotonic) -> u64 {
    u64::try_from(time.since_origin().as_micros()).unwrap_or(u64::MAX)
}

impl CircuitBreaker {
    pub(super) fn is_closed(&self) -> bool {
        self.failures.load(Ordering::Relaxed) < FAILURES
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
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn failed(&self, now: Monotonic) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if failures == FAILURES {
            self.next_try.store(micros_after(micros(now)), Ordering::Relaxed);
        }
        if failures > u32::MAX / 2 {
            self.failures.store(FAILURES, Ordering::Relaxed);
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
        for _ in 0..4 {
            breaker.failed(at(0));
        }
        breaker.answered();
        for _ in 0..5 {
            assert!(breaker.allows(|| at(0)));
            breaker.failed(at(0));
        }
        assert!(!breaker.allows(|| at(999)));
        assert!(breaker.allows(|| at(1_000)), "one tries");
        assert!(!breaker.allows(|| at(1_001)), "and no other");
        breaker.failed(at(1_100));
        assert!(!breaker.allows(|| at(1_900)));
        assert!(breaker.allows(|| at(2_000)));
        breaker.answered();
        assert!(breaker.allows(|| at(2_001)) && breaker.allows(|| at(2_001)));
    }
}
