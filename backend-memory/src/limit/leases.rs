//! Leases of what is in flight.

use std::collections::HashMap;

use stanchion::key::Key;
use stanchion::limit::{LeaseOutcome, LeaseRequest};
use stanchion::time::Monotonic;

use crate::expiring::Expiring;

/// The holders of each key, and until when.
#[derive(Debug, Default)]
pub(super) struct State(Expiring<Key, HashMap<String, Monotonic>>);

impl State {
    pub(super) fn lease(&mut self, key: &Key, request: &LeaseRequest, now: Monotonic) -> LeaseOutcome {
        self.0.purge(now);
        let mut holders = self.0.remove(key, now).unwrap_or_default();
        holders.retain(|_, until| *until > now);
        let held = holders.contains_key(&request.holder);
        let outcome = if request.renews && !held {
            LeaseOutcome::Lost
        } else if held || holders.len() < usize::try_from(request.most).unwrap_or(usize::MAX) {
            holders.insert(request.holder.clone(), now.saturating_add(request.life.as_duration()));
            LeaseOutcome::Leased { in_flight: u32::try_from(holders.len()).unwrap_or(u32::MAX) }
        } else {
            let first = holders.values().min().copied().unwrap_or(now);
            LeaseOutcome::Full { retry_after: first.saturating_since(now) }
        };
        self.put(key, holders);
        outcome
    }

    pub(super) fn give_back(&mut self, key: &Key, holder: &str, now: Monotonic) -> bool {
        let mut holders = self.0.remove(key, now).unwrap_or_default();
        let held = holders.remove(holder).is_some_and(|until| until > now);
        self.put(key, holders);
        held
    }

    fn put(&mut self, key: &Key, holders: HashMap<String, Monotonic>) {
        if let Some(last) = holders.values().max().copied() {
            self.0.insert(key.clone(), holders, last);
        }
    }
}
