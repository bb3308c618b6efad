//! Layers: what each does around every method of every store.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod calls;
mod deadline;
mod facades;
mod faults;
mod retry;
mod seen;
mod silent;
#[path = "../support/mod.rs"]
mod support;
mod table;

use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use stanchion::clock::ManualClock;

/// A runtime without timers: whoever sleeps by anything but the injected clock panics.
pub(crate) fn without_timers(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test);
}

/// What comes of a call when the clock goes on by `step` whenever there is nothing to do, and how long that took.
pub(crate) async fn driven<T>(
    clock: &ManualClock,
    step: Duration,
    call: impl Future<Output = T>,
) -> (T, Duration) {
    let mut call = std::pin::pin!(call);
    for waited in 0..10_000 {
        if let Some(answer) = settled(call.as_mut()).await {
            return (answer, step * waited);
        }
        clock.advance(step);
    }
    panic!("no answer after {:?}", step * 10_000);
}

/// What comes of a call without any time going by.
pub(crate) async fn settled<F: Future + ?Sized>(mut call: Pin<&mut F>) -> Option<F::Output> {
    for _ in 0..20 {
        if let Poll::Ready(answer) = futures_util::poll!(call.as_mut()) {
            return Some(answer);
        }
        tokio::task::yield_now().await;
    }
    None
}
