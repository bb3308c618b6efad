//! Single flight: one load in this process for any number of callers that wait for the same key.
//!
//! The load runs in a task of its own, so that no caller's cancellation ends it for the others; it is
//! aborted when the last waiter has left. Its leader is the caller whose loader runs; how the load ends, also if it fails,
//! is shared by all who wait for it. A batch is one load of several keys: its task is aborted when nobody waits for any.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::chain::{LoadNumber, next_number};
use super::failure::Failure;
use crate::key::Key;

/// How a load ended, or that it has not yet.
#[derive(Debug)]
pub(super) enum Progress<T> {
    Running,
    Loaded(Option<Arc<T>>),
    /// What was read or loaded since the leader [began](Leader::begin) for that many times, and may be older than what others
    /// have written since. Right for those who joined before.
    MaybeStale(Option<Arc<T>>, u32),
    Failed(Failure),
    /// Its loader left the value out: whoever else waits loads for itself, at the same time.
    LeftOut,
    /// Nothing was loaded, and whoever waits loads for itself.
    Ended,
}

impl<T> Clone for Progress<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Running => Self::Running,
            Self::Loaded(value) => Self::Loaded(value.clone()),
            Self::MaybeStale(value, begins) => Self::MaybeStale(value.clone(), *begins),
            Self::Failed(failure) => Self::Failed(failure.clone()),
            Self::LeftOut => Self::LeftOut,
            Self::Ended => Self::Ended,
        }
    }
}

/// What a load means for one who waited for it.
#[derive(Debug)]
pub(super) enum Outcome<T> {
    Value(Option<Arc<T>>),
    Failed(Failure),
    LeftOut,
    /// Nothing: it was not for this caller, or is older than what this caller asked for.
    Again,
}

/// The task of a load.
struct LoadTask {
    handle: AbortHandle,
    /// Whether it ends by a bound of its own, also if nobody waits for it.
    is_bounded: bool,
}

struct Flight<T> {
    number: LoadNumber,
    progress: watch::Receiver<Progress<T>>,
    task: Arc<OnceLock<LoadTask>>,
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
    by_key: HashMap<Key, Flight<T>>,
}

/// What the loads of one task share.
struct Shared {
    number: LoadNumber,
    task: Arc<OnceLock<LoadTask>>,
    waiters: Arc<AtomicUsize>,
}

impl Shared {
    fn new() -> Self {
        Self { number: next_number(), task: Arc::default(), waiters: Arc::default() }
    }
}

impl<T> fmt::Debug for SingleFlight<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SingleFlight({})", self.in_flight().by_key.len())
    }
}

impl<T> Default for SingleFlight<T> {
    fn default() -> Self {
        Self(Mutex::new(InFlight { by_key: HashMap::new() }))
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
        let (waiter, leader) = self.open(&mut in_flight, key, &Shared::new());
        (waiter, Some(leader))
    }

    /// Joins the load of each key. Those that are led are one load.
    pub(super) fn join_many<'a>(
        self: &Arc<Self>,
        keys: impl Iterator<Item = &'a Key>,
    ) -> Vec<(Waiter<T>, Option<Leader<T>>)> {
        let (mut in_flight, shared) = (self.in_flight(), Shared::new());
        let join = |key| {
            if let Some(flight) = in_flight.by_key.get(key) {
                return (flight.waiter(self, key), None);
            }
            let (waiter, leader) = self.open(&mut in_flight, key, &shared);
            (waiter, Some(leader))
        };
        keys.map(join).collect()
    }

    fn open(
        self: &Arc<Self>,
        in_flight: &mut InFlight<T>,
        key: &Key,
        shared: &Shared,
    ) -> (Waiter<T>, Leader<T>) {
        let (sender, progress) = watch::channel(Progress::Running);
        let Shared { number, task, waiters } = shared;
        let number = *number;
        let flight =
            Flight { number, progress, task: Arc::clone(task), waiters: Arc::clone(waiters), begins: 0 };
        let waiter = flight.waiter(self, key);
        in_flight.by_key.insert(key.clone(), flight);
        let leader = Leader {
            flights: Arc::clone(self),
            key: key.clone(),
            number,
            begins: 0,
            sender,
            task: Arc::clone(task),
            waiters: Arc::clone(waiters),
            is_counted: AtomicBool::new(false),
        };
        (waiter, leader)
    }

    /// As [`join`](Self::join), in a load that begins now: one that is in flight is detached.
    pub(super) fn join_new(self: &Arc<Self>, key: &Key) -> (Waiter<T>, Option<Leader<T>>) {
        let mut in_flight = self.in_flight();
        in_flight.by_key.remove(key);
        let (waiter, leader) = self.open(&mut in_flight, key, &Shared::new());
        (waiter, Some(leader))
    }

    /// Detaches the load of this key: those who wait for it are served by it, who comes later starts another.
    pub(super) fn detach(&self, key: &str) {
        self.in_flight().by_key.remove(key);
    }

    /// Detaches every load.
    pub(super) fn detach_all(&self) {
        self.in_flight().by_key.clear();
    }

    /// Whoever asks from now on does not join this load.
    pub(super) fn detach_own(&self, key: &Key, number: LoadNumber) {
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
    number: LoadNumber,
    progress: watch::Receiver<Progress<T>>,
    task: Arc<OnceLock<LoadTask>>,
    waiters: Arc<AtomicUsize>,
    // How often the leader had begun when it joined.
    begins: u32,
    leave_running: bool,
}

impl<T> Waiter<T> {
    /// The number of the load.
    pub(super) const fn number(&self) -> LoadNumber {
        self.number
    }

    /// Remembers the task of this load, to be aborted when the last waiter leaves. `is_bounded`: it ends by a bound of its own.
    pub(super) fn run_by(&self, handle: AbortHandle, is_bounded: bool) {
        // The only leader says so once.
        let _ = self.task.set(LoadTask { handle, is_bounded });
    }

    /// After a load that could not serve this caller: whatever a later one ends with was begun after the caller asked.
    /// `first` is the number of the caller's first load.
    pub(super) fn follows(&mut self, first: &mut Option<LoadNumber>) {
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

    /// The load goes on even if nobody waits for it, if it ends by a bound of its own. One that does not runs for as long as
    /// those wait whose it is.
    pub(super) fn leave_running_if_bounded(&mut self) {
        self.leave_running = self.leave_running || self.task.get().is_some_and(|task| task.is_bounded);
    }

    /// Whoever asks from now on does not join this load: this one has waited for it long enough, and they need not do it too.
    pub(super) fn detach(&self) {
        self.flights.detach_own(&self.key, self.number);
    }

    /// How the load ends.
    pub(super) async fn outcome(&mut self) -> Outcome<T> {
        match self.progress.wait_for(|progress| !matches!(progress, Progress::Running)).await.as_deref() {
            Ok(Progress::Loaded(value)) => Outcome::Value(value.clone()),
            Ok(Progress::MaybeStale(value, begins)) if self.begins < *begins => Outcome::Value(value.clone()),
            Ok(Progress::Failed(failure)) => Outcome::Failed(failure.clone()),
            Ok(Progress::LeftOut) => Outcome::LeftOut,
            // An error: the leader was dropped without an outcome, as when the stores close.
            _ => Outcome::Again,
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
                task.handle.abort();
            }
        }
    }
}

/// The loading task's side.
pub(super) struct Leader<T> {
    flights: Arc<SingleFlight<T>>,
    key: Key,
    number: LoadNumber,
    begins: u32,
    sender: watch::Sender<Progress<T>>,
    task: Arc<OnceLock<LoadTask>>,
    waiters: Arc<AtomicUsize>,
    /// Whether it is counted among those who wait.
    is_counted: AtomicBool,
}

impl<T> Leader<T> {
    /// The number of the load.
    pub(super) const fn number(&self) -> LoadNumber {
        self.number
    }

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

    /// Serves those who wait with what was loaded, before it is known what becomes of it. The load goes on until this leader is
    /// done, whoever leaves.
    pub(super) fn answer_early(&self, outcome: Progress<T>) {
        // Counted, so that nobody is the last.
        if !self.is_counted.swap(true, Ordering::AcqRel) {
            self.waiters.fetch_add(1, Ordering::AcqRel);
        }
        self.detach();
        self.sender.send_replace(outcome);
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
        if *self.is_counted.get_mut() {
            let in_flight = self.flights.in_flight();
            let is_last = self.waiters.fetch_sub(1, Ordering::AcqRel) == 1;
            drop(in_flight);
            // What else its task loads is waited for by nobody.
            if let (true, Some(task)) = (is_last, self.task.get()) {
                task.handle.abort();
            }
        }
        // In code of the caller's that is no loader: how a value is written, or which tags it has.
        if std::thread::panicking() {
            let _ = self.sender.send_if_modified(|progress| {
                let runs = matches!(progress, Progress::Running);
                if runs {
                    *progress = Progress::Failed(Failure::Panicked);
                }
                runs
            });
        }
    }
}
