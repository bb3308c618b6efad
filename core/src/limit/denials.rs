//! Denials that this process remembers, so that they cost no trip.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::bounded::Bounded;
use super::{DecidedBy, Decision, Tier};
use crate::key::Key;
use crate::time::Monotonic;

/// Denials by the store, until the time that each named, and for [`Denials::LONGEST`] at most: others may give back what this
/// process would deny for a month. Never for longer than the store would deny: the time is counted from before the request was
/// sent.
pub(super) struct Denials {
    most: usize,
    state: Mutex<State>,
}

struct State {
    /// Grows with everything that may end a denial early.
    changes: u64,
    denied: Bounded<Denial>,
}

struct Denial {
    /// Before the request was sent.
    asked_at: Monotonic,
    /// When the store is asked again.
    remembered_until: Monotonic,
    tiers: Vec<Tier>,
    cost: u32,
    decision: Decision,
}

impl fmt::Debug for Denials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {} denials", self.most)
    }
}

impl Denials {
    /// For how long one is remembered at most.
    pub(super) const LONGEST: Duration = Duration::from_mins(1);

    pub(super) fn new(most: usize) -> Self {
        Self { most, state: Mutex::new(State { changes: 0, denied: Bounded::new(most) }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is denied anyway, or the number of the changes so far, for [`remember`](Self::remember).
    pub(super) fn look(&self, key: &Key, tiers: &[Tier], cost: u32, now: Monotonic) -> Result<Decision, u64> {
        if self.most == 0 {
            return Err(0);
        }
        let mut state = self.state();
        let changes = state.changes;
        let Some(denial) = state.denied.get(key) else { return Err(changes) };
        if denial.remembered_until <= now {
            state.denied.remove(key);
            return Err(changes);
        }
        // Another cost has another wait, and other tiers too.
        if cost != denial.cost || denial.tiers != tiers {
            return Err(changes);
        }
        let passed = now.saturating_since(denial.asked_at);
        Ok(denial.decision.clone().by(DecidedBy::DenyCopy).after(passed))
    }

    /// Keeps a denial that was asked for at `asked_at`, unless something has changed since.
    pub(super) fn remember(
        &self,
        (key, tiers, cost): (&Key, &[Tier], u32),
        decision: &Decision,
        changes: u64,
        asked_at: Monotonic,
        now: Monotonic,
    ) {
        let Decision::Denied { retry_after, by: DecidedBy::Store, .. } = decision else { return };
        if self.most == 0 {
            return;
        }
        let mut state = self.state();
        if state.changes != changes {
            return;
        }
        let remembered_until = asked_at.saturating_add((*retry_after).min(Self::LONGEST));
        let denial =
            Denial { asked_at, remembered_until, tiers: tiers.to_vec(), cost, decision: decision.clone() };
        state.denied.put(key, denial, remembered_until, now);
    }

    /// Something is given back to this subject: its denials are forgotten now, and once more when the guard is dropped, since
    /// one may be answered meanwhile.
    pub(super) fn changing<'a>(&'a self, key: &'a Key) -> Changing<'a> {
        self.forget(key);
        Changing { denials: self, key }
    }

    fn forget(&self, key: &Key) {
        if self.most == 0 {
            return;
        }
        let mut state = self.state();
        state.changes += 1;
        state.denied.remove(key);
    }
}

pub(super) struct Changing<'a> {
    denials: &'a Denials,
    key: &'a Key,
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.denials.forget(self.key);
    }
}
