//! A recorder that is installed after a façade was built is served; so is one that a test sets for its thread.
//! In a program of its own: a process has one recorder.
#![cfg(feature = "metrics")]
#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use metrics::{
    Counter, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use stanchion::telemetry::{self, LabelValue};

/// What was recorded, and how often a handle was asked for.
#[derive(Clone, Default)]
struct Recorded(Arc<Inside>);

#[derive(Default)]
struct Inside {
    counters: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    gauges: Mutex<BTreeMap<String, f64>>,
    seconds: Mutex<Vec<f64>>,
    described: Mutex<Vec<(String, Option<Unit>)>>,
    registered: AtomicU64,
}

struct InGauge(Recorded, String);

impl GaugeFn for InGauge {
    fn increment(&self, _: f64) {
        panic!("gauges are set");
    }

    fn decrement(&self, _: f64) {
        panic!("gauges are set");
    }

    fn set(&self, value: f64) {
        self.0.0.gauges.lock().unwrap().insert(self.1.clone(), value);
    }
}

struct InHistogram(Recorded);

impl HistogramFn for InHistogram {
    fn record(&self, value: f64) {
        self.0.0.seconds.lock().unwrap().push(value);
    }
}

fn name(key: &Key) -> String {
    let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
    format!("{}{{{}}}", key.name(), labels.join(","))
}

impl Recorded {
    fn count(&self, name: &str) -> u64 {
        self.0.counters.lock().unwrap().get(name).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    fn gauge(&self, name: &str) -> Option<f64> {
        self.0.gauges.lock().unwrap().get(name).copied()
    }

    fn registered(&self) -> u64 {
        self.0.registered.load(Ordering::Relaxed)
    }

    fn describe(&self, name: &KeyName, unit: Option<Unit>) {
        self.0.described.lock().unwrap().push((name.as_str().to_owned(), unit));
    }
}

impl Recorder for Recorded {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(&name, unit);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(&name, unit);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(&name, unit);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.0.registered.fetch_add(1, Ordering::Relaxed);
        Counter::from_arc(Arc::clone(self.0.counters.lock().unwrap().entry(name(key)).or_default()))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::new(InGauge(self.clone(), name(key))))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(InHistogram(self.clone())))
    }
}

const FENCED: &str = "stanchion_cache_fenced_fills_total{cache=user}";
const HELD: &str = "stanchion_lock_held{}";

/// One test, since there is one recorder.
#[test]
fn whichever_recorder_there_is_now_is_served() {
    let namespace = stanchion::key::Namespace::new("cache", "user").unwrap();
    let label = [LabelValue::Name(namespace.kind())];
    let counter = telemetry::Counter::new(&telemetry::cache::FENCED_FILLS, &label);
    let gauge = telemetry::Gauge::new(&telemetry::lock::HELD, &[]);
    let histogram = telemetry::Histogram::new(&telemetry::lock::HOLD_SECONDS, &[]);

    // Nobody is there; then two tests have one each for this thread, where the second may lie in the place of the first.
    counter.one();
    let early = gauge.track();
    for n in 1..=3 {
        let local = Recorded::default();
        metrics::with_local_recorder(&local, || counter.add(n));
        assert_eq!(local.count(FENCED), n);
    }
    counter.one();

    let global = Recorded::default();
    metrics::set_global_recorder(global.clone()).map_err(|_| "there is another").unwrap();
    counter.add(5);
    assert_eq!(global.count(FENCED), 5, "from now on, though it was built before");

    // Gauges have counted before.
    assert_eq!(global.gauge(HELD), None);
    telemetry::describe();
    assert_eq!(global.gauge(HELD), Some(1.0));
    let same = telemetry::Gauge::new(&telemetry::lock::HELD, &[]);
    let late = same.track();
    assert_eq!(global.gauge(HELD), Some(2.0), "two handles of one gauge are one");
    drop(early);
    drop(late);
    assert_eq!(global.gauge(HELD), Some(0.0));

    histogram.record(std::time::Duration::from_millis(250));
    assert_eq!(*global.0.seconds.lock().unwrap(), [0.25]);

    // Which recorder stays is found out after a few calls at the latest; then the handle is kept.
    for _ in 0..64 {
        counter.one();
    }
    let registered = global.registered();
    for _ in 0..1_000 {
        counter.one();
    }
    assert_eq!(global.registered(), registered, "the handle of the recorder that stays is kept");
    assert_eq!(global.count(FENCED), 5 + 64 + 1_000);

    // A test's own recorder still comes first.
    let local = Recorded::default();
    metrics::with_local_recorder(&local, || counter.add(7));
    assert_eq!((local.count(FENCED), global.count(FENCED)), (7, 5 + 64 + 1_000));

    let described = global.0.described.lock().unwrap();
    let expected: Vec<_> = telemetry::all().map(|metric| metric.name).collect();
    assert_eq!(described.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), expected);
    assert!(described.contains(&("stanchion_cache_load_seconds".to_owned(), Some(Unit::Seconds))));
}

#[test]
fn names_and_labels_follow_the_rules() {
    let mut names = std::collections::BTreeSet::new();
    for metric in telemetry::all() {
        let name = metric.name;
        assert!(names.insert(name), "{name} is there twice");
        assert!(metric.description.ends_with('.'), "{name} has a sentence");
        assert!(metric.labels.len() <= 3, "{name} has few labels");
        if name == "db.client.operation.duration" {
            continue; // One of OpenTelemetry's.
        }
        assert!(name.starts_with("stanchion_"), "{name}");
        assert_eq!(name.ends_with("_total"), metric.kind == telemetry::Kind::Counter, "{name}");
        assert_eq!(name.ends_with("_seconds"), metric.unit == telemetry::Unit::Seconds, "{name}");
        assert_eq!(name.contains("_bytes"), metric.unit == telemetry::Unit::Bytes, "{name}");
    }
}
