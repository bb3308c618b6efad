//! A held lock, and the task that owns it.
//!
//! One task owns each acquisition from before the request is sent until the lock is released or lost. It
//! waits, renews, and releases; callers only talk to it. So dropping a future or a guard anywhere, even
//! outside a runtime, leaks nothing.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::telemetry::{Held, TELEMETRY, Without};
use super::{AcquireOutcome, Fence, Lease, LockRequest, Locker, ReleaseOutcome, RenewOutcome};
use crate::environment::Environment;
use crate::error::{Effect, Error, ErrorKind, Result};
use crate::random::jittered;
use crate::time::Monotonic;

/// Whether a lock is still held, as far as this process can know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LockState {
    /// The lease is live.
    Held,
    /// The lease has run out, by this machine's clock counted from before the last renewal was sent, or
    /// the store says that it is somebody else's. It does not come back.
    Lost,
}

type ReleaseReply = oneshot::Sender<Result<ReleaseOutcome>>;

/// A held lock. It is renewed in the background, and released when dropped; [`release`](Self::release) also
/// says what came of it.
///
/// A guard that is not bound is dropped at once: write `let _guard = …`, not `let _ = …`, which drops it in the same
/// statement, or use [`Locks::with`](super::Locks::with), where there is no guard to be bound.
#[must_use = "the lock is released when the guard is dropped: bind it to a name (`let _guard = …`; `let _ = …` drops it \
              at once), or use `Locks::with`"]
pub struct LockGuard {
    lease: Lease,
    state: watch::Receiver<LockState>,
    // Dropping it tells the owning task to release.
    end: Option<oneshot::Sender<ReleaseReply>>,
}

impl LockGuard {
    /// The fencing token: hand it to the resource that the lock protects.
    pub fn fence(&self) -> Fence {
        self.lease.fence
    }

    /// Whether the lock is still held, as far as this process can know. Only a fence check at the resource is
    /// certain.
    pub fn state(&self) -> LockState {
        *self.state.borrow()
    }

    /// Resolves once the lock is lost; never while it is held.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn lost(&self) {
        let mut state = self.state.clone();
        // An error: the owning task is gone, and with it the renewal.
        let _ = state.wait_for(|state| *state == LockState::Lost).await;
    }

    /// Runs the future for as long as the lock is held; `None` if the lock was lost first, and the future
    /// dropped.
    ///
    /// # Cancel safety
    /// As that of the future.
    pub async fn run<F: Future>(&self, work: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            () = self.lost() => None,
            output = work => Some(output),
        }
    }

    /// Releases the lock, and says whether it was still held.
    ///
    /// # Errors
    /// The store's, where it does not answer. The release is then tried again in the background until the lease has run out.
    ///
    /// # Cancel safety
    /// The lock is released all the same if the future is dropped.
    pub async fn release(mut self) -> Result<ReleaseOutcome> {
        let (reply, outcome) = oneshot::channel();
        // A failed send or a dropped reply: the owning task ended before, because the lock was lost.
        if let Some(end) = self.end.take()
            && end.send(reply).is_ok()
            && let Ok(outcome) = outcome.await
        {
            return outcome;
        }
        Ok(ReleaseOutcome::WasLost)
    }
}

impl fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockGuard")
            .field("key", &self.lease.key)
            .field("fence", &self.lease.fence)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

/// Starts the owning task and waits for its word.
pub(super) async fn acquire(
    locker: Arc<dyn Locker>,
    environment: Environment,
    request: LockRequest,
    wait: Duration,
) -> Result<Option<LockGuard>> {
    let (word, answer) = oneshot::channel();
    let tasks = environment.tasks.clone();
    let owner = Owner { locker, environment, request };
    tasks.spawn(owner.run(wait, word))?;
    answer.await.unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::Closed, "the stores were closed").with_operation("lock.acquire"))
    })
}

struct Owner {
    locker: Arc<dyn Locker>,
    environment: Environment,
    request: LockRequest,
}

impl Owner {
    const FIRST_PAUSE: Duration = Duration::from_millis(10);
    const LONGEST_PAUSE: Duration = Duration::from_millis(250);

    fn now(&self) -> Monotonic {
        self.environment.clock.now()
    }

    async fn run(self, wait: Duration, mut word: oneshot::Sender<Result<Option<LockGuard>>>) {
        let waits = TELEMETRY.waits();
        let began_at = self.now();
        let give_up_at = began_at.saturating_add(wait);
        let mut pause = Self::FIRST_PAUSE;
        let (lease, held_until) = loop {
            // The lease is counted from before the request: the server can only have started it later.
            let asked_at = self.now();
            let remaining = match self.locker.acquire(&self.request).await {
                Ok(AcquireOutcome::Acquired(lease)) => {
                    break (lease, asked_at.saturating_add(self.request.lease.as_duration()));
                }
                Ok(AcquireOutcome::Busy { remaining }) => remaining,
                Err(error) => {
                    let doubtful = error.effect() == Effect::Unknown;
                    TELEMETRY.without(Without::Failed);
                    drop(waits);
                    // The caller need not wait for the tidying up.
                    let _ = word.send(Err(error));
                    if doubtful {
                        self.undo(asked_at).await;
                    }
                    return;
                }
            };
            let left = give_up_at.saturating_since(self.now());
            if left.is_zero() {
                TELEMETRY.without(Without::Busy);
                let _ = word.send(Ok(None));
                return;
            }
            let nap = jittered(&*self.environment.random, pause)
                .min(remaining.max(Duration::from_millis(1)))
                .min(left);
            pause = (pause * 2).min(Self::LONGEST_PAUSE);
            tokio::select! {
                biased;
                () = word.closed() => return TELEMETRY.without(Without::Abandoned),
                () = self.environment.tasks.closing() => return TELEMETRY.without(Without::Abandoned),
                () = self.environment.sleep(nap) => {}
            }
        };
        let held = TELEMETRY.acquired(began_at, self.now());
        drop(waits);
        let (end, ended) = oneshot::channel();
        let (state, watched) = watch::channel(LockState::Held);
        let guard = LockGuard { lease: lease.clone(), state: watched, end: Some(end) };
        // A guard that nobody waits for any more is dropped here, and so ends at once.
        let _ = word.send(Ok(Some(guard)));
        self.hold(lease, held_until, held, ended, state).await;
    }

    /// Renews until the guard goes, the stores close, or the lock is lost.
    async fn hold(
        &self,
        lease: Lease,
        mut held_until: Monotonic,
        held: Held<'_>,
        mut ended: oneshot::Receiver<ReleaseReply>,
        state: watch::Sender<LockState>,
    ) {
        let length = lease.lease.as_duration();
        let mut renew_in = length / 3;
        loop {
            let nap = renew_in.min(held_until.saturating_since(self.now()));
            let reply = tokio::select! {
                biased;
                reply = &mut ended => reply.ok(),
                () = self.environment.tasks.closing() => None,
                () = self.environment.sleep(nap) => {
                    let asked_at = self.now();
                    if held_until <= asked_at {
                        held.lost(asked_at);
                        state.send_replace(LockState::Lost);
                        return;
                    }
                    // A renewal that takes longer than the lease has left can't save it.
                    let renewal = tokio::select! {
                        biased;
                        renewal = self.locker.renew(std::slice::from_ref(&lease)) => Some(renewal),
                        () = self.environment.clock.sleep_until(held_until) => None,
                    };
                    match renewal.map(|outcome| outcome.map(|outcomes| outcomes.first().copied())) {
                        Some(Ok(Some(RenewOutcome::Held))) => {
                            held_until = asked_at.saturating_add(length);
                            renew_in = length / 3;
                        }
                        Some(Err(error)) => {
                            TELEMETRY.renewal_failed();
                            tracing::debug!(key = %lease.key, %error, "a lock could not be renewed; trying again");
                            renew_in = length / 10;
                        }
                        // The store says so, or the lease has run out.
                        Some(Ok(_)) | None => {
                            held.lost(self.now());
                            state.send_replace(LockState::Lost);
                            return;
                        }
                    }
                    continue;
                }
            };
            state.send_replace(LockState::Lost);
            self.release(&lease, held_until, held, reply).await;
            return;
        }
    }

    /// Releases; if nobody waits for the outcome, tries again while the lease lasts.
    async fn release(
        &self,
        lease: &Lease,
        held_until: Monotonic,
        held: Held<'_>,
        reply: Option<ReleaseReply>,
    ) {
        let outcome = self.locker.release(lease).await;
        held.released(&outcome, self.now());
        let failed = outcome.is_err();
        if let Some(reply) = reply {
            let _ = reply.send(outcome);
        }
        if failed {
            self.release_until(lease, held_until).await;
        }
    }

    /// An acquisition with an unknown end: release it by its token, which harms nobody else's lock.
    async fn undo(&self, asked_at: Monotonic) {
        let lease = Lease::new(
            self.request.key.clone(),
            self.request.token.clone(),
            Fence::new(0),
            self.request.lease,
        );
        let until = self.now().max(asked_at).saturating_add(self.request.lease.as_duration());
        self.release_until(&lease, until).await;
    }

    async fn release_until(&self, lease: &Lease, until: Monotonic) {
        let mut pause = Self::FIRST_PAUSE;
        loop {
            tokio::select! {
                biased;
                () = self.environment.tasks.closing() => return,
                () = self.environment.sleep(pause) => {}
            }
            // `WasLost` is no proof: the request may still be on its way, and be carried out later.
            if self.now() >= until || matches!(self.locker.release(lease).await, Ok(ReleaseOutcome::Released))
            {
                return;
            }
            pause *= 2;
        }
    }
}
