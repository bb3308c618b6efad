//! Leases of what is in flight.

use std::collections::HashMap;
use std::time::Duration;

use stanchion::key::Key;
use stanchion::limit::{LeaseOutcome, LeaseRequest};
use stanchion::time::Monotonic;

use crate::expiring::Expiring;

/// The holders of each key.
#[derive(Debug, Default)]
pub(super) struct State(Expiring<Key, HashMap<String, Lease>>);

/// Until when a place is held.
#[derive(Debug, Clone, Copy)]
struct Lease {
    until: Monotonic,
    life: Duration,
}

impl Lease {
    fn from(now: Monotonic, life: Duration) -> Self {
        Self { until: now.saturating_add(life), life }
    }

    /// Where the clock was set back, no lease lasts for longer than its life from then on.
    fn within_its_life(self, now: Monotonic) -> Self {
        Self { until: self.until.min(now.saturating_add(self.life)), ..self }
    }
}

impl State {
    pub(super) fn lease(&mut self, key: &Key, request: &LeaseRequest, now: Monotonic) -> LeaseOutcome {
        self.0.purge(now);
        let mut holders = self.0.remove(key, now).unwrap_or_default();
        for lease in holders.values_mut() {
            *lease = lease.within_its_life(now);
        }
        holders.retain(|_, lease| lease.until > now);
        let held = holders.contains_key(&request.holder);
        let outcome = if request.renews && !held {
            LeaseOutcome::Lost
        } else if held || holders.len() < usize::try_from(request.most).unwrap_or(usize::MAX) {
            holders.insert(request.holder.clone(), Lease::from(now, request.life.as_duration()));
            LeaseOutcome::Leased { in_flight: u32::try_from(holders.len()).unwrap_or(u32::MAX) }
        } else {
            let first = holders.values().map(|lease| lease.until).min().unwrap_or(now);
            LeaseOutcome::Full { retry_after: first.saturating_since(now) }
        };
        self.put(key, holders);
        outcome
    }

    pub(super) fn give_back(&mut self, key: &Key, holder: &str, now: Monotonic) -> bool {
        let mut holders = self.0.remove(key, now).unwrap_or_default();
        let held = holders.remove(holder).is_some_and(|lease| lease.until > now);
        self.put(key, holders);
        held
    }

    fn put(&mut self, key: &Key, holders: HashMap<String, Lease>) {
        if let Some(last) = holders.values().map(|lease| lease.until).max() {
            self.0.insert(key.clone(), holders, last);
        }
    }
}
