//! What a connection carries, measured once for each time that its task runs.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use stanchion::telemetry::Tracked;

use crate::connect::telemetry::ConnectionTelemetry;

pub(super) struct Traffic {
    telemetry: Arc<ConnectionTelemetry>,
    in_flight: Tracked,
    // Since the last time.
    read: usize,
    written: usize,
    // All that was read so far.
    progress: Arc<AtomicU64>,
}

impl Traffic {
    pub(super) fn of(telemetry: &Arc<ConnectionTelemetry>) -> Self {
        Self {
            in_flight: telemetry.in_flight(),
            telemetry: Arc::clone(telemetry),
            read: 0,
            written: 0,
            progress: Arc::default(),
        }
    }

    pub(super) fn read(&mut self, bytes: usize) {
        self.read += bytes;
        self.progress.fetch_add(u64::try_from(bytes).unwrap_or_default(), Ordering::Relaxed);
    }

    /// How many bytes were read so far.
    pub(super) fn progress(&self) -> &Arc<AtomicU64> {
        &self.progress
    }

    pub(super) fn written(&mut self, bytes: usize) {
        self.written += bytes;
    }

    /// The task has run; so many requests wait for their replies now.
    pub(super) fn polled(&mut self, in_flight: usize) {
        self.in_flight.set(in_flight);
        self.telemetry.read(mem::take(&mut self.read));
        self.telemetry.written(mem::take(&mut self.written));
    }
}
