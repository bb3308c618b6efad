//! The bounds of one call: how long it waits for somebody else's load, and how long it may take.

use std::time::Duration;

use crate::cache::policy::Policy;
use crate::clock::Clock;
use crate::time::Monotonic;

/// When the parts of a call that waits are over.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallBounds {
    /// When a stale value is served in place of the load that goes on.
    pub(super) soft: Option<Monotonic>,
    /// When somebody else's load is waited for no longer.
    pub(super) wait: Monotonic,
    /// When another process's lease is waited for no longer.
    pub(super) lease: Monotonic,
    /// When the call is over, and how long that is.
    pub(super) hard: Option<(Monotonic, Duration)>,
}

impl CallBounds {
    pub(super) fn new(policy: &Policy, asked_at: Monotonic, has_stale: bool) -> Self {
        let after = |time: Duration| asked_at.saturating_add(time);
        Self {
            soft: policy.soft_timeout.filter(|_| has_stale).map(after),
            wait: after(policy.wait()),
            lease: after(policy.lease_wait()),
            hard: policy.hard_timeout.map(|hard| (after(hard), hard)),
        }
    }

    /// The hard end for whoever leads: its load ends itself then, and answers when it has given its lease back, for which
    /// the store has so long.
    pub(super) fn hard_end_of_leader(&self, store_deadline: Duration) -> Option<Monotonic> {
        self.hard.map(|(hard, _)| hard.saturating_add(store_deadline.saturating_mul(2)))
    }

    pub(super) fn hard_end(&self) -> Option<Monotonic> {
        self.hard.map(|(hard, _)| hard)
    }
}

/// Resolves then; never without a time.
pub(super) async fn at(clock: &dyn Clock, time: Option<Monotonic>) {
    match time {
        Some(time) => clock.sleep_until(time).await,
        None => std::future::pending().await,
    }
}
