//! What a cache counts is exported through the `metrics` facade, with labels of few values.
#![cfg(feature = "metrics")]
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use stanchion_memory::MokaNear;

use support::manual;

#[derive(Default)]
struct Counted(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl Recorder for Counted {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        Counter::from_arc(Arc::clone(self.0.lock().unwrap().entry(name).or_default()))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[tokio::test]
async fn counts_are_exported_by_cache_and_level() {
    let recorder = Counted::default();
    let (backend, _) = manual();
    let cache = backend.stores().cache::<u32>("user").near(MokaNear::entries(10)).build().unwrap();
    // The runtime has this one thread.
    let _here = metrics::set_default_local_recorder(&recorder);
    for secret in ["alice", "bob"] {
        for _ in 0..3 {
            cache.get_or_load(secret, || async { Ok::<_, Infallible>(1) }).await.unwrap();
        }
    }
    let counts = recorder.0.lock().unwrap();
    let count = |name: &str| counts[name].load(Ordering::Relaxed);
    assert_eq!(count("stanchion_cache_hits_total{cache=user,level=near}"), 2);
    assert_eq!(count("stanchion_cache_hits_total{cache=user,level=store}"), 2);
    assert_eq!(count("stanchion_cache_loads_total{cache=user}"), 2);
    assert_eq!(count("stanchion_cache_misses_total{cache=user}"), 2);
    assert!(counts.keys().all(|name| !name.contains("alice") && !name.contains("bob")), "no key is a label");
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.near_hits, stats.loads), (4, 2, 2));
}
