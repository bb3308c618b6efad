//! Which connections are up, and the health of the backend that follows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use stanchion::environment::Health;
use stanchion::telemetry::Tracked;
use tokio::sync::watch;

use super::purpose::Purpose;
use super::telemetry::Telemetry;

/// The state of every connection of a backend.
#[derive(Debug)]
pub(crate) struct HealthTracker {
    connections: Mutex<HashMap<u64, State>>,
    health: watch::Sender<Health>,
    telemetry: Arc<Telemetry>,
}

#[derive(Debug)]
struct State {
    purpose: Purpose,
    up: bool,
    _counted: Tracked,
}

impl HealthTracker {
    pub(super) fn new(telemetry: Arc<Telemetry>) -> Self {
        Self { connections: Mutex::default(), health: watch::Sender::new(Health::Down), telemetry }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// A connection is up or down; `None`: it is no longer wanted.
    pub(super) fn report(&self, connection: u64, purpose: Purpose, up: Option<bool>) {
        let state = up.map(|up| State { purpose, up, _counted: self.telemetry.of(purpose).state(up) });
        let before;
        {
            let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
            before = match state {
                Some(state) => connections.insert(connection, state),
                None => connections.remove(&connection),
            };
            // A subscription that is up is no help to a call.
            let health = if !connections.values().any(|state| state.purpose == Purpose::Commands && state.up)
            {
                Health::Down
            } else if connections.values().all(|state| state.up || state.purpose.has_substitute()) {
                Health::Up
            } else {
                Health::Degraded
            };
            // Under the lock, so that what is published last is the latest.
            self.health.send_if_modified(|current| std::mem::replace(current, health) != health);
        }
        // What it was ends without the lock: that calls a recorder.
        drop(before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_connection_down_degrades_and_all_down_is_down() {
        let tracker = HealthTracker::new(Arc::new(Telemetry::new()));
        let health = tracker.watch();
        tracker.report(1, Purpose::Commands, Some(true));
        assert_eq!(*health.borrow(), Health::Up);
        tracker.report(2, Purpose::Commands, Some(false));
        assert_eq!(*health.borrow(), Health::Degraded);
        tracker.report(1, Purpose::Commands, Some(false));
        assert_eq!(*health.borrow(), Health::Down);
        tracker.report(1, Purpose::Commands, None);
        tracker.report(2, Purpose::Commands, Some(true));
        assert_eq!(*health.borrow(), Health::Up);
    }

    #[test]
    fn what_commands_stand_in_for_does_not_matter() {
        let tracker = HealthTracker::new(Arc::new(Telemetry::new()));
        let health = tracker.watch();
        tracker.report(1, Purpose::Bulk, Some(true));
        assert_eq!(*health.borrow(), Health::Down);
        tracker.report(2, Purpose::Commands, Some(true));
        tracker.report(1, Purpose::Bulk, Some(false));
        tracker.report(3, Purpose::Renewals, Some(false));
        assert_eq!(*health.borrow(), Health::Up);
    }

    #[test]
    fn subscriptions_matter_but_do_not_replace_commands() {
        let tracker = HealthTracker::new(Arc::new(Telemetry::new()));
        let health = tracker.watch();
        tracker.report(1, Purpose::Commands, Some(true));
        tracker.report(2, Purpose::Subscriptions, Some(false));
        assert_eq!(*health.borrow(), Health::Degraded);
        tracker.report(1, Purpose::Commands, Some(false));
        tracker.report(2, Purpose::Subscriptions, Some(true));
        assert_eq!(*health.borrow(), Health::Down);
    }
}
