//! What the events of one domain measure.

use super::{Delivery, EventId};
use crate::error::Result;
use crate::key::Name;
use crate::telemetry::{Counter, Gauge, Tracked, event as metric};

#[derive(Debug)]
pub(super) struct Telemetry {
    published: Counter,
    publish_failures: Counter,
    delivered: Counter,
    dropped: Counter,
    gaps: Counter,
    malformed: Counter,
    subscribers: Gauge,
}

impl Telemetry {
    pub(super) fn of(domain: &Name) -> Self {
        let counter = |metric| Counter::new(metric, &[domain.into()]);
        Self {
            published: counter(&metric::PUBLISHED),
            publish_failures: counter(&metric::PUBLISH_FAILURES),
            delivered: counter(&metric::DELIVERED),
            dropped: counter(&metric::DROPPED),
            gaps: counter(&metric::GAPS),
            malformed: counter(&metric::MALFORMED),
            subscribers: Gauge::new(&metric::SUBSCRIBERS, &[domain.into()]),
        }
    }

    pub(super) fn published(&self, published: &Result<EventId>) {
        match published {
            Ok(_) => self.published.one(),
            Err(_) => self.publish_failures.one(),
        }
    }

    /// A subscription is open, until the answer is dropped.
    pub(super) fn subscribed(&self) -> Tracked {
        self.subscribers.track()
    }

    pub(super) fn delivered<E>(&self, delivery: &Delivery<E>) {
        match delivery {
            Delivery::Event { .. } => self.delivered.one(),
            Delivery::Lagged(events) => self.dropped.add(*events),
            // What follows is missed.
            Delivery::Reconnected | Delivery::Ended(_) => self.gaps.one(),
            Delivery::Malformed(_) => self.malformed.one(),
        }
    }
}
