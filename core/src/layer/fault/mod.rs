//! Faults for the tests of services: on request, and at random.

mod injected;
mod random;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use self::injected::{Injected, InjectedOutcome};
pub use self::random::FaultRates;
use self::random::Seeded;
use super::{Answer, Around, Call};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};

/// Makes calls fail as a test says, to see what a service does then. Clones share what is planned: keep one, and put the
/// other around the stores.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> stanchion::Result<()> {
/// use stanchion::layer::{Fault, Faults};
/// use stanchion::prelude::*;
/// use stanchion_memory::MemoryBackend;
///
/// let stores = MemoryBackend::new().stores();
/// let faults = Faults::new(stores.environment());
/// let limits = stores.layer(faults.clone()).limits("login").per_minute(5).build()?;
///
/// faults.plan("limit.check", 1, Fault::Fail(Error::new(ErrorKind::Unavailable, "down")))?;
/// assert_eq!(limits.check("u1").await.unwrap_err().kind(), ErrorKind::Unavailable);
/// assert!(matches!(limits.check("u1").await?, Decision::Allowed { .. }));
/// # Ok(()) }
/// ```
///
/// # At random
/// [`seeded`](Self::seeded) draws what happens to each call, with a [rate](Self::rate) for everything, for an area or for an
/// operation. Each call is done, or not done, or done and reported lost, or late; a test holds its service to what must be true
/// whichever it was. What is drawn depends on the seed, the operation and how many calls of that operation there were before, and
/// on nothing else: the same calls meet the same faults again. A test that fails shows its seed and what was
/// [injected](Self::injected).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> stanchion::Result<()> {
/// use stanchion::layer::{FaultRates, Faults};
/// use stanchion::prelude::*;
/// use stanchion_memory::MemoryBackend;
///
/// let stores = MemoryBackend::new().stores();
/// let faults = Faults::seeded(stores.environment(), 7);
/// faults.rate("counter", FaultRates::new().not_done(0.5)?.lost(0.5)?).unwrap_err(); // no area of that name
/// faults.rate("cache.add", FaultRates::new().not_done(0.2)?.lost(0.2)?)?;
/// let visits = stores.layer(faults.clone()).counters("visits").ttl(minutes(10)).build()?;
///
/// let (mut done, mut unknown) = (0, 0);
/// for _ in 0..100 {
///     match visits.add("home", 1).await {
///         Ok(_) => done += 1,
///         Err(error) if error.effect() == Effect::Unknown => unknown += 1,
///         Err(_) => {} // certainly not done
///     }
/// }
/// faults.clear();
/// let sum = visits.add("home", 0).await?;
/// assert!((done..=done + unknown).contains(&sum), "seed {}: {:#?}", 7, faults.injected());
/// # Ok(()) }
/// ```
///
/// # Cancel safety
/// Dropping the future drops the call, or its delay.
#[derive(Debug, Clone)]
pub struct Faults {
    environment: Environment,
    planned: Arc<Mutex<Vec<Planned>>>,
    seeded: Option<Arc<Mutex<Seeded>>>,
}

/// What goes wrong with a call.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Fault {
    /// The call is not made, and this is its answer.
    Fail(Error),
    /// The call is made, and its reply is lost: `Unavailable`, with the effect `Unknown` if it may have changed something.
    LoseReply,
    /// The call is made after this long, by the clock of the environment.
    Delay(Duration),
    /// The call is made, and its answer comes this much later, by the clock of the environment.
    DelayReply(Duration),
    /// The call is not made, and never answered; a deadline ends it.
    Hang,
}

#[derive(Debug)]
struct Planned {
    operation: &'static str,
    calls: u32,
    fault: Fault,
}

impl Faults {
    /// Nothing is planned yet.
    pub fn new(environment: &Environment) -> Self {
        Self { environment: environment.clone(), planned: Arc::default(), seeded: None }
    }

    /// Nothing is planned, and what happens to a call is drawn by this seed, once there is a [rate](Self::rate) for it.
    pub fn seeded(environment: &Environment, seed: u64) -> Self {
        let seeded = Some(Arc::new(Mutex::new(Seeded::new(seed))));
        Self { seeded, ..Self::new(environment) }
    }

    /// Sets how often something happens to the calls of an [operation](Call::operation) (`"limit.check"`), of an
    /// [area](Call::area) (`"limit"`), or to all (`"*"`), in place of what was set for the same before. The narrower one counts.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) if there is no such operation or area, or no [seed](Self::seeded).
    pub fn rate(&self, of: &str, rates: FaultRates) -> Result<()> {
        let Some(seeded) = &self.seeded else {
            return Err(Error::invalid("faults without a seed are planned: make them with Faults::seeded"));
        };
        let is_known = |call: &Call| of == "*" || of == call.area() || of == call.operation;
        if !Call::ALL.iter().any(is_known) {
            return Err(Error::invalid(format!("there is no operation or area {of:?}")));
        }
        locked(seeded).rate(of, rates);
        Ok(())
    }

    /// What was drawn so far and did something, the oldest first; of more than [`Injected::KEPT`] the latest.
    #[must_use]
    pub fn injected(&self) -> Vec<Injected> {
        self.seeded.as_ref().map(|seeded| locked(seeded).injected()).unwrap_or_default()
    }

    /// Plans a fault of the next calls of an [operation](Call::operation), after those that were planned before.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) if there is no such operation.
    pub fn plan(&self, operation: &str, calls: u32, fault: Fault) -> Result<()> {
        let Some(call) = Call::ALL.iter().find(|call| call.operation == operation) else {
            return Err(Error::invalid(format!("there is no operation {operation:?}")));
        };
        let planned = Planned { operation: call.operation, calls, fault };
        locked(&self.planned).push(planned);
        Ok(())
    }

    /// Nothing is planned any more, and all rates are zero. What was injected can still be read.
    pub fn clear(&self) {
        locked(&self.planned).clear();
        if let Some(seeded) = &self.seeded {
            locked(seeded).clear();
        }
    }

    /// What happens to this call: what is planned for it, or else what is drawn.
    fn next(&self, call: Call) -> Option<Fault> {
        self.next_planned(call).or_else(|| locked(self.seeded.as_ref()?).draw(call))
    }

    fn next_planned(&self, call: Call) -> Option<Fault> {
        let mut planned = locked(&self.planned);
        planned.retain(|planned| planned.calls > 0);
        let next = planned.iter_mut().find(|planned| planned.operation == call.operation)?;
        next.calls -= 1;
        Some(next.fault.clone())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Around for Faults {
    fn deadline(&self, _: Option<Duration>) -> Option<Duration> {
        // A call that hangs or is delayed keeps none.
        None
    }

    async fn call<'a, T: Send + 'a>(
        &'a self,
        call: Call,
        mut work: impl FnMut() -> Answer<'a, T> + Send + 'a,
    ) -> Result<T> {
        match self.next(call) {
            None => work().await,
            Some(Fault::Fail(error)) => Err(error.with_operation(call.operation)),
            Some(Fault::LoseReply) => {
                work().await?;
                Err(Error::new(ErrorKind::Unavailable, "the reply was lost, on purpose")
                    .with_effect(call.unanswered())
                    .with_operation(call.operation))
            }
            Some(Fault::Delay(by)) => {
                self.environment.sleep(by).await;
                work().await
            }
            Some(Fault::DelayReply(by)) => {
                let answer = work().await;
                self.environment.sleep(by).await;
                answer
            }
            Some(Fault::Hang) => std::future::pending().await,
        }
    }
}
