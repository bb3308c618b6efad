//! Single flight: one load in this process for any number of callers that wait for the same key.
//!
//! The load runs in a task of its own, so that no caller's cancellation ends it for the others; it is
//! aborted when the last waiter has left. Its leader is the caller whose loader runs. A failed load is not shared: each
//! waiter then tries with its own loader, one after the other, and gets its own error.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::key::Key;

/// How a load ended, or that it has not yet.
#[derive(Debug)]
pub(super) enum Progress<T> {
    Running,
    Loaded(Option<Arc<T>>),
    /// What was read or loaded since the leader [began](Leader::begin) for that many times, and may be older than what others
    /// have written since. Right for those who joined before.
    MaybeStale(Option<Arc<T>>, u32),
    Failed,
}

impl<T> Clone for Progress<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Running => Self::Running,
            Self::Loaded(value) => Self::Loaded(value.clone()),
            Self::MaybeStale(value, begins) => Self::MaybeStale(value.clone(), *begins),
            Self::Failed => Self::Failed,
        }
    }
}

struct Flight<T> {
    number: u64,
    progress: watch::Receiver<Progress<T>>,
    task: Arc<OnceLock<AbortHandle>>,
    // Those who wait for it, also once it is detached.
    waiters: Arc<AtomicUsize>,
    // How often the leader has begun to read or to load.
    begins: u32,
}

impl<T> Flight<T> {
    fn waiter(&self, flights: &Arc<SingleFlight<T>>, key: &Key) -> Waiter<T> {
        self.waiters.fetch_add(1, Ordering::AcqRel);
        Waiter {
            flights: Arc::clone(flights),
            key: key.clone(),
            number: self.number,
            progress: self.progress.clone(),
            task: Arc::clone(&self.task),
            waiters: Arc::clone(&self.waiters),
            begins: self.begins,
            leave_running: false,
        }
    }
}

/// The loads in flight in this process, by key.
pub(in crate::cache) struct SingleFlight<T>(Mutex<InFlight<T>>);

struct InFlight<T> {
    next: u64,
    by_key: HashMap<Key, Flight<T>>,
}

impl<T> fmt::Debug for SingleFlight<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SingleFlight({})", self.in_flight().by_key.len())
    }
}

impl<T> Default for SingleFlight<T> {
    fn default() -> Self {
        Self(Mutex::new(InFlight { next: 0, by_key: HashMap::new() }))
    }
}

impl<T> SingleFlight<T> {
    fn in_flight(&self) -> MutexGuard<'_, InFlight<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the load of this key. Whoever is the first is its leader too, and must start a task with that.
    pub(super) fn join(self: &Arc<Self>, key: &Key) -> (Waiter<T>, Option<Leader<T>>) {
        let mut in_flight = self.in_flight();
        if let Some(flight) = in_flight.by_key.get(key) {
            return (flight.waiter(self, key), None);
        }
        self.open(&mut in_flight, key)
    }

    fn open(self: &Arc<Self>, in_flight: &mut InFlight<T>, key: &Key) -> (Waiter<T>, Option<Leader<T>>) {
        in_flight.next += 1;
        let number = in_flight.next;
        let (sender, progress) = watch::channel(Progress::Running);
        let (task, waiters) = (Arc::default(), Arc::default());
        let flight = Flight { number, progress, task, waiters, begins: 0 };
        let waiter = flight.waiter(self, key);
        in_flight.by_key.insert(key.clone(), flight);
        (waiter, Some(Leader { flights: Arc::clone(self), key: key.clone(), number, begins: 0, sender }))
    }

    /// As [`join`](Self::join), in a load that begins now: one that is in flight is detached.
    pub(super) fn join_new(self: &Arc<Self>, key: &Key) -> (Waiter<T>, Option<Leader<T>>) {
        let mut in_flight = self.in_flight();
        in_flight.by_key.remove(key);
        self.open(&mut in_flight, key)
    }

    /// Detaches the load of this key: those who wait for it are served by it, who comes later starts another.
    pub(super) fn detach(&self, key: &str) {
        self.in_flight().by_key.remove(key);
    }

    /// Detaches every load.
    pub(super) fn detach_all(&self) {
        self.in_flight().by_key.clear();
    }

    fn detach_own(&self, key: &Key, number: u64) {
        let mut in_flight = self.in_flight();
        if in_flight.by_key.get(key).is_some_and(|flight| flight.number == number) {
            in_flight.by_key.remove(key);
        }
    }
}

/// One who waits for a load; the last to leave aborts it.
pub(super) struct Waiter<T> {
    flights: Arc<SingleFlight<T>>,
    key: Key,
    number: u64,
    progress: watch::Receiver<Progress<T>>,
    task: Arc<OnceLock<AbortHandle>>,
    waiters: Arc<AtomicUsize>,
    // How often the leader had begun when it joined.
    begins: u32,
    leave_running: bool,
}

impl<T> Waiter<T> {
    /// Remembers the task of this load, to be aborted when the last waiter leaves.
    pub(super) fn run_by(&self, task: AbortHandle) {
        // The only leader says so once.
        let _ = self.task.set(task);
    }

    /// After a load that could not serve this caller: whatever a later one ends with was begun after the caller asked.
    /// `first` is the number of the caller's first load.
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

    /// What was loaded; `None` if the load failed, or what it answers may be older than what this caller asked for.
    pub(super) async fn outcome(&mut self) -> Option<Option<Arc<T>>> {
        match self.progress.wait_for(|progress| !matches!(progress, Progress::Running)).await.as_deref() {
            Ok(Progress::Loaded(value)) => Some(value.clone()),
            Ok(Progress::MaybeStale(value, begins)) if self.begins < *begins => Some(value.clone()),
            // An error: the leader was dropped without an outcome, as when the stores close.
            _ => None,
        }
    }
}

impl<T> Drop for Waiter<T> {
    fn drop(&mut self) {
        if self.leave_running {
            // It stays counted, so that nobody is the last.
            return;
        }
        // Under the lock: nobody joins between the count and the removal.
        let mut in_flight = self.flights.in_flight();
        if self.waiters.fetch_sub(1, Ordering::AcqRel) == 1 {
            if in_flight.by_key.get(&self.key).is_some_and(|flight| flight.number == self.number) {
                in_flight.by_key.remove(&self.key);
            }
            drop(in_flight);
            if let Some(task) = self.task.get() {
                task.abort();
            }
        }
    }
}

/// The loading task's side.
pub(super) struct Leader<T> {
    flights: Arc<SingleFlight<T>>,
    key: Key,
    number: u64,
    begins: u32,
    sender: watch::Sender<Progress<T>>,
}

impl<T> Leader<T> {
    /// From now on it is read or loaded what this load may end with: who joins later may have asked after that.
    pub(super) fn begin(&mut self) {
        self.begins += 1;
        let mut in_flight = self.flights.in_flight();
        if let Some(flight) = in_flight.by_key.get_mut(&self.key)
            && flight.number == self.number
        {
            flight.begins = self.begins;
        }
    }

    /// How the load ends with what was read or loaded last, and may be older than what was written since.
    pub(super) fn maybe_stale(&self, value: Option<Arc<T>>) -> Progress<T> {
        Progress::MaybeStale(value, self.begins)
    }

    /// Detaches the load: who comes later starts another.
    pub(super) fn detach(&self) {
        self.flights.detach_own(&self.key, self.number);
    }

    /// Ends the load.
    pub(super) fn finish(self, outcome: Progress<T>) {
        self.detach();
        self.sender.send_replace(outcome);
    }
}

impl<T> Drop for Leader<T> {
    fn drop(&mut self) {
        self.flights.detach_own(&self.key, self.number);
    }
}
