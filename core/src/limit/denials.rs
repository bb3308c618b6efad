//! Denials that this process remembers, so that they cost no trip.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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

#[derive(Default)]
struct State {
    /// Grows with everything that may end a denial early.
    changes: u64,
    denied: HashMap<Key, Denial>,
}

struct Denial {
    /// When the request is allowed, as far as is known.
    until: Monotonic,
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
        Self { most, state: Mutex::default() }
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
        let left = denial.until.saturating_since(now);
        // A smaller request may be allowed, and so may one under other tiers.
        if cost < denial.cost || denial.tiers != tiers {
            return Err(changes);
        }
        let mut decision = denial.decision.clone().by(DecidedBy::DenyCopy);
        if let Decision::Denied { retry_after, tiers, .. } = &mut decision {
            let passed = retry_after.saturating_sub(left);
            *retry_after = left;
            for status in tiers {
                status.next_in = status.next_in.saturating_sub(passed);
                status.full_in = status.full_in.saturating_sub(passed);
            }
        }
        Ok(decision)
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
        if state.denied.len() >= self.most && !state.denied.contains_key(key) {
            state.denied.retain(|_, denial| denial.remembered_until > now);
            if state.denied.len() >= self.most {
                return;
            }
        }
        let denial = Denial {
            until: asked_at.saturating_add(*retry_after),
            remembered_until: asked_at.saturating_add((*retry_after).min(Self::LONGEST)),
            tiers: tiers.to_vec(),
            cost,
            decision: decision.clone(),
        };
        state.denied.insert(key.clone(), denial);
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
