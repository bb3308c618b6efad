//! Faults on request, for the tests of services.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

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
/// # Cancel safety
/// Dropping the future drops the call, or its delay.
#[derive(Debug, Clone)]
pub struct Faults {
    environment: Environment,
    planned: Arc<Mutex<Vec<Planned>>>,
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
        Self { environment: environment.clone(), planned: Arc::default() }
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
        self.planned.lock().unwrap_or_else(PoisonError::into_inner).push(planned);
        Ok(())
    }

    /// Nothing is planned any more.
    pub fn clear(&self) {
        self.planned.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn next(&self, call: Call) -> Option<Fault> {
        let mut planned = self.planned.lock().unwrap_or_else(PoisonError::into_inner);
        planned.retain(|planned| planned.calls > 0);
        let next = planned.iter_mut().find(|planned| planned.operation == call.operation)?;
        next.calls -= 1;
        Some(next.fault.clone())
    }
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
                Err(Error::new(ErrorKind::Unavailable, "the reply was lost, as planned")
                    .with_effect(call.unanswered())
                    .with_operation(call.operation))
            }
            Some(Fault::Delay(by)) => {
                self.environment.sleep(by).await;
                work().await
            }
            Some(Fault::Hang) => std::future::pending().await,
        }
    }
}
