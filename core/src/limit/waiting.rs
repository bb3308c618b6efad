//! Waiting for permits: in turn, so that of many waiters for one subject only one asks the store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

use super::{Decision, Limits, Tier};
use crate::error::{Error, ErrorKind, Result};
use crate::key::Key;
use crate::time::Monotonic;

/// The waiters in this process.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    waiters: Mutex<Waiters>,
}

#[derive(Debug, Default)]
struct Waiters {
    count: usize,
    of: HashMap<Key, Subject>,
}

/// The waiters for one subject: a line for each limit, since the next of one limit may be allowed while that of another is not.
#[derive(Debug, Default)]
struct Subject {
    count: usize,
    lines: HashMap<Arc<[Tier]>, Line>,
}

#[derive(Debug, Default)]
struct Line {
    count: usize,
    turn: Arc<Turn<()>>,
    denied: Option<Denial>,
}

/// What the one whose turn it is was answered.
#[derive(Debug)]
struct Denial {
    cost: u32,
    decision: Decision,
    at: Monotonic,
}

impl Waiting {
    /// Enters the line.
    pub(super) fn enter(self: &Arc<Self>, key: &Key, tiers: &Arc<[Tier]>, cost: u32) -> Result<Waiter> {
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |what| Err(Error::new(ErrorKind::Throttled, what).with_operation("limit.check"));
        if waiters.count >= Limits::MAX_WAITERS {
            return full(format!("{} wait for permits already", Limits::MAX_WAITERS));
        }
        if waiters.of.get(key).is_some_and(|subject| subject.count >= Limits::MAX_WAITERS_OF_ONE) {
            return full(format!("{} wait for permits of one subject already", Limits::MAX_WAITERS_OF_ONE));
        }
        waiters.count += 1;
        let subject = waiters.of.entry(key.clone()).or_default();
        subject.count += 1;
        let line = subject.lines.entry(Arc::clone(tiers)).or_default();
        line.count += 1;
        let (waiting, turn) = (Arc::clone(self), Arc::clone(&line.turn));
        Ok(Waiter { waiting, key: key.clone(), tiers: Arc::clone(tiers), cost, turn })
    }
}

/// A place in a line; left when it is dropped.
#[derive(Debug)]
pub(super) struct Waiter {
    waiting: Arc<Waiting>,
    key: Key,
    tiers: Arc<[Tier]>,
    cost: u32,
    turn: Arc<Turn<()>>,
}

impl Waiter {
    /// In the order in which they entered.
    pub(super) async fn turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.turn).lock_owned().await
    }

    fn line<T>(&self, use_it: impl FnOnce(&mut Line) -> T) -> Option<T> {
        let mut waiters = self.waiting.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        waiters.of.get_mut(&self.key).and_then(|subject| subject.lines.get_mut(&self.tiers)).map(use_it)
    }

    /// This request was denied; `at` is the time before it was sent.
    pub(super) fn was_denied(&self, decision: &Decision, at: Monotonic) {
        let denial = Denial { cost: self.cost, decision: decision.clone(), at };
        self.line(|line| line.denied = Some(denial));
    }

    /// What this request would be answered, if the last that was denied is the same: another cost is another wait.
    pub(super) fn last_denial(&self, now: Monotonic) -> Option<Decision> {
        self.line(|line| {
            let denial = line.denied.as_ref().filter(|denial| denial.cost == self.cost)?;
            Some(denial.decision.clone().after(now.saturating_since(denial.at)))
        })
        .flatten()
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiters = self.waiting.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        waiters.count -= 1;
        let Some(subject) = waiters.of.get_mut(&self.key) else { return };
        subject.count -= 1;
        if subject.count == 0 {
            waiters.of.remove(&self.key);
        } else if let Some(line) = subject.lines.get_mut(&self.tiers) {
            line.count -= 1;
            if line.count == 0 {
                subject.lines.remove(&self.tiers);
            }
        }
    }
}
