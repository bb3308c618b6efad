//! How many retries there may be, so that an outage is not multiplied.

use std::sync::atomic::{AtomicU64, Ordering};

/// A token bucket that calls fill and retries empty: of any `n` calls in a row at most `reserve + n × percent / 100` are
/// retried.
#[derive(Debug)]
pub(super) struct Budget {
    /// In hundredths of a retry.
    balance: AtomicU64,
    most: u64,
    percent: u64,
}

/// One retry.
const RETRY: u64 = 100;

impl Budget {
    /// A full one.
    pub(super) fn new(percent: u32, reserve: u32) -> Self {
        let most = u64::from(reserve) * RETRY;
        Self { balance: AtomicU64::new(most), most, percent: u64::from(percent) }
    }

    /// For a call, whatever comes of it.
    pub(super) fn deposit(&self) {
        // Nothing is written while it is full, which is nearly always: calls don't contend for it.
        let _ = self.balance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |balance| {
            (balance < self.most).then(|| (balance + self.percent).min(self.most))
        });
    }

    /// Whether there may be a retry; it is paid for.
    pub(super) fn withdraw(&self) -> bool {
        self.balance
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |balance| balance.checked_sub(RETRY))
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_any_calls_in_a_row_the_reserve_and_a_share_are_retried() {
        let budget = Budget::new(10, 5);
        for run in [100_u32, 7, 1_000] {
            let retried = (0..run).filter(|_| {
                budget.deposit();
                budget.withdraw()
            });
            let retried = u32::try_from(retried.count()).unwrap();
            assert!(retried <= 5 + run / 10, "{retried} of {run}");
            assert!(retried >= run / 10, "{retried} of {run}: the share is granted");
            // Success fills it again, to no more than the reserve.
            (0..1_000).for_each(|_| budget.deposit());
        }
        assert_eq!((0..100).filter(|_| budget.withdraw()).count(), 5);
    }

    #[test]
    fn without_a_share_the_reserve_is_all() {
        let budget = Budget::new(0, 2);
        (0..1_000).for_each(|_| budget.deposit());
        assert_eq!((0..10).filter(|_| budget.withdraw()).count(), 2);
    }
}
