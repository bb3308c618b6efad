//! What publishing of one service's sessions measures.

use std::time::Duration;

use crate::key::Name;
use crate::session::outbox::OutboxStatus;
use crate::telemetry::{Counter, Gauge, Histogram, session as metric};

#[derive(Debug)]
pub(super) struct Telemetry {
    timed_out: Counter,
    published: Counter,
    failed: Counter,
    lost: Counter,
    delay: Histogram,
    pub(super) waiting: Gauge,
}

impl Telemetry {
    pub(super) fn of(service: &Name) -> Self {
        let events = |outcome: &'static str| Counter::new(&metric::EVENTS, &[service.into(), outcome.into()]);
        Self {
            timed_out: Counter::new(&metric::ENDED, &[service.into(), "timed_out".into()]),
            published: events("published"),
            failed: events("failed"),
            lost: events("lost"),
            delay: Histogram::new(&metric::EVENT_DELAY, &[service.into()]),
            waiting: Gauge::new(&metric::OUTBOX_ENTRIES, &[service.into()]),
        }
    }

    pub(super) fn reaped(&self, sessions: u64) {
        if sessions > 0 {
            self.timed_out.add(sessions);
        }
    }

    /// An event was published so long after what it is about.
    pub(super) fn published(&self, delay: Duration) {
        self.published.one();
        self.delay.record(delay);
    }

    pub(super) fn failed(&self) {
        self.failed.one();
    }

    pub(super) fn lost(&self, events: u64) {
        self.lost.add(events);
    }
}

/// How many entries wait in these.
pub(super) fn entries(outboxes: &[OutboxStatus]) -> usize {
    let entries: u64 = outboxes.iter().map(|outbox| outbox.entries).sum();
    usize::try_from(entries).unwrap_or(usize::MAX)
}
