//! A place in flight, and giving it back to a store that does not answer.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::{LeaseRequest, RateLimiter};
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::key::{Key, Name};
use crate::random::jittered;
use crate::telemetry::{Counter, limit as metric};
use crate::time::Monotonic;

/// The places of one kind that could not be given back yet: what tries again for them is bounded.
#[derive(Debug)]
pub(super) struct Unanswered {
    room: Semaphore,
    full: Counter,
    refused: Counter,
    expired: Counter,
}

impl Unanswered {
    /// So many places of one [`InFlight`](super::InFlight) wait at most to be given back. Each is a task; in an outage there would be
    /// as many of them as there were callers, and each place ends by itself.
    pub(super) const MOST: usize = 1_024;

    pub(super) fn of(kind: &Name) -> Self {
        let left = |reason: &'static str| Counter::new(&metric::PLACES_LEFT, &[kind.into(), reason.into()]);
        Self {
            room: Semaphore::new(Self::MOST),
            full: left("full"),
            refused: left("refused"),
            expired: left("expired"),
        }
    }

    fn room(&self) -> Option<SemaphorePermit<'_>> {
        let room = self.room.try_acquire().ok();
        if room.is_none() {
            self.full.one();
        }
        room
    }
}

pub(super) struct Place {
    pub(super) store: Arc<dyn RateLimiter>,
    pub(super) environment: Environment,
    pub(super) key: Key,
    pub(super) request: LeaseRequest,
    pub(super) unanswered: Arc<Unanswered>,
}

impl Place {
    const FIRST_PAUSE: Duration = Duration::from_millis(100);
    const LONGEST_PAUSE: Duration = Duration::from_secs(5);

    /// Gives back what was held. Where the store does not answer it is asked again, unless too many wait for that already.
    pub(super) async fn give_back(&self, held_until: Monotonic) -> Result<bool> {
        self.try_until(held_until, None).await
    }

    /// Gives back what may have been taken. Its caller is answered already and may come again, so that the first try needs room too.
    pub(super) async fn give_back_doubtful(&self, held_until: Monotonic) {
        if let Some(room) = self.unanswered.room() {
            let _ = self.try_until(held_until, Some(room)).await;
        }
    }

    /// Tries until it is answered, until an error says that another try is no better, or until the lease is over.
    async fn try_until<'a>(
        &'a self,
        held_until: Monotonic,
        mut room: Option<SemaphorePermit<'a>>,
    ) -> Result<bool> {
        let (mut pause, mut hurries) = (Self::FIRST_PAUSE, false);
        loop {
            let error = match self.store.give_back(&self.key, &self.request.holder).await {
                Ok(held) => return Ok(held),
                Err(error) => error,
            };
            // A place that was given back is nobody's, so giving it back twice does no harm.
            if !error.is_retryable(true) {
                self.unanswered.refused.one();
                return Err(error);
            }
            let again = self.again(&error, pause);
            if again >= held_until {
                self.unanswered.expired.one();
                return Err(error);
            }
            if room.is_none() {
                room = self.unanswered.room();
                if room.is_none() {
                    return Err(error);
                }
            }
            tokio::select! {
                biased;
                // The stores wait for this, and not for long: it is tried at once, and after short pauses.
                () = self.environment.tasks.closing(), if !hurries => {
                    (pause, hurries) = (Self::FIRST_PAUSE, true);
                }
                () = self.environment.clock.sleep_until(again) => pause = (pause * 2).min(Self::LONGEST_PAUSE),
            }
        }
    }

    /// When to try again. Jitter also where the store said when: it has said the same to everybody.
    fn again(&self, error: &Error, pause: Duration) -> Monotonic {
        let asked_for = error.retry_after().unwrap_or_default();
        let wait = asked_for.saturating_add(jittered(&*self.environment.random, pause));
        self.environment.clock.now().saturating_add(wait)
    }
}
