//! The lock façade: one task owns each lock, whatever is dropped.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use stanchion::environment::Environment;
use stanchion::key::Key;
use stanchion::lock::{
    AcquireOutcome, Fence, Lease, LockCapabilities, LockRequest, Locker, Locks, ReleaseOutcome, RenewOutcome,
};
use stanchion::prelude::*;
use stanchion::{Effect, Result};
use tokio::sync::Semaphore;

use support::{down, manual, settle};

#[tokio::test]
async fn a_lock_is_held_by_one_and_released_by_drop() {
    let (backend, _) = manual();
    let (here, there) = (backend.stores().locks().unwrap(), backend.handle().stores().locks().unwrap());
    let guard = here.acquire("job").await.unwrap();
    assert_eq!(guard.state(), LockState::Held);
    assert!(there.try_acquire("job").await.unwrap().is_none());
    assert!(there.try_acquire("other").await.unwrap().is_some());
    let first = guard.fence();
    drop(guard);
    settle().await;
    let again = there.try_acquire("job").await.unwrap().expect("released");
    assert!(again.fence() > first);
    assert_eq!(again.release().await.unwrap(), ReleaseOutcome::Released);
}

#[tokio::test]
async fn waiting_ends_with_the_lock_or_with_the_deadline() {
    let (backend, clock) = manual();
    let locks = backend.stores().locks().unwrap();
    let guard = locks.acquire("job").await.unwrap();
    let waiter = tokio::spawn(locks.acquire("job").wait(seconds(60)).into_future());
    settle().await;
    guard.release().await.unwrap();
    clock.advance(seconds(1));
    let held = waiter.await.unwrap().unwrap();
    let waiter = tokio::spawn(locks.acquire("job").wait(seconds(5)).into_future());
    for _ in 0..60 {
        settle().await;
        clock.advance(Duration::from_millis(100));
    }
    let error = waiter.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::NotApplied));
    assert_eq!(held.state(), LockState::Held);
}

#[tokio::test]
async fn a_living_holder_renews_and_a_stalled_one_learns_that_it_lost() {
    let (backend, clock) = manual();
    let (here, there) = (backend.stores().locks().unwrap(), backend.handle().stores().locks().unwrap());
    let guard = here.acquire("job").lease(seconds(30)).await.unwrap();
    for _ in 0..30 {
        clock.advance(seconds(10));
        settle().await;
    }
    assert_eq!(guard.state(), LockState::Held);
    assert!(there.try_acquire("job").await.unwrap().is_none());
    // The whole process is stalled for longer than the lease.
    clock.advance(seconds(31));
    let taken = there.try_acquire("job").await.unwrap().expect("the lease ran out");
    guard.lost().await;
    assert_eq!(guard.state(), LockState::Lost);
    assert_eq!(guard.run(std::future::pending::<()>()).await, None);
    assert!(taken.fence() > guard.fence());
    assert_eq!(guard.release().await.unwrap(), ReleaseOutcome::WasLost);
    assert_eq!(taken.state(), LockState::Held, "the loser's release harms nobody");
}

#[tokio::test]
async fn closing_the_stores_releases_what_is_held() {
    let (backend, _) = manual();
    let stores = backend.stores();
    let guard = stores.locks().unwrap().acquire("job").await.unwrap();
    let other = backend.handle().stores().locks().unwrap();
    stores.close(seconds(1)).await.unwrap();
    assert_eq!(guard.state(), LockState::Lost);
    assert!(other.try_acquire("job").await.unwrap().is_some());
    assert_eq!(stores.locks().unwrap().acquire("job").await.unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn a_guard_may_be_dropped_outside_any_runtime() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (stores, guard) = runtime.block_on(async {
        let stores = stanchion_memory::MemoryBackend::new().stores();
        let guard = stores.locks().unwrap().acquire("job").await.unwrap();
        (stores, guard)
    });
    drop(guard);
    let again = runtime.block_on(async { stores.locks().unwrap().acquire("job").wait(seconds(10)).await });
    assert!(again.is_ok());
}

/// A locker whose acquisitions wait for a permit, on the way there or on the way back.
#[derive(Debug)]
struct Slow {
    inner: Arc<dyn Locker>,
    before: Semaphore,
    after: Semaphore,
    lose_replies: bool,
    releases: AtomicUsize,
}

#[async_trait]
impl Locker for Slow {
    fn capabilities(&self) -> LockCapabilities {
        self.inner.capabilities()
    }
    async fn acquire(&self, request: &LockRequest) -> Result<AcquireOutcome> {
        self.before.acquire().await.unwrap().forget();
        let outcome = self.inner.acquire(request).await;
        self.after.acquire().await.unwrap().forget();
        if self.lose_replies { Err(down(Effect::Unknown)) } else { outcome }
    }
    async fn renew(&self, leases: &[Lease]) -> Result<Vec<RenewOutcome>> {
        self.inner.renew(leases).await
    }
    async fn release(&self, lease: &Lease) -> Result<ReleaseOutcome> {
        self.releases.fetch_add(1, Ordering::SeqCst);
        self.inner.release(lease).await
    }
    async fn inspect(&self, key: &Key) -> Result<Option<(Fence, Duration)>> {
        self.inner.inspect(key).await
    }
}

fn slow(lose_replies: bool) -> (Arc<Slow>, Locks, stanchion::clock::ManualClock) {
    let (backend, clock) = manual();
    let stores = backend.stores();
    let slow = Arc::new(Slow {
        inner: stores.locker().unwrap(),
        before: Semaphore::new(0),
        after: Semaphore::new(0),
        lose_replies,
        releases: AtomicUsize::new(0),
    });
    let environment = Environment::system().clock(Arc::new(clock.clone()));
    let locks = Locks::new(slow.clone(), environment);
    (slow, locks, clock)
}

#[tokio::test]
async fn an_acquisition_dropped_at_any_await_leaves_no_lock() {
    for (before, after) in [(0, 0), (1, 0), (1, 1)] {
        let (slow, locks, _) = slow(false);
        slow.before.add_permits(before);
        slow.after.add_permits(after);
        let acquiring = tokio::spawn(locks.acquire("job").into_future());
        settle().await;
        acquiring.abort();
        // With it the guard, if there is one by now.
        drop(acquiring);
        settle().await;
        // Whatever was still on its way arrives now.
        slow.before.add_permits(10);
        slow.after.add_permits(10);
        settle().await;
        let key = Key::new("locks", "lock", "job").unwrap();
        assert_eq!(slow.inspect(&key).await.unwrap(), None, "dropped after {before}, {after} steps");
    }
}

#[tokio::test]
async fn an_acquisition_whose_answer_was_lost_is_undone() {
    let (slow, locks, clock) = slow(true);
    slow.before.add_permits(10);
    slow.after.add_permits(10);
    let error = locks.acquire("job").await.unwrap_err();
    assert_eq!(error.effect(), Effect::Unknown);
    settle().await;
    clock.advance(seconds(1));
    settle().await;
    let key = Key::new("locks", "lock", "job").unwrap();
    assert_eq!(slow.inspect(&key).await.unwrap(), None);
    assert_eq!(slow.releases.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn with_holds_the_lock_for_as_long_as_the_work_runs() {
    let (backend, _) = manual();
    let (locks, other) = (backend.stores().locks().unwrap(), backend.handle().stores().locks().unwrap());
    let there = other.clone();
    // In a task: the future can be sent to another thread.
    let held = tokio::spawn(async move {
        locks
            .with("job", async |guard| {
                assert!(there.try_acquire("job").await.unwrap().is_none());
                guard.fence()
            })
            .await
    });
    let fence = held.await.unwrap().unwrap().unwrap();
    let next = other.try_acquire("job").await.unwrap().unwrap();
    assert!(next.fence() > fence);
}

#[tokio::test]
async fn with_cancels_the_work_when_the_lock_is_lost_and_releases_when_it_is_dropped() {
    let (backend, clock) = manual();
    let locks = backend.stores().locks().unwrap();
    let key = stanchion::key::Key::new("locks", "lock", "job").unwrap();
    let working = tokio::spawn({
        let locks = locks.clone();
        async move { locks.with("job", async |_| std::future::pending::<()>().await).await }
    });
    settle().await;
    let locker = backend.stores().locker().unwrap();
    assert!(locker.inspect(&key).await.unwrap().is_some());
    // No task of this runtime runs meanwhile: the lease runs out.
    clock.advance(seconds(60));
    assert!(working.await.unwrap().unwrap().is_none());

    let working =
        tokio::spawn(async move { locks.with("job", async |_| std::future::pending::<()>().await).await });
    settle().await;
    assert!(locker.inspect(&key).await.unwrap().is_some());
    working.abort();
    settle().await;
    assert!(locker.inspect(&key).await.unwrap().is_none());
}
