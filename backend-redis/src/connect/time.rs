//! An estimate of the server's time, which needs no round trip.

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

/// An estimate: the time in the server's reply, half a round trip after the request, and what has passed since on this
/// process's own clock. Half the round trip is its error bound.
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

    /// The time at which a request is sent, by the clock of this process.
    pub(crate) fn started(&self) -> Monotonic {
        self.clock.now()
    }

    /// The estimate; this machine's own wall clock until a server has replied once.
    pub(crate) fn now(&self) -> Timestamp {
        match self.offset.load(Ordering::Relaxed) {
            UNKNOWN => self.clock.wall(),
            offset => {
                let now = micros(self.clock.now()).saturating_add(offset);
                Timestamp::from_micros(u64::try_from(now).unwrap_or_default())
            }
        }
    }

    /// Takes the reply to a `TIME` that was sent at `started`, if it is better than what is known.
    pub(crate) fn update_from(&self, started: Monotonic, reply: Value) {
        if let Some(server) = read(reply) {
            self.update(started, server);
        }
    }

    /// Takes a time from a reply to what was sent at `started`, if it is better than what is known.
    pub(crate) fn update(&self, started: Monotonic, server: Timestamp) {
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
fn read(reply: Value) -> Option<Timestamp> {
    let mut parts = reply::array(reply)?.into_iter().map(reply::count);
    match (parts.next()?, parts.next()?, parts.next()) {
        (Some(seconds), Some(micros), None) => from_parts(seconds, micros),
        _ => None,
    }
}

/// The time in the two numbers that `TIME` replies.
pub(crate) fn from_parts(seconds: u64, micros: u64) -> Option<Timestamp> {
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

    fn reply_of(seconds: u64) -> Value {
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
        time.update_from(started, reply_of(1_000));
        assert_eq!(time.now().as_micros(), 1_000_010_000, "half a trip ago it was that");
        pass(990);
        assert_eq!(time.now().as_micros(), 1_001_000_000);

        let started = time.started();
        pass(100);
        time.update_from(started, reply_of(2_000));
        assert_eq!(time.now().as_micros(), 1_001_100_000, "a longer trip says less");
        let started = time.started();
        pass(2);
        time.update_from(started, reply_of(3_000));
        assert_eq!(time.now().as_micros(), 3_000_001_000, "a shorter one says more");

        pass(70_000);
        let started = time.started();
        pass(500);
        time.update_from(started, reply_of(4_000));
        assert_eq!(time.now().as_micros(), 4_000_250_000, "the old gives way");
        time.update_from(time.started(), Value::Okay);
        time.update_from(time.started(), Value::Array(vec![Value::Nil, Value::Nil]));
        assert_eq!(time.now().as_micros(), 4_000_250_000, "what is no time is passed over");
    }
}
