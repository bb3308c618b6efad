//! Retries of calls that failed in passing.

use std::sync::Arc;
use std::time::Duration;

use super::budget::Budget;
use super::{Answer, Around, Call};
use crate::environment::Environment;
use crate::error::{Effect, Error, Result};
use crate::random::jittered;

/// Retries a call by the rule of [`Error::is_retryable`]: the kind of error is transient, and nothing was applied or the
/// call is [idempotent](Call). What may not be repeated is reported as it is, and its caller decides.
///
/// | bound | default | set by |
/// |---|---|---|
/// | attempts, the first included | 3 | [`attempts`](Self::attempts) |
/// | back-off before the first retry, doubled for each further one; between half of it and all, at random | 20 ms | [`backoff`](Self::backoff) |
/// | longest back-off | 1 s | [`backoff`](Self::backoff) |
/// | budget: retries of all calls | 10 % of the calls, and 10 | [`budget`](Self::budget) |
///
/// An error that says [when to try again](Error::retry_after) is waited for, with the back-off on top, unless that is
/// longer than the longest back-off: then it is the answer. The budget keeps retries from multiplying an outage, as the
/// `RetryBudget` of Finagle does (<https://finagle.github.io/blog/2016/02/08/retry-budgets>): of any `n` calls in a row at
/// most 10 and a tenth of `n` are retried. All stores of a bundle share it.
///
/// Put it on after (outside) a [`Deadline`](super::Deadline), which then bounds each attempt. One that is put on after
/// (outside) the retries bounds all attempts together: a call that hangs is then not retried.
///
/// # Cancel safety
/// Dropping the future drops the attempt that is in flight, and there is no further one.
#[derive(Debug, Clone)]
pub struct Retry {
    environment: Environment,
    attempts: u32,
    first: Duration,
    longest: Duration,
    budget: Arc<Budget>,
}

impl Retry {
    /// The most attempts that can be set.
    pub const MAX_ATTEMPTS: u32 = 10;
    /// The largest reserve that can be set.
    pub const MAX_RESERVE: u32 = 1_000_000;

    /// With the defaults of the table; waits and draws at random by this environment.
    pub fn new(environment: &Environment) -> Self {
        Self {
            environment: environment.clone(),
            attempts: 3,
            first: Duration::from_millis(20),
            longest: Duration::from_secs(1),
            budget: Arc::new(Budget::new(10, 10)),
        }
    }

    /// How often a call is made at most, the first attempt included.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for zero or more than [`Self::MAX_ATTEMPTS`].
    pub fn attempts(mut self, attempts: u32) -> Result<Self> {
        if attempts == 0 || attempts > Self::MAX_ATTEMPTS {
            return Err(Error::invalid(format!("a call takes 1 to {} attempts", Self::MAX_ATTEMPTS)));
        }
        self.attempts = attempts;
        Ok(self)
    }

    /// The back-off before the first retry, and the longest one.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for zero, and if the longest is shorter than the first.
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Result<Self> {
        if first.is_zero() || longest < first {
            return Err(Error::invalid(
                "a back-off is longer than zero, and the longest not shorter than the first",
            ));
        }
        (self.first, self.longest) = (first, longest);
        Ok(self)
    }

    /// How many calls are retried at most: this share of them, in percent, and the reserve on top, which is regained by
    /// that share.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for more than 100 %, and for a reserve of zero or more than
    /// [`Self::MAX_RESERVE`].
    pub fn budget(mut self, percent: u32, reserve: u32) -> Result<Self> {
        if percent > 100 || reserve == 0 || reserve > Self::MAX_RESERVE {
            return Err(Error::invalid(format!(
                "a retry budget takes up to 100 %, and a reserve of 1 to {}",
                Self::MAX_RESERVE
            )));
        }
        self.budget = Arc::new(Budget::new(percent, reserve));
        Ok(self)
    }

    /// How long to wait after this error before the next attempt; `None` if there is none.
    fn wait(&self, call: Call, error: &Error, attempt: u32, backoff: Duration) -> Option<Duration> {
        let asked_for = error.retry_after().unwrap_or_default();
        let may = attempt < self.attempts
            && error.is_retryable(call.idempotent)
            && asked_for <= self.longest
            && self.budget.withdraw();
        // Jitter also where the store said when: it has said the same to everybody.
        may.then(|| asked_for.saturating_add(jittered(&*self.environment.random, backoff)))
    }
}

impl Around for Retry {
    fn deadline(&self, own: Option<Duration>) -> Option<Duration> {
        // What an error asks for and the back-off are each at most the longest.
        let waits = self.longest.saturating_mul(2).saturating_mul(self.attempts - 1);
        own.map(|own| own.saturating_mul(self.attempts).saturating_add(waits))
    }

    async fn call<'a, T: Send + 'a>(
        &'a self,
        call: Call,
        mut work: impl FnMut() -> Answer<'a, T> + Send + 'a,
    ) -> Result<T> {
        self.budget.deposit();
        let (mut attempt, mut backoff, mut effect) = (1, self.first, Effect::NotApplied);
        loop {
            let mut error = match work().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            // That this attempt has changed nothing says nothing of the ones before.
            if effect == Effect::Unknown {
                error = error.with_effect(Effect::Unknown);
            }
            effect = error.effect();
            let Some(wait) = self.wait(call, &error, attempt, backoff) else {
                return Err(error);
            };
            tracing::debug!(operation = call.operation, attempt, %error, "a call failed and is retried");
            self.environment.sleep(wait).await;
            attempt += 1;
            backoff = backoff.saturating_mul(2).min(self.longest);
        }
    }
}
