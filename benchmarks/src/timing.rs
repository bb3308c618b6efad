//! Where the benchmarks read a clock, and pause.

use std::time::{Duration, Instant};

/// The time that some work takes.
pub(crate) async fn timed<F: Future>(work: F) -> (F::Output, Duration) {
    let start = now();
    let output = work.await;
    (output, start.elapsed())
}

#[expect(clippy::disallowed_methods, reason = "a measurement is of real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The processor time that this thread has had.
pub(crate) fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// What real work does that is waited for in real time.
#[expect(clippy::disallowed_methods, reason = "a load on a real server comes and goes in real time")]
pub(crate) async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Operations per second.
pub(crate) fn rate(operations: usize, elapsed: Duration) -> f64 {
    count(operations) / elapsed.as_secs_f64()
}

/// Nanoseconds for one of so many operations.
pub(crate) fn nanos_each(operations: usize, elapsed: Duration) -> f64 {
    elapsed.as_secs_f64() * 1e9 / count(operations)
}

#[expect(clippy::cast_precision_loss, reason = "counts of operations are far below 2^52")]
pub(crate) fn count(operations: usize) -> f64 {
    operations as f64
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
