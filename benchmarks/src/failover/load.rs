//! Writes at a fixed pace, and what became of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use stanchion_conformance::servers::until;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::Failure;
use crate::timing::{count, now, pause};

const PACE: Duration = Duration::from_millis(5);
/// How long a write may take.
pub(super) const LIMIT: Duration = Duration::from_secs(1);
/// A side that has no write answered by then is not waited for any longer.
const GIVE_UP: Duration = Duration::from_secs(30);

/// A client that writes to the master that is replaced.
pub(super) trait Side: Clone + Send + Sync + 'static {
    fn write(&self, number: usize) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// What every side can do, whatever its client.
pub(super) trait Paced: Sync {
    /// Begins to write.
    fn begin(&self) -> Work;
}

pub(super) struct Load<S>(S);

impl<S: Side> Load<S> {
    pub(super) const fn of(side: S) -> Self {
        Self(side)
    }
}

impl<S: Side> Paced for Load<S> {
    fn begin(&self) -> Work {
        let shared = Arc::new(Shared::default());
        let writing = tokio::spawn(write(self.0.clone(), Arc::clone(&shared)));
        Work { shared, writing }
    }
}

struct Call {
    begun: Instant,
    ended: Instant,
    answered: bool,
}

#[derive(Default)]
struct Shared {
    calls: Mutex<Vec<Call>>,
    stopped: AtomicBool,
}

impl Shared {
    fn calls(&self) -> MutexGuard<'_, Vec<Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn write<S: Side>(side: S, shared: Arc<Shared>) {
    let mut calls = JoinSet::new();
    for number in 0.. {
        if shared.stopped.load(Ordering::Relaxed) {
            break;
        }
        let begun = now();
        let (side, shared) = (side.clone(), Arc::clone(&shared));
        calls.spawn(async move {
            let answered = matches!(timeout(LIMIT, side.write(number)).await, Ok(Ok(())));
            shared.calls().push(Call { begun, ended: now(), answered });
        });
        while calls.try_join_next().is_some() {}
        pause(PACE.saturating_sub(begun.elapsed())).await;
    }
    while calls.join_next().await.is_some() {}
}

/// Writes that go on.
pub(super) struct Work {
    shared: Arc<Shared>,
    writing: JoinHandle<()>,
}

/// What a side saw of a failover.
pub(super) struct Seen {
    /// The longest time between two writes that were answered, or until the first, or since the last.
    pub(super) without: Duration,
    /// How many failed.
    pub(super) failed: f64,
}

impl Work {
    /// Waits until a write is answered that was begun after this.
    ///
    /// # Errors
    /// None is, for half a minute.
    pub(super) async fn answered_since(&self, since: Instant, side: &str) -> Result<(), Failure> {
        let probe = || {
            let found = self.shared.calls().iter().any(|call| call.answered && call.begun >= since);
            std::future::ready(if found { Ok(()) } else { Err("no write is answered") })
        };
        Ok(until(&format!("{side} at the new master"), GIVE_UP, probe).await?)
    }

    /// Stops; answers what became of what was begun since the order, and of what was answered since.
    pub(super) async fn end(self, ordered: Instant) -> Result<Seen, Failure> {
        self.shared.stopped.store(true, Ordering::Relaxed);
        let stopped = now();
        self.writing.await?;
        let calls = self.shared.calls();
        let failed = calls.iter().filter(|call| call.begun >= ordered && !call.answered).count();
        let begun = calls.iter().map(|call| call.begun).min().ok_or("no write was begun")?;
        let answered = calls.iter().filter(|call| call.answered).map(|call| call.ended);
        let mut moments: Vec<_> = answered.chain([begun, stopped]).collect();
        moments.sort_unstable();
        let gaps = moments.windows(2).map(|two| two[1].duration_since(two[0]));
        let without = gaps.max().unwrap_or_default();
        Ok(Seen { without, failed: count(failed) })
    }
}
