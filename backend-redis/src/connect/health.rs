//! Which connections are up, and what that makes of the whole.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use stanchion::stores::Health;
use tokio::sync::watch;

/// What a connection carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carries {
    Commands,
    Subscriptions,
}

/// The state of every connection of a backend.
#[derive(Debug)]
pub(crate) struct Board {
    connections: Mutex<HashMap<u64, (Carries, bool)>>,
    health: watch::Sender<Health>,
}

impl Board {
    pub(crate) fn new() -> Self {
        Self { connections: Mutex::default(), health: watch::Sender::new(Health::Down) }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Says that a connection is up or away; `None`: that it is no longer wanted.
    pub(super) fn report(&self, connection: u64, carries: Carries, up: Option<bool>) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        match up {
            Some(up) => connections.insert(connection, (carries, up)),
            None => connections.remove(&connection),
        };
        // A subscription that lives on is no help to a call.
        let health = if !connections.values().any(|state| *state == (Carries::Commands, true)) {
            Health::Down
        } else if connections.values().all(|(_, up)| *up) {
            Health::Up
        } else {
            Health::Degraded
        };
        // Under the lock, so that the last word is the latest.
        self.health.send_if_modified(|current| std::mem::replace(current, health) != health);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_connection_away_degrades_and_all_away_is_down() {
        let board = Board::new();
        let health = board.watch();
        board.report(1, Carries::Commands, Some(true));
        assert_eq!(*health.borrow(), Health::Up);
        board.report(2, Carries::Commands, Some(false));
        assert_eq!(*health.borrow(), Health::Degraded);
        board.report(1, Carries::Commands, Some(false));
        assert_eq!(*health.borrow(), Health::Down);
        board.report(1, Carries::Commands, None);
        board.report(2, Carries::Commands, Some(true));
        assert_eq!(*health.borrow(), Health::Up);
    }

    #[test]
    fn subscriptions_count_but_do_not_stand_in_for_commands() {
        let board = Board::new();
        let health = board.watch();
        board.report(1, Carries::Commands, Some(true));
        board.report(2, Carries::Subscriptions, Some(false));
        assert_eq!(*health.borrow(), Health::Degraded);
        board.report(1, Carries::Commands, Some(false));
        board.report(2, Carries::Subscriptions, Some(true));
        assert_eq!(*health.borrow(), Health::Down);
    }
}
