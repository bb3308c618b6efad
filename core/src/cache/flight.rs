//! One load for any number of tasks that wait for the same key.
//!
//! The load runs in a task of its own, so that no caller's cancellation ends it for the others; it is
//! aborted when the last waiter has left. A failed load is not shared: each waiter then tries with its own
//! loader, one after the other, and meets its own error.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

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
    /// The caller's own loader took longer than its hard timeout, and was ended.
    #[error("the loader took longer than its timeout of {0:?}")]
    TimedOut(Duration),
    /// The call could not be made: a bad key, closed stores, no runtime.
    #[error(transparent)]
    Store(#[from] Error),
}

/// How a flight ended, or that it has not yet.
#[derive(Debug)]
pub(super) enum Progress<T> {
    Running,
    Loaded(Option<Arc<T>>),
    /// What was read or loaded since the pilot [began](Pilot::begin) for that many times, and may be older than what others
    /// have written since. Right for those who came aboard before.
    Aged(Option<Arc<T>>, u32),
    Failed,
}

impl<T> Clone for Progress<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Running => Self::Running,
            Self::Loaded(value) => Self::Loaded(value.clone()),
            Self::Aged(value, begins) => Self::Aged(value.clone(), *begins),
            Self::Failed => Self::Failed,
        }
    }
}

struct Flight<T> {
    number: u64,
    progress: watch::Receiver<Progress<T>>,
    task: Arc<OnceLock<AbortHandle>>,
    // Those who wait for it, also once it is off the board.
    aboard: Arc<AtomicUsize>,
    // How often the pilot has begun to read or to load.
    begins: u32,
}

impl<T> Flight<T> {
    fn seat(&self, flights: &Arc<Flights<T>>, key: &Key) -> Seat<T> {
        self.aboard.fetch_add(1, Ordering::AcqRel);
        Seat {
            flights: Arc::clone(flights),
            key: key.clone(),
            number: self.number,
            progress: self.progress.clone(),
            task: Arc::clone(&self.task),
            aboard: Arc::clone(&self.aboard),
            begins: self.begins,
            leave_running: false,
        }
    }
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
        if let Some(flight) = departures.by_key.get(key) {
            return (flight.seat(self, key), None);
        }
        self.open(&mut departures, key)
    }

    fn open(self: &Arc<Self>, departures: &mut Departures<T>, key: &Key) -> (Seat<T>, Option<Pilot<T>>) {
        departures.next += 1;
        let number = departures.next;
        let (sender, progress) = watch::channel(Progress::Running);
        let (task, aboard) = (Arc::default(), Arc::default());
        let flight = Flight { number, progress, task, aboard, begins: 0 };
        let seat = flight.seat(self, key);
        departures.by_key.insert(key.clone(), flight);
        (seat, Some(Pilot { flights: Arc::clone(self), key: key.clone(), number, begins: 0, sender }))
    }

    /// As [`board`](Self::board), in a flight that begins now: one that is under way is taken off the board.
    pub(super) fn board_anew(self: &Arc<Self>, key: &Key) -> (Seat<T>, Option<Pilot<T>>) {
        let mut departures = self.departures();
        departures.by_key.remove(key);
        self.open(&mut departures, key)
    }

    /// Takes the flight for this key off the board: who is aboard arrives with it, who comes later starts afresh.
    pub(super) fn detach(&self, key: &str) {
        self.departures().by_key.remove(key);
    }

    /// Takes every flight off the board.
    pub(super) fn detach_all(&self) {
        self.departures().by_key.clear();
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
    task: Arc<OnceLock<AbortHandle>>,
    aboard: Arc<AtomicUsize>,
    // How often the pilot had begun when it was taken.
    begins: u32,
    leave_running: bool,
}

impl<T> Seat<T> {
    /// Remembers the task that flies this flight, to be aborted when the last waiter leaves.
    pub(super) fn piloted_by(&self, task: AbortHandle) {
        // The only pilot says so once.
        let _ = self.task.set(task);
    }

    /// After a flight that could not serve its passenger, whose number is answered: whatever this one lands with was begun
    /// later, and so after the passenger asked.
    pub(super) fn follows(&mut self, first: &mut Option<u64>) {
        match *first {
            Some(first) if self.number > first => self.begins = 0,
            Some(_) => {}
            None => *first = Some(self.number),
        }
    }

    /// The load goes on even if nobody waits for it.
    pub(super) fn leave_running(&mut self) {
        self.leave_running = true;
    }

    /// What was loaded; `None` if the load failed, or what it answers may be older than what this seat was taken for.
    pub(super) async fn arrival(&mut self) -> Option<Option<Arc<T>>> {
        match self.progress.wait_for(|progress| !matches!(progress, Progress::Running)).await.as_deref() {
            Ok(Progress::Loaded(value)) => Some(value.clone()),
            Ok(Progress::Aged(value, begins)) if self.begins < *begins => Some(value.clone()),
            // An error: the pilot was dropped without a word, as when the stores close.
            _ => None,
        }
    }
}

impl<T> Drop for Seat<T> {
    fn drop(&mut self) {
        if self.leave_running {
            // It keeps its place, so that nobody is the last.
            return;
        }
        // Under the lock of the board: nobody boards between the count and the removal.
        let mut departures = self.flights.departures();
        if self.aboard.fetch_sub(1, Ordering::AcqRel) == 1 {
            if departures.by_key.get(&self.key).is_some_and(|flight| flight.number == self.number) {
                departures.by_key.remove(&self.key);
            }
            drop(departures);
            if let Some(task) = self.task.get() {
                task.abort();
            }
        }
    }
}

/// The loading task's side.
pub(super) struct Pilot<T> {
    flights: Arc<Flights<T>>,
    key: Key,
    number: u64,
    begins: u32,
    sender: watch::Sender<Progress<T>>,
}

impl<T> Pilot<T> {
    /// From now on it is read or loaded what this flight may land with: who comes aboard later may have asked after that.
    pub(super) fn begin(&mut self) {
        self.begins += 1;
        let mut departures = self.flights.departures();
        if let Some(flight) = departures.by_key.get_mut(&self.key)
            && flight.number == self.number
        {
            flight.begins = self.begins;
        }
    }

    /// How the flight ends with what was read or loaded last, and may be older than what was written since.
    pub(super) fn aged(&self, value: Option<Arc<T>>) -> Progress<T> {
        Progress::Aged(value, self.begins)
    }

    /// Takes the flight off the board: who comes later starts afresh.
    pub(super) fn close(&self) {
        self.flights.close(&self.key, self.number);
    }

    /// Ends the flight.
    pub(super) fn land(self, outcome: Progress<T>) {
        self.close();
        self.sender.send_replace(outcome);
    }
}

impl<T> Drop for Pilot<T> {
    fn drop(&mut self) {
        self.flights.close(&self.key, self.number);
    }
}
