//! Failed attempts.

use std::time::Duration;

use stanchion::key::Key;
use stanchion::limit::{AttemptOutcome, AttemptRequest, Failures, Settlement};
use stanchion::time::{Monotonic, Timestamp};

use crate::expiring::Expiring;

/// Microseconds of a clock that never goes back. Zero is no time, but never.
fn instant(now: Monotonic) -> Timestamp {
    super::instant(now).saturating_add(Duration::from_micros(1))
}

#[derive(Debug, Default)]
pub(super) struct State(Expiring<Key, Failures>);

impl State {
    pub(super) fn attempt(&mut self, key: &Key, request: &AttemptRequest, now: Monotonic) -> AttemptOutcome {
        self.change(key, now, |failures| failures.attempt(request, instant(now)).0)
    }

    pub(super) fn settle(&mut self, key: &Key, settlement: &Settlement, now: Monotonic) {
        self.change(key, now, |failures| failures.settle(settlement, instant(now)));
    }

    fn change<T>(&mut self, key: &Key, now: Monotonic, change: impl FnOnce(&mut Failures) -> T) -> T {
        self.0.purge(now);
        let mut failures = self.0.remove(key, now).unwrap_or_default();
        let outcome = change(&mut failures);
        let until = failures.until();
        if until > instant(now) {
            // As far from now as by the clock of microseconds.
            let left = until.saturating_since(instant(now));
            self.0.insert(key.clone(), failures, now.saturating_add(left));
        }
        outcome
    }
}
