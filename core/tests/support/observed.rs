//! Collects what is emitted: a recorder and a subscriber in one. Other packages' tests take this file by its path.
#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Recorder, SharedString, Unit};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// A metric that was counted or recorded, with its labels in order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) labels: Vec<(String, String)>,
}

/// A span or a log event, whose text is its name or its message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Traced {
    pub(crate) level: String,
    pub(crate) text: String,
    pub(crate) fields: BTreeSet<String>,
}

/// What was emitted. Clones are one.
#[derive(Clone, Default)]
pub(crate) struct Observed(Arc<Inside>);

#[derive(Default)]
struct Inside {
    metrics: Mutex<BTreeSet<Series>>,
    spans: Mutex<BTreeSet<Traced>>,
    logs: Mutex<BTreeSet<Traced>>,
}

impl Observed {
    pub(crate) fn metrics(&self) -> BTreeSet<Series> {
        self.0.metrics.lock().unwrap().clone()
    }

    pub(crate) fn spans(&self) -> BTreeSet<Traced> {
        self.0.spans.lock().unwrap().clone()
    }

    pub(crate) fn logs(&self) -> BTreeSet<Traced> {
        self.0.logs.lock().unwrap().clone()
    }

    /// The library asks for a handle whenever it counts, until it keeps it: what is asked for is emitted.
    fn emitted(&self, kind: &'static str, key: &Key) {
        let labels = key.labels().map(|label| (label.key().to_owned(), label.value().to_owned())).collect();
        let series = Series { name: key.name().to_owned(), kind, labels };
        self.0.metrics.lock().unwrap().insert(series);
    }
}

impl Recorder for Observed {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &metrics::Metadata<'_>) -> Counter {
        self.emitted("counter", key);
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &metrics::Metadata<'_>) -> Gauge {
        self.emitted("gauge", key);
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &metrics::Metadata<'_>) -> Histogram {
        self.emitted("histogram", key);
        Histogram::noop()
    }
}

/// Whether a span or an event is this library's or a backend's of it.
fn is_own(metadata: &Metadata<'_>) -> bool {
    let package = metadata.target().split("::").next();
    matches!(package, Some("stanchion" | "stanchion_memory" | "stanchion_redis"))
}

fn traced(metadata: &Metadata<'_>, text: &str) -> Traced {
    let fields = metadata.fields().iter().map(|field| field.name().to_owned());
    Traced {
        level: metadata.level().as_str().to_lowercase(),
        text: text.to_owned(),
        fields: fields.filter(|field| field != "message").collect(),
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl Subscriber for Observed {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_own(metadata)
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let metadata = span.metadata();
        self.0.spans.lock().unwrap().insert(traced(metadata, metadata.name()));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0.logs.lock().unwrap().insert(traced(event.metadata(), &message.0));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
