//! What the task that drives a connection and those who hold the connection know of each other.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use stanchion::Error;

use super::end::Ended;
use super::queued::{Amount, Queued};
use crate::error::Access;

#[derive(Debug, Default)]
pub(super) struct Status {
    /// The commands that wait to be sent,
    pub(super) commands: Queued,
    /// and the reads.
    pub(super) reads: Queued,
    // Of so many requests with commands the callers have left before they were sent.
    left: AtomicU64,
    // Only the task writes these.
    polls: AtomicU64,
    progress: AtomicU64,
    ended: AtomicU8,
}

impl Status {
    /// The caller of commands of so many bytes leaves before they are sent, and frees these; their place stays.
    pub(super) fn leaves(&self, bytes: usize) {
        let _ = self.left.fetch_add(1, Ordering::Relaxed);
        self.commands.remove(Amount::of_bytes(bytes));
    }

    /// How many have done so.
    pub(super) fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    /// The task runs.
    pub(super) fn polled(&self) {
        self.polls.store(self.polls().wrapping_add(1), Ordering::Relaxed);
    }

    /// How often the task has run.
    pub(super) fn polls(&self) -> u64 {
        self.polls.load(Ordering::Relaxed)
    }

    /// So many bytes were read, or written while more wait to be: the server lives, and reads.
    pub(super) fn progressed(&self, bytes: usize) {
        if bytes > 0 {
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            self.progress.store(self.progress().wrapping_add(bytes), Ordering::Relaxed);
        }
    }

    pub(super) fn progress(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    /// The task ends, and drops what it has; this is why.
    pub(super) fn end(&self, why: Ended) {
        self.ended.store(why as u8, Ordering::Release);
    }

    /// The same, where no other reason is known.
    pub(super) fn end_unless_known(&self, why: Ended) {
        // If that fails it was.
        let _ = self.ended.compare_exchange(Ended::Not as u8, why as u8, Ordering::AcqRel, Ordering::Acquire);
    }

    /// The error of a request that the task has dropped, or that can't be handed to it any more.
    pub(super) fn dropped(&self, access: Access, taken: bool) -> Error {
        Ended::from_code(self.ended.load(Ordering::Acquire)).error(access, taken)
    }
}
