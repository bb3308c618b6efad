//! How much is gathered, by the size of what is read.

use std::sync::atomic::{AtomicBool, Ordering};

use super::queue::WAITING;

/// How much is gathered.
pub(super) struct Measure {
    /// So many go out by themselves: below it gathering costs more than it saves.
    pub(super) singles: usize,
    /// So many batches are on their way at once: while one is answered, the server has another to work at.
    pub(super) senders: usize,
    /// So many keys has a batch at most, unless more wait than all senders would take then.
    pub(super) batch: usize,
}

/// For small values, where a request and a reply each cost more than what is in them.
pub(super) const LIGHT: Measure = Measure { singles: 40, senders: 2, batch: WAITING };
/// For large ones, most of whose cost is the way of their bytes: smaller batches, more of them, keep it busy.
pub(super) const HEAVY: Measure = Measure { singles: 64, senders: 12, batch: 32 };
/// From so many bytes on, on average, values are large.
const LARGE: usize = 2_048;

/// Which of the two it is, by the values that were read last.
#[derive(Default)]
pub(super) struct Sizes {
    large: AtomicBool,
}

impl Sizes {
    pub(super) fn measure(&self) -> &'static Measure {
        if self.large.load(Ordering::Relaxed) { &HEAVY } else { &LIGHT }
    }

    /// Takes note of so many values that were read, of so many bytes together.
    pub(super) fn seen(&self, values: usize, bytes: usize) {
        let large = bytes > LARGE * values;
        // Seldom news: those who read it are many.
        if values > 0 && self.large.load(Ordering::Relaxed) != large {
            self.large.store(large, Ordering::Relaxed);
        }
    }
}
