//! Collects what is emitted: a recorder and a subscriber in one. Other packages' tests take this file by its path.
#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Recorder, SharedString, Unit};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Dispatch, Event, Metadata, Subscriber};

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

/// A span's fields that have a value, with its name as that of `span`.
pub(crate) type Values = BTreeMap<String, String>;

/// What was emitted. Clones are one.
#[derive(Clone, Default)]
pub(crate) struct Observed(Arc<Inside>);

#[derive(Default)]
struct Inside {
    described: Mutex<BTreeSet<String>>,
    metrics: Mutex<BTreeSet<Series>>,
    spans: Mutex<BTreeSet<Traced>>,
    // One after the other; a span's id is its place, counted from 1.
    values: Mutex<Vec<Values>>,
    logs: Mutex<BTreeSet<Traced>>,
}

impl Observed {
    /// Has the spans and events of this thread collected, for as long as what is answered is kept.
    ///
    /// There are two subscribers, of which one is never used: where there is one alone, `tracing` decides by the thread that
    /// comes to an event first whether the event is wanted at all, and a thread without a subscriber turns it off for good.
    pub(crate) fn subscribe(&self) -> (DefaultGuard, Dispatch) {
        (tracing::subscriber::set_default(self.clone()), Dispatch::new(self.clone()))
    }

    /// The names that were described.
    pub(crate) fn described(&self) -> BTreeSet<String> {
        self.0.described.lock().unwrap().clone()
    }

    fn describe(&self, name: &KeyName) {
        self.0.described.lock().unwrap().insert(name.as_str().to_owned());
    }

    pub(crate) fn metrics(&self) -> BTreeSet<Series> {
        self.0.metrics.lock().unwrap().clone()
    }

    pub(crate) fn spans(&self) -> BTreeSet<Traced> {
        self.0.spans.lock().unwrap().clone()
    }

    /// The values of every span of this name.
    pub(crate) fn values(&self, span: &str) -> Vec<Values> {
        self.0.values.lock().unwrap().iter().filter(|values| values["span"] == span).cloned().collect()
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
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.describe(&name);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.describe(&name);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.describe(&name);
    }

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

struct Recorded(Values);

impl Visit for Recorded {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

impl Subscriber for Observed {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_own(metadata)
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let metadata = span.metadata();
        self.0.spans.lock().unwrap().insert(traced(metadata, metadata.name()));
        let mut values = Recorded(BTreeMap::from([("span".to_owned(), metadata.name().to_owned())]));
        span.record(&mut values);
        let mut all = self.0.values.lock().unwrap();
        all.push(values.0);
        Id::from_u64(all.len() as u64)
    }

    fn record(&self, span: &Id, record: &Record<'_>) {
        let mut values = Recorded(BTreeMap::new());
        record.record(&mut values);
        let place = usize::try_from(span.into_u64()).unwrap() - 1;
        self.0.values.lock().unwrap()[place].extend(values.0);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut recorded = Recorded(BTreeMap::new());
        event.record(&mut recorded);
        let message = recorded.0.remove("message").unwrap_or_default();
        self.0.logs.lock().unwrap().insert(traced(event.metadata(), &message));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
