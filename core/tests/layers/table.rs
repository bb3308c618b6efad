//! The table of calls, their order through layers, and what is measured and traced of them.

use std::collections::BTreeSet;
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use stanchion::ErrorKind;
use stanchion::cache::{SetEntry, SetOptions, When};
use stanchion::layer::{Call, Fault, Faults, Trace};
use stanchion::stores::Stores;
use stanchion_memory::MemoryBackend;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::calls::{every, key, ttl};
use crate::seen::Seen;
use crate::support::manual;

/// What changes nothing.
const READS: [&str; 11] = [
    "cache.get",
    "cache.get_many",
    "cache.get_many_with_ttl",
    "cache.ttl",
    "session.load",
    "session.list",
    "event.subscribe",
    "lock.inspect",
    "limit.peek",
    "token.epochs",
    "token.check",
];

/// What changes something and may be repeated.
const REPEATABLE: [&str; 19] = [
    // Without a condition, as here.
    "cache.set",
    "cache.set_many",
    "cache.touch",
    "cache.fetch",
    "cache.release",
    "cache.generations",
    "cache.bump",
    "session.use",
    "session.touch",
    "session.lead",
    "session.read_outbox",
    "session.acknowledge",
    "lock.acquire",
    "lock.renew",
    "limit.lease",
    "token.revoke",
    "token.revoke_all",
    "token.agree",
    "token.floor",
];

fn layered(stores: &Stores) -> (Seen, Stores) {
    let seen = Seen::default();
    let stores = stores.layer(seen.clone());
    (seen, stores)
}

#[tokio::test]
async fn every_method_of_every_store_passes_through_once_and_is_answered() {
    let backend = MemoryBackend::new();
    let (seen, stores) = layered(&backend.stores());
    for (number, (operation, call)) in every(&stores).into_iter().enumerate() {
        call.await.expect(operation);
        let calls = seen.calls();
        assert_eq!(calls.len(), number + 1, "{operation}");
        let call = calls[number];
        assert_eq!(call.operation, operation);
        assert!(operation.starts_with(call.area()));
        let (reads, repeatable) = (READS.contains(&operation), REPEATABLE.contains(&operation));
        assert_eq!((call.changes, call.idempotent), (!reads, reads || repeatable), "{operation}");
    }
    let called: BTreeSet<_> = seen.calls().iter().map(|call| call.operation).collect();
    let all: BTreeSet<_> = Call::ALL.iter().map(|call| call.operation).collect();
    assert_eq!(called, all);
    assert_eq!(all.len(), Call::ALL.len(), "none is twice in the table");
}

#[tokio::test]
async fn a_set_is_repeatable_without_a_condition_and_a_schema() {
    let backend = MemoryBackend::new();
    let (seen, stores) = layered(&backend.stores());
    let cache = stores.cache_store().unwrap();
    let always = SetOptions::new(ttl());
    let equals = When::Equals(Bytes::from("1"));
    let cases = [
        (always.clone(), true),
        (always.clone().schema(1), false),
        (always.clone().when(When::Absent), false),
        (always.clone().when(When::Present), false),
        (always.clone().when(equals), false),
    ];
    for (options, idempotent) in cases {
        let _ = cache.set(&key(), Bytes::from("1"), &options).await.unwrap();
        let entries =
            [&always, &options].map(|options| SetEntry::new(key(), Bytes::from("1"), options.clone()));
        cache.set_many(&entries).await.unwrap();
        let calls = seen.calls();
        let [.., one, many] = calls.as_slice() else { panic!("two calls") };
        assert_eq!((one.idempotent, many.idempotent), (idempotent, idempotent), "{options:?}");
    }
}

#[tokio::test]
async fn the_last_layer_is_the_outermost_and_other_stores_stay_as_they_are() {
    let plain = MemoryBackend::new().stores().service("auth").unwrap();
    let faults = Faults::new(plain.environment());
    let (inner, stores) = layered(&plain);
    let stores = stores.layer(faults.clone());
    let (outer, stores) = layered(&stores);
    assert_eq!(stores.service_name().as_str(), "auth");
    faults.plan("cache.get", 1, Fault::Fail(stanchion::Error::new(ErrorKind::Unavailable, "down"))).unwrap();
    stores.cache_store().unwrap().get(&key()).await.unwrap_err();
    assert_eq!((inner.count(), outer.count()), (0, 1));
    stores.cache_store().unwrap().get(&key()).await.unwrap();
    assert_eq!((inner.count(), outer.count()), (1, 2));
    plain.cache_store().unwrap().get(&key()).await.unwrap();
    assert_eq!((inner.count(), outer.count()), (1, 2));
    assert_eq!(faults.plan("cache.gte", 1, Fault::Hang).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn tags_are_mirrored_by_each_bundle_and_agree() {
    let plain = MemoryBackend::new().stores();
    let (seen, stores) = layered(&plain);
    let tag = || stanchion::cache::Tag::new("t").unwrap();
    let here = plain.cache::<u32>("n").tags(move |_| vec![tag()]).build().unwrap();
    let there = stores.cache::<u32>("n").tags(move |_| vec![tag()]).build().unwrap();
    here.set("k", &1).await.unwrap();
    assert_eq!(there.get("k").await.unwrap().as_deref(), Some(&1));
    there.invalidate_tag(&tag()).await.unwrap();
    assert!(here.get("k").await.unwrap().is_none());
    assert!(seen.calls().iter().any(|call| call.operation == "cache.bump"));
}

/// Writes down the spans of calls with their fields.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<(Level, String)>>>);

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl Subscriber for Spans {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.name().starts_with("stanchion.")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields(span.metadata().name().to_owned());
        span.record(&mut fields);
        let mut spans = self.0.lock().unwrap();
        spans.push((*span.metadata().level(), fields.0));
        Id::from_u64(spans.len() as u64)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut fields = Fields(String::new());
        values.record(&mut fields);
        let at = usize::try_from(span.into_u64()).unwrap() - 1;
        self.0.lock().unwrap()[at].1.push_str(&fields.0);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn every_call_has_a_span_with_its_outcome_and_no_key() {
    let spans = Spans::default();
    tracing::subscriber::with_default(spans.clone(), || {
        crate::without_timers(async {
            let stores = manual().0.stores();
            let faults = Faults::new(stores.environment());
            let stores = stores.layer(faults.clone()).layer(Trace::new());
            for (operation, call) in every(&stores) {
                call.await.unwrap();
                let area = operation.split('.').next().unwrap();
                let span =
                    format!("stanchion.{operation} area=\"{area}\" operation=\"{operation}\" outcome=\"ok\"");
                assert_eq!(spans.0.lock().unwrap().last().unwrap(), &(Level::DEBUG, span));
            }
            assert_eq!(spans.0.lock().unwrap().len(), Call::ALL.len());

            let cache = stores.cache_store().unwrap();
            let secret = stanchion::Error::new(ErrorKind::InvalidInput, "secret-key is no key");
            faults.plan("cache.get", 1, Fault::Fail(secret)).unwrap();
            cache.get(&key()).await.unwrap_err();
            faults.plan("cache.get", 1, Fault::Hang).unwrap();
            let key = key();
            let mut cancelled = cache.get(&key);
            assert!(crate::settled(cancelled.as_mut()).await.is_none());
            drop(cancelled);
        });
    });
    let spans = spans.0.lock().unwrap();
    let [.., (_, failed), (_, cancelled)] = spans.as_slice() else { panic!("two more") };
    assert!(failed.ends_with("outcome=\"error\" error.type=\"invalid_input\""), "{failed}");
    assert!(cancelled.ends_with("outcome=\"cancelled\""), "{cancelled}");
    assert!(spans.iter().all(|(_, span)| !span.contains("secret")), "{spans:?}");
}

#[cfg(feature = "metrics")]
mod metrics {
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicU64, Ordering};

    use ::metrics::{
        Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    };
    use stanchion::layer::Metrics;
    use stanchion::time::seconds;

    use super::*;

    #[derive(Default)]
    struct Recorded {
        counts: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
        times: Arc<Mutex<Vec<(String, f64)>>>,
    }

    struct Times(Arc<Mutex<Vec<(String, f64)>>>, String);

    impl HistogramFn for Times {
        fn record(&self, value: f64) {
            self.0.lock().unwrap().push((self.1.clone(), value));
        }
    }

    fn name(key: &Key) -> String {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        format!("{}{{{}}}", key.name(), labels.join(","))
    }

    impl Recorder for Recorded {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(Arc::clone(self.counts.lock().unwrap().entry(name(key)).or_default()))
        }
        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }
        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::from_arc(Arc::new(Times(Arc::clone(&self.times), name(key))))
        }
    }

    #[test]
    fn every_call_is_counted_by_its_outcome_and_timed_by_the_clock() {
        let recorded = Recorded::default();
        ::metrics::with_local_recorder(&recorded, || crate::without_timers(measured()));
        let counts = recorded.counts.lock().unwrap();
        let count = |outcome: &str| {
            let name =
                format!("stanchion_store_calls_total{{area=cache,operation=cache.get,outcome={outcome}}}");
            counts.get(&name).map_or(0, |count| count.load(Ordering::Relaxed))
        };
        assert_eq!((count("ok"), count("timeout"), count("cancelled")), (2, 1, 1));
        let ok = counts.keys().filter(|name| name.ends_with("outcome=ok}")).count();
        assert_eq!((ok, counts.len()), (Call::ALL.len(), Call::ALL.len() + 2));
        let times = recorded.times.lock().unwrap();
        let delayed = "stanchion_store_call_seconds{area=cache,operation=cache.get}";
        let delayed: Vec<_> =
            times.iter().filter(|(name, _)| name == delayed).map(|(_, time)| *time).collect();
        assert_eq!(delayed, [0.0, 0.0, 2.0], "all but the cancelled one");
        assert!(counts.keys().all(|name| !name.contains("secret")));
    }

    async fn measured() {
        let (backend, clock) = manual();
        let stores = backend.stores();
        let (faults, metrics) = (Faults::new(stores.environment()), Metrics::new(stores.environment()));
        let stores = stores.layer(faults.clone()).layer(metrics);
        for (operation, call) in every(&stores) {
            call.await.expect(operation);
        }
        let (cache, key) = (stores.cache_store().unwrap(), key());
        faults.plan("cache.get", 1, Fault::Fail(stanchion::Error::new(ErrorKind::Timeout, "slow"))).unwrap();
        cache.get(&key).await.unwrap_err();
        faults.plan("cache.get", 1, Fault::Delay(seconds(2))).unwrap();
        crate::driven(&clock, seconds(1), cache.get(&key)).await.0.unwrap();
        faults.plan("cache.get", 1, Fault::Hang).unwrap();
        let mut cancelled = cache.get(&key);
        assert!(crate::settled(cancelled.as_mut()).await.is_none());
        drop(cancelled);
    }
}
