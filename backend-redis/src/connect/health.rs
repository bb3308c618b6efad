//! Which connections are up, and what that makes of the whole.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use stanchion::stores::Health;
use tokio::sync::watch;

/// The state of every connection of a backend.
#[derive(Debug)]
pub(crate) struct Board {
    connections: Mutex<HashMap<u64, bool>>,
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
    pub(super) fn report(&self, connection: u64, up: Option<bool>) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        match up {
            Some(up) => connections.insert(connection, up),
            None => connections.remove(&connection),
        };
        let up = connections.values().filter(|up| **up).count();
        let health = match up {
            0 => Health::Down,
            _ if up == connections.len() => Health::Up,
            _ => Health::Degraded,
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
        board.report(1, Some(true));
        assert_eq!(*health.borrow(), Health::Up);
        board.report(2, Some(false));
        assert_eq!(*health.borrow(), Health::Degraded);
        board.report(1, Some(false));
        assert_eq!(*health.borrow(), Health::Down);
        board.report(1, None);
        board.report(2, Some(true));
        assert_eq!(*health.borrow(), Health::Up);
    }
}
