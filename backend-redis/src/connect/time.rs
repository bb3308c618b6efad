//! The server's time, without asking for it each time.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::Value;
use stanchion::clock::Clock;
use stanchion::time::{Monotonic, Timestamp};

use crate::reply;

/// By how much two clocks may drift apart, as a part of the time that passes: what crystals keep.
const DRIFT: u32 = 10_000;
/// An estimate of this age gives way to any other: the server may be another one by now, or have set its clock.
const OLD: Duration = Duration::from_mins(1);
const UNKNOWN: i64 = i64::MIN;

/// An estimate: what the server said, half a round trip after it was asked, and what has passed since on this
/// process's own clock. The round trip is its error bound.
#[derive(Debug)]
pub(crate) struct ServerTime {
    clock: Arc<dyn Clock>,
    // The server's time less the clock's, in µs: all that a reader needs.
    offset: AtomicI64,
    last: Mutex<Option<Sample>>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Monotonic,
    bound: Duration,
}

impl ServerTime {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, offset: AtomicI64::new(UNKNOWN), last: Mutex::default() }
    }

    /// The clock by which a question is timed.
    pub(crate) fn started(&self) -> Monotonic {
        self.clock.now()
    }

    /// The estimate; this machine's own wall clock as long as no server was asked.
    pub(crate) fn now(&self) -> Timestamp {
        match self.offset.load(Ordering::Relaxed) {
            UNKNOWN => self.clock.wall(),
            offset => {
                let now = micros(self.clock.now()).saturating_add(offset);
                Timestamp::from_micros(u64::try_from(now).unwrap_or_default())
            }
        }
    }

    /// Takes the answer to `TIME`, asked when `started` says, if it is better than what is known.
    pub(crate) fn learn(&self, started: Monotonic, answer: Value) {
        if let Some(server) = read(answer) {
            self.learn_time(started, server);
        }
    }

    pub(crate) fn learn_time(&self, started: Monotonic, server: Timestamp) {
        let trip = self.clock.now().saturating_since(started);
        let sample = Sample { at: started.saturating_add(trip / 2), bound: trip / 2 };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| last.bound_at(sample.at) < sample.bound) {
            return;
        }
        *last = Some(sample);
        let server = i64::try_from(server.as_micros()).unwrap_or(i64::MAX);
        self.offset.store(server.saturating_sub(micros(sample.at)), Ordering::Relaxed);
    }
}

impl Sample {
    /// How far off it may be later.
    fn bound_at(self, now: Monotonic) -> Duration {
        match now.saturating_since(self.at) {
            age if age > OLD => Duration::MAX,
            age => self.bound + age / DRIFT,
        }
    }
}

fn micros(time: Monotonic) -> i64 {
    i64::try_from(time.since_origin().as_micros()).unwrap_or(i64::MAX)
}

/// Seconds and microseconds, as text.
fn read(answer: Value) -> Option<Timestamp> {
    let mut parts = reply::array(answer)?.into_iter().map(reply::count);
    match (parts.next()?, parts.next()?, parts.next()) {
        (Some(seconds), Some(micros), None) => of_parts(seconds, micros),
        _ => None,
    }
}

/// The time that `TIME` says in two numbers.
pub(crate) fn of_parts(seconds: u64, micros: u64) -> Option<Timestamp> {
    seconds.checked_mul(1_000_000)?.checked_add(micros).map(Timestamp::from_micros)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use async_trait::async_trait;

    use super::*;

    #[derive(Debug, Default)]
    struct Hand(AtomicU64);

    #[async_trait]
    impl Clock for Hand {
        fn now(&self) -> Monotonic {
            Monotonic::from_origin(Duration::from_millis(self.0.load(Ordering::Relaxed)))
        }

        fn wall(&self) -> Timestamp {
            Timestamp::from_secs(1)
        }

        async fn sleep_until(&self, _: Monotonic) {}
    }

    fn answer(seconds: u64) -> Value {
        let text = |number: u64| Value::BulkString(number.to_string().into_bytes());
        Value::Array(vec![text(seconds), text(0)])
    }

    #[test]
    fn the_better_estimate_is_kept_and_an_old_one_gives_way() {
        let hand = Arc::new(Hand::default());
        let time = ServerTime::new(Arc::clone(&hand) as Arc<dyn Clock>);
        let pass = |millis| hand.0.fetch_add(millis, Ordering::Relaxed);
        assert_eq!(time.now(), Timestamp::from_secs(1), "nothing is known yet");

        let started = time.started();
        pass(20);
        time.learn(started, answer(1_000));
        assert_eq!(time.now().as_micros(), 1_000_010_000, "half a trip ago it was that");
        pass(990);
        assert_eq!(time.now().as_micros(), 1_001_000_000);

        let started = time.started();
        pass(100);
        time.learn(started, answer(2_000));
        assert_eq!(time.now().as_micros(), 1_001_100_000, "a longer trip says less");
        let started = time.started();
        pass(2);
        time.learn(started, answer(3_000));
        assert_eq!(time.now().as_micros(), 3_000_001_000, "a shorter one says more");

        pass(70_000);
        let started = time.started();
        pass(500);
        time.learn(started, answer(4_000));
        assert_eq!(time.now().as_micros(), 4_000_250_000, "the old gives way");
        time.learn(time.started(), Value::Okay);
        time.learn(time.started(), Value::Array(vec![Value::Nil, Value::Nil]));
        assert_eq!(time.now().as_micros(), 4_000_250_000, "what is no time is passed over");
    }
}
