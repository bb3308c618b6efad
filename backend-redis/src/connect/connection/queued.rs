//! How much waits to be sent, and the bounds of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use stanchion::{Error, ErrorKind, Result};

/// So many requests of one kind may wait; more are refused, as the server is far behind.
pub(super) const MAX_QUEUED: usize = 65_536;
/// While so many bytes of one kind wait, no more are taken. One request may be larger than that, if it comes before.
pub(super) const MAX_QUEUED_BYTES: usize = 64 * 1_024 * 1_024;

/// The bytes are below the number.
const BYTES: u32 = 40;
/// No request counts for more, so that no sum of them reaches the number.
const MAX_COUNTED: u64 = 1 << 32;

/// A number of requests, and their bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Amount(u64);

impl Amount {
    /// One request of so many bytes.
    pub(super) fn of(bytes: usize) -> Self {
        let bytes = u64::try_from(bytes).unwrap_or(MAX_COUNTED).min(MAX_COUNTED);
        Self((1 << BYTES) | bytes)
    }

    /// So many requests, without their bytes.
    pub(super) fn of_requests(count: usize) -> Self {
        Self((count as u64) << BYTES)
    }

    /// The bytes of one request, without it.
    pub(super) fn of_bytes(bytes: usize) -> Self {
        Self(Self::of(bytes).bytes())
    }

    pub(super) fn requests(self) -> u64 {
        self.0 >> BYTES
    }

    pub(super) fn bytes(self) -> u64 {
        self.0 & ((1 << BYTES) - 1)
    }

    pub(super) fn add(&mut self, other: Self) {
        self.0 += other.0;
    }
}

/// The requests of one kind that wait to be sent: those in the channel from the callers to the task, and in its backlog.
///
/// Callers add to it, in one step; the task takes away what it sends, and what it drops. A caller that leaves before takes away
/// the bytes of its commands, which it frees; their place in the queue is there until the task comes by, and counts until then.
#[derive(Debug, Default)]
pub(super) struct Queued(AtomicU64);

impl Queued {
    /// One more, of so many bytes.
    ///
    /// # Errors
    /// [`Throttled`](ErrorKind::Throttled) if too much waits already; nothing is added then.
    pub(super) fn add(&self, bytes: usize) -> Result<()> {
        let more = Amount::of(bytes);
        let before = self.add_always(more);
        if before.requests() >= MAX_QUEUED as u64 || before.bytes() >= MAX_QUEUED_BYTES as u64 {
            self.remove(more);
            return Err(full());
        }
        Ok(())
    }

    /// One more, whatever waits; answers what does.
    pub(super) fn add_always(&self, more: Amount) -> Amount {
        // It guards nothing else.
        Amount(self.0.fetch_add(more.0, Ordering::Relaxed))
    }

    pub(super) fn remove(&self, amount: Amount) {
        if amount != Amount::default() {
            let _ = self.0.fetch_sub(amount.0, Ordering::Relaxed);
        }
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> Amount {
        Amount(self.0.load(Ordering::Relaxed))
    }
}

fn full() -> Error {
    let why = format!(
        "{MAX_QUEUED} requests, or {} MiB of them, wait for this server already",
        MAX_QUEUED_BYTES >> 20
    );
    Error::new(ErrorKind::Throttled, why).with_retry_after(Duration::from_millis(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_number_and_bytes_are_bounded() {
        let queued = Queued::default();
        for _ in 0..MAX_QUEUED {
            queued.add(10).unwrap();
        }
        let full = queued.waiting();
        assert_eq!((full.requests(), full.bytes()), (MAX_QUEUED as u64, 10 * MAX_QUEUED as u64));
        let refused = queued.add(0).unwrap_err();
        assert_eq!((refused.kind(), refused.effect()), (ErrorKind::Throttled, stanchion::Effect::NotApplied));
        assert!(refused.retry_after().is_some());
        assert_eq!(queued.waiting(), full, "what is refused is not counted");
        queued.remove(Amount::of(10));
        queued.add(10).unwrap();

        let queued = Queued::default();
        let half = MAX_QUEUED_BYTES / 2;
        for _ in 0..2 {
            queued.add(half).unwrap();
        }
        assert_eq!(queued.add(1).unwrap_err().kind(), ErrorKind::Throttled);
        queued.remove(Amount::of(half));
        queued.add(1).unwrap();
    }

    #[test]
    fn one_that_is_larger_than_the_bound_is_taken_where_little_waits() {
        let (queued, large) = (Queued::default(), usize::MAX);
        queued.add(large).unwrap();
        assert_eq!(queued.waiting().requests(), 1);
        assert!(queued.add(0).is_err());
        queued.remove(Amount::of(large));
        assert_eq!(queued.waiting(), Amount::default());
    }
}
