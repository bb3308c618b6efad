//! What the locks of this process measure.

use std::sync::LazyLock;

use super::ReleaseOutcome;
use crate::error::Result;
use crate::telemetry::{Counter, Gauge, Histogram, Tracked, lock as metric};
use crate::time::Monotonic;

/// The measurements of all locks of this process: names of locks may be ids, so nothing distinguishes them.
pub(super) static TELEMETRY: LazyLock<Telemetry> = LazyLock::new(Telemetry::new);

/// How a request for a lock ended without it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Without {
    /// Others held it for as long as the caller would wait.
    Busy,
    /// The store did not answer.
    Failed,
    /// The caller left, or the stores are closing.
    Abandoned,
}

#[derive(Debug)]
pub(super) struct Telemetry {
    acquired: Counter,
    busy: Counter,
    failed: Counter,
    abandoned: Counter,
    wait: Histogram,
    waiting: Gauge,
    held: Gauge,
    hold: Histogram,
    released: Counter,
    lost: Counter,
    unknown: Counter,
    renewal_failures: Counter,
}

impl Telemetry {
    fn new() -> Self {
        let request = |outcome: &'static str| Counter::new(&metric::REQUESTS, &[outcome.into()]);
        let ended = |reason: &'static str| Counter::new(&metric::ENDED, &[reason.into()]);
        Self {
            acquired: request("acquired"),
            busy: request("busy"),
            failed: request("failed"),
            abandoned: request("abandoned"),
            wait: Histogram::new(&metric::WAIT_SECONDS, &[]),
            waiting: Gauge::new(&metric::WAITING, &[]),
            held: Gauge::new(&metric::HELD, &[]),
            hold: Histogram::new(&metric::HOLD_SECONDS, &[]),
            released: ended("released"),
            lost: ended("lost"),
            unknown: ended("unknown"),
            renewal_failures: Counter::new(&metric::RENEWAL_FAILURES, &[]),
        }
    }

    /// A request waits, until the answer is dropped.
    pub(super) fn waits(&self) -> Tracked {
        self.waiting.track()
    }

    /// A request has ended without the lock.
    pub(super) fn without(&self, why: Without) {
        match why {
            Without::Busy => self.busy.one(),
            Without::Failed => self.failed.one(),
            Without::Abandoned => self.abandoned.one(),
        }
    }

    /// A lock was acquired.
    pub(super) fn acquired(&self, asked_at: Monotonic, at: Monotonic) -> Held<'_> {
        self.acquired.one();
        self.wait.record(at.saturating_since(asked_at));
        Held { of: self, since: at, _counted: self.held.track() }
    }

    pub(super) fn renewal_failed(&self) {
        self.renewal_failures.one();
    }
}

/// A lock that is held.
#[derive(Debug)]
pub(super) struct Held<'a> {
    of: &'a Telemetry,
    since: Monotonic,
    _counted: Tracked,
}

impl Held<'_> {
    /// It was lost.
    pub(super) fn lost(self, at: Monotonic) {
        self.of.lost.one();
        self.of.hold.record(at.saturating_since(self.since));
    }

    /// It was given up, with this outcome.
    pub(super) fn released(self, outcome: &Result<ReleaseOutcome>, at: Monotonic) {
        match outcome {
            Ok(ReleaseOutcome::Released) => self.of.released.one(),
            Ok(ReleaseOutcome::WasLost) => self.of.lost.one(),
            Err(_) => self.of.unknown.one(),
        }
        self.of.hold.record(at.saturating_since(self.since));
    }
}
