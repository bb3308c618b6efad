//! Waiting for permits: in turn, so that of many waiters for one subject only one asks the store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

use super::Decision;
use crate::error::{Error, ErrorKind, Result};
use crate::key::Key;

/// The lines of waiters in this process, one for each subject.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    lines: Mutex<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    waiters: usize,
    of: HashMap<Key, Line>,
}

#[derive(Debug)]
struct Line {
    waiters: usize,
    turn: Arc<Turn<()>>,
    /// What the one whose turn it is was answered.
    denied: Option<Decision>,
}

impl Waiting {
    /// The most that wait at once, for all subjects of a limiter.
    pub(super) const MOST: usize = 10_000;

    /// Enters the line.
    pub(super) fn enter(self: &Arc<Self>, key: &Key) -> Result<Waiter> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.waiters >= Self::MOST {
            let full = format!("{} wait for permits already", Self::MOST);
            return Err(Error::new(ErrorKind::Throttled, full).with_operation("limit.check"));
        }
        lines.waiters += 1;
        let new = || Line { waiters: 0, turn: Arc::default(), denied: None };
        let line = lines.of.entry(key.clone()).or_insert_with(new);
        line.waiters += 1;
        Ok(Waiter { waiting: Arc::clone(self), key: key.clone(), turn: Arc::clone(&line.turn) })
    }
}

/// A place in a line; left when it is dropped.
#[derive(Debug)]
pub(super) struct Waiter {
    waiting: Arc<Waiting>,
    key: Key,
    turn: Arc<Turn<()>>,
}

impl Waiter {
    /// In the order in which they entered.
    pub(super) async fn turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.turn).lock_owned().await
    }

    fn line<T>(&self, use_it: impl FnOnce(&mut Line) -> T) -> Option<T> {
        let mut lines = self.waiting.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.of.get_mut(&self.key).map(use_it)
    }

    pub(super) fn was_denied(&self, decision: &Decision) {
        self.line(|line| line.denied = Some(decision.clone()));
    }

    pub(super) fn last_denial(&self) -> Option<Decision> {
        self.line(|line| line.denied.clone()).flatten()
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut lines = self.waiting.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.waiters -= 1;
        if let Some(line) = lines.of.get_mut(&self.key) {
            line.waiters -= 1;
            if line.waiters == 0 {
                lines.of.remove(&self.key);
            }
        }
    }
}
