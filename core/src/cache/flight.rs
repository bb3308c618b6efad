//! One load for any number of tasks that wait for the same key.
//!
//! The load runs in a task of its own, so that no caller's cancellation ends it for the others; it is
//! aborted when the last waiter has left. A failed load is not shared: each waiter then tries with its own
//! loader, one after the other, and meets its own error.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::error::Error;
use crate::key::Key;

/// Why a value could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError<E> {
    /// The caller's own loader failed.
    #[error("the loader failed: {0}")]
    Loader(#[source] E),
    /// The caller's own loader panicked; the panic went no further.
    #[error("the loader panicked")]
    Panicked,
    /// The call could not be made: a bad key, closed stores, no runtime.
    #[error(transparent)]
    Store(#[from] Error),
}

/// How a flight ended, or that it has not yet.
#[derive(Debug)]
pub(super) enum Progress<T> {
    Running,
    Loaded(Arc<T>),
    Failed,
}

impl<T> Clone for Progress<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Running => Self::Running,
            Self::Loaded(value) => Self::Loaded(Arc::clone(value)),
            Self::Failed => Self::Failed,
        }
    }
}

struct Flight<T> {
    number: u64,
    waiters: usize,
    progress: watch::Receiver<Progress<T>>,
    task: Option<AbortHandle>,
}

/// The loads under way in this process, by key.
pub(super) struct Flights<T>(Mutex<Departures<T>>);

struct Departures<T> {
    next: u64,
    by_key: HashMap<Key, Flight<T>>,
}

impl<T> fmt::Debug for Flights<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flights({})", self.departures().by_key.len())
    }
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self(Mutex::new(Departures { next: 0, by_key: HashMap::new() }))
    }
}

impl<T> Flights<T> {
    fn departures(&self) -> MutexGuard<'_, Departures<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a seat in the flight for this key. Whoever opens a flight gets a pilot and must start a task
    /// with it.
    pub(super) fn board(self: &Arc<Self>, key: &Key) -> (Seat<T>, Option<Pilot<T>>) {
        let mut departures = self.departures();
        if let Some(flight) = departures.by_key.get_mut(key) {
            flight.waiters += 1;
            let seat = Seat {
                flights: Arc::clone(self),
                key: key.clone(),
                number: flight.number,
                progress: flight.progress.clone(),
            };
            return (seat, None);
        }
        departures.next += 1;
        let number = departures.next;
        let (sender, progress) = watch::channel(Progress::Running);
        let flight = Flight { number, waiters: 1, progress: progress.clone(), task: None };
        departures.by_key.insert(key.clone(), flight);
        drop(departures);
        let seat = Seat { flights: Arc::clone(self), key: key.clone(), number, progress };
        (seat, Some(Pilot { flights: Arc::clone(self), key: key.clone(), number, sender }))
    }

    fn close(&self, key: &Key, number: u64) {
        let mut departures = self.departures();
        if departures.by_key.get(key).is_some_and(|flight| flight.number == number) {
            departures.by_key.remove(key);
        }
    }
}

/// A waiter's place; the last to give it up ends the load.
pub(super) struct Seat<T> {
    flights: Arc<Flights<T>>,
    key: Key,
    number: u64,
    progress: watch::Receiver<Progress<T>>,
}

impl<T> Seat<T> {
    /// Remembers the task that flies this flight, to be aborted when the last waiter leaves.
    pub(super) fn piloted_by(&self, task: AbortHandle) {
        if let Some(flight) = self.flights.departures().by_key.get_mut(&self.key)
            && flight.number == self.number
        {
            flight.task = Some(task);
        }
    }

    /// The loaded value, or `None` if the load failed.
    pub(super) async fn arrival(&mut self) -> Option<Arc<T>> {
        match self.progress.wait_for(|progress| !matches!(progress, Progress::Running)).await.as_deref() {
            Ok(Progress::Loaded(value)) => Some(Arc::clone(value)),
            // An error: the pilot was dropped without a word, as when the stores close.
            _ => None,
        }
    }
}

impl<T> Drop for Seat<T> {
    fn drop(&mut self) {
        let mut departures = self.flights.departures();
        let Some(flight) = departures.by_key.get_mut(&self.key).filter(|flight| flight.number == self.number)
        else {
            return;
        };
        flight.waiters -= 1;
        if flight.waiters == 0
            && let Some(Flight { task: Some(task), .. }) = departures.by_key.remove(&self.key)
        {
            task.abort();
        }
    }
}

/// The loading task's side.
pub(super) struct Pilot<T> {
    flights: Arc<Flights<T>>,
    key: Key,
    number: u64,
    sender: watch::Sender<Progress<T>>,
}

impl<T> Pilot<T> {
    /// Ends the flight. It is taken off the board first: who comes later starts afresh.
    pub(super) fn land(self, outcome: Progress<T>) {
        self.flights.close(&self.key, self.number);
        self.sender.send_replace(outcome);
    }
}

impl<T> Drop for Pilot<T> {
    fn drop(&mut self) {
        self.flights.close(&self.key, self.number);
    }
}
