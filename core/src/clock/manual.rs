//! A clock that moves only when a test moves it.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;

use super::Clock;
use crate::time::{Monotonic, Timestamp};

/// Both times stand still until [`advance`](Self::advance). Clones share one time.
#[derive(Debug, Clone, Default)]
pub struct ManualClock(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    elapsed: Duration,
    wall_origin: Timestamp,
    next_sleeper: u64,
    // Ordered by deadline, then by who slept first.
    sleepers: BTreeMap<(Monotonic, u64), Waker>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            elapsed: Duration::ZERO,
            // An arbitrary day in 2025: real enough for JWT times, fixed for every run.
            wall_origin: Timestamp::from_secs(1_750_000_000),
            next_sleeper: 0,
            sleepers: BTreeMap::new(),
        }
    }
}

impl ManualClock {
    /// A clock at the origin of its monotonic time, on a fixed day in 2025.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves both times on by `by` and wakes every sleeper whose deadline is reached, in deadline order.
    ///
    /// The woken tasks run when the runtime next polls them, that is, at the test's next await.
    pub fn advance(&self, by: Duration) {
        let due: Vec<Waker> = {
            let mut state = self.state();
            state.elapsed = state.elapsed.saturating_add(by);
            let now = Monotonic::from_origin(state.elapsed);
            let later = state.sleepers.split_off(&(now, u64::MAX));
            std::mem::replace(&mut state.sleepers, later).into_values().collect()
        };
        due.into_iter().for_each(Waker::wake);
    }

    /// Moves the wall clock alone, as an operator or a time server would.
    pub fn set_wall(&self, wall: Timestamp) {
        let mut state = self.state();
        state.wall_origin = Timestamp::from_micros(
            wall.as_micros().saturating_sub(u64::try_from(state.elapsed.as_micros()).unwrap_or(u64::MAX)),
        );
    }

    /// How many tasks sleep on this clock: lets a test wait until a task has gone to sleep.
    pub fn sleepers(&self) -> usize {
        self.state().sleepers.len()
    }
}

/// One timer; forgets its waker when dropped.
struct Sleep {
    clock: ManualClock,
    deadline: Monotonic,
    id: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock.clone();
        let mut state = clock.state();
        if Monotonic::from_origin(state.elapsed) >= self.deadline {
            return Poll::Ready(());
        }
        let id = *self.id.get_or_insert_with(|| {
            state.next_sleeper += 1;
            state.next_sleeper
        });
        state.sleepers.insert((self.deadline, id), context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.clock.state().sleepers.remove(&(self.deadline, id));
        }
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Monotonic {
        Monotonic::from_origin(self.state().elapsed)
    }

    fn wall(&self) -> Timestamp {
        let state = self.state();
        state.wall_origin.saturating_add(state.elapsed)
    }

    async fn sleep_until(&self, deadline: Monotonic) {
        Sleep { clock: self.clone(), deadline, id: None }.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sleepers_wake_in_deadline_order_and_not_before() {
        let clock = ManualClock::new();
        let (tx, mut rx) = tokio::sync::mpsc::unbounded_channel();
        for secs in [30_u64, 10, 20] {
            let (clock, tx) = (clock.clone(), tx.clone());
            tokio::spawn(async move {
                clock.sleep_until(Monotonic::from_origin(Duration::from_secs(secs))).await;
                tx.send(secs).unwrap();
            });
        }
        while clock.sleepers() < 3 {
            tokio::task::yield_now().await;
        }
        clock.advance(Duration::from_secs(9));
        tokio::task::yield_now().await;
        assert!(rx.try_recv().is_err());
        clock.advance(Duration::from_hours(1));
        assert_eq!((rx.recv().await, rx.recv().await, rx.recv().await), (Some(10), Some(20), Some(30)));
    }

    #[tokio::test]
    async fn a_dropped_sleep_is_forgotten() {
        let clock = ManualClock::new();
        let sleep = clock.sleep_until(Monotonic::from_origin(Duration::from_secs(1)));
        assert!(futures_util::poll!(std::pin::pin!(sleep)).is_pending());
        assert_eq!(clock.sleepers(), 0);
    }
}
