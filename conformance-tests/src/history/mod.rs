//! Histories of failovers: what callers were answered, and whether what is there afterwards agrees with it.
//!
//! A test records each call with its answer, and what it reads, in a [`History`]; [`History::check`] finds what may never be: a
//! confirmed change that is gone, one that was answered as not applied and is there, a session or a token that was ended and
//! is good again, a fence that goes back. Redis replicates asynchronously: a master that is killed takes with it what its
//! replica has not got. For that a test opens a window ([`History::loss_begins`]); what was confirmed within it and is gone is
//! no violation, and is counted.
//!
//! The calls on one key, identifier or lock are made one after the other; different ones may be recorded by different
//! tasks.

mod check;
mod fence;
mod life;
#[cfg(test)]
mod tests;
mod value;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stanchion::{Effect, Result};

/// What the caller of a change was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Done,
    /// It is not done.
    NotApplied,
    /// Nobody knows.
    Unknown,
}

impl Answer {
    /// Of a call.
    pub fn of<T>(result: &Result<T>) -> Self {
        match result {
            Ok(_) => Self::Done,
            Err(error) if error.effect() == Effect::NotApplied => Self::NotApplied,
            Err(_) => Self::Unknown,
        }
    }
}

/// One entry of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    Wrote { key: String, version: u64, answer: Answer },
    Read { key: String, version: Option<u64> },
    Began { id: String, answer: Answer },
    Ended { id: String, answer: Answer },
    Seen { id: String, alive: bool },
    Granted { lock: String, fence: u64 },
    LossBegins,
    LossEnds,
}

/// What may never be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// A confirmed change is gone that no failover may have lost: of this key or identifier, with the version of a value.
    Lost(String, Option<u64>),
    /// A change that was answered as not applied, or never asked for, is there.
    Applied(String, Option<u64>),
    /// What was ended, and confirmed, is alive again.
    Revived(String),
    /// A fence of this lock is no greater than an earlier one: the earlier, the later.
    FenceWentBack(String, u64, u64),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |f: &mut fmt::Formatter<'_>, name: &str, version: &Option<u64>| match version {
            Some(version) => write!(f, "version {version} of {name}"),
            None => write!(f, "{name}"),
        };
        match self {
            Self::Lost(name, version) => {
                of(f, name, version)?;
                f.write_str(" was confirmed, and is gone")
            }
            Self::Applied(name, version) => {
                of(f, name, version)?;
                f.write_str(" was never done, and is there")
            }
            Self::Revived(id) => write!(f, "{id} was ended, and is alive"),
            Self::FenceWentBack(lock, before, after) => {
                write!(f, "the fence of {lock} went from {before} to {after}")
            }
        }
    }
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Findings {
    /// What may never be.
    pub violations: Vec<Violation>,
    /// How many confirmed changes are gone that were confirmed in a window of loss.
    pub lost: usize,
    /// How many changes were confirmed.
    pub confirmed: usize,
    /// How many were answered as not applied, or as unknown.
    pub failed: usize,
}

/// What was answered and read, in the order in which it was recorded. Clones record in the same history.
#[derive(Debug, Clone, Default)]
pub struct History(Arc<Mutex<Vec<Entry>>>);

impl History {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, entry: Entry) {
        self.entries().push(entry);
    }

    /// A version of a value was written; the versions of a key grow.
    pub fn wrote(&self, key: &str, version: u64, answer: Answer) {
        self.record(Entry::Wrote { key: key.to_owned(), version, answer });
    }

    /// This version was read, or that there is nothing.
    pub fn read(&self, key: &str, version: Option<u64>) {
        self.record(Entry::Read { key: key.to_owned(), version });
    }

    /// A session was created, or a token issued. Identifiers are not used again.
    pub fn began(&self, id: &str, answer: Answer) {
        self.record(Entry::Began { id: id.to_owned(), answer });
    }

    /// A session was destroyed, or a token revoked.
    pub fn ended(&self, id: &str, answer: Answer) {
        self.record(Entry::Ended { id: id.to_owned(), answer });
    }

    /// A session was found, or a token was good; or not.
    pub fn seen(&self, id: &str, alive: bool) {
        self.record(Entry::Seen { id: id.to_owned(), alive });
    }

    /// A lock was acquired with this fence.
    pub fn granted(&self, lock: &str, fence: u64) {
        self.record(Entry::Granted { lock: lock.to_owned(), fence });
    }

    /// From here on what is confirmed may be lost: a master will be killed before its replica has everything.
    pub fn loss_begins(&self) {
        self.record(Entry::LossBegins);
    }

    /// The new master serves: what is confirmed from here on stays.
    pub fn loss_ends(&self) {
        self.record(Entry::LossEnds);
    }

    /// Holds what was answered against what was read.
    pub fn check(&self) -> Findings {
        check::all(&self.entries())
    }
}
