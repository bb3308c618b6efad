//! Calls and their durations, measured.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::outcome::{Outcome, reported};
use super::{Answer, Around, Call};
use crate::clock::Clock;
use crate::environment::Environment;
use crate::error::Result;
use crate::telemetry::store::{CALL_SECONDS, CALLS};
use crate::telemetry::{Counter, Histogram};

/// Counts every call by its outcome, and records how long it took, by the clock of the environment.
///
/// | metric | labels |
/// |---|---|
/// | [`stanchion_store_calls_total`](CALLS) | `area`, `operation`, `outcome`: `ok`, the kind of the error, as `invalid_input`, or `cancelled` |
/// | [`stanchion_store_call_seconds`](CALL_SECONDS), not of cancelled calls | `area`, `operation` |
///
/// Never a key, an id or a user. A lost race is `ok`.
///
/// # Cancel safety
/// Dropping the future drops the call, which is counted as `cancelled`.
#[derive(Clone)]
pub struct Metrics {
    clock: Arc<dyn Clock>,
    operations: Arc<HashMap<&'static str, Operation>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// The handles of one operation.
struct Operation {
    seconds: Histogram,
    ok: Counter,
    /// By outcome, made when there is the first.
    others: Mutex<HashMap<&'static str, Arc<Counter>>>,
}

impl Metrics {
    /// Measures by the clock of this environment.
    pub fn new(environment: &Environment) -> Self {
        let operations = Call::ALL.iter().map(|call| (call.operation, Operation::new(*call)));
        Self { clock: Arc::clone(&environment.clock), operations: Arc::new(operations.collect()) }
    }
}

impl Operation {
    fn new(call: Call) -> Self {
        Self {
            seconds: Histogram::new(&CALL_SECONDS, &[call.area().into(), call.operation.into()]),
            ok: counter(call, "ok"),
            others: Mutex::default(),
        }
    }

    fn ended(&self, call: Call, outcome: Outcome, took: Duration) {
        match outcome {
            Outcome::Ok => self.ok.one(),
            Outcome::Failed(kind) => self.other(call, kind.name()).one(),
            Outcome::Cancelled => return self.other(call, "cancelled").one(),
        }
        self.seconds.record(took);
    }

    /// Counted by the caller, not under the lock: a recorder may take its time.
    fn other(&self, call: Call, outcome: &'static str) -> Arc<Counter> {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(others.entry(outcome).or_insert_with(|| Arc::new(counter(call, outcome))))
    }
}

fn counter(call: Call, outcome: &'static str) -> Counter {
    Counter::new(&CALLS, &[call.area().into(), call.operation.into(), outcome.into()])
}

impl Around for Metrics {
    fn deadline(&self, own: Option<Duration>) -> Option<Duration> {
        own
    }

    async fn call<'a, T: Send + 'a>(
        &'a self,
        call: Call,
        mut work: impl FnMut() -> Answer<'a, T> + Send + 'a,
    ) -> Result<T> {
        let Some(operation) = self.operations.get(call.operation) else {
            // Every call is in the table.
            return work().await;
        };
        let began = self.clock.now();
        let ended = |outcome| operation.ended(call, outcome, self.clock.now().saturating_since(began));
        reported(work(), ended).await
    }
}
