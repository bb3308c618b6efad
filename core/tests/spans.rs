//! The span of a load, for those who collect traces.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::fmt::{self, Write};
use std::sync::{Arc, Mutex};

use stanchion::prelude::*;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use support::manual;

/// Writes down the spans of this library, and in which of them an event of this file happens.
#[derive(Clone, Default)]
struct Collected(Arc<Mutex<Inside>>);

#[derive(Default)]
struct Inside {
    spans: Vec<(Level, String)>,
    entered: Vec<u64>,
    events: Vec<(String, Option<u64>)>,
}

/// `name field=value …`
struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl Subscriber for Collected {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("stanchion") || metadata.target() == module_path!()
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields(span.metadata().name().to_owned());
        span.record(&mut fields);
        let mut inside = self.0.lock().unwrap();
        inside.spans.push((*span.metadata().level(), fields.0));
        Id::from_u64(inside.spans.len() as u64)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        let mut inside = self.0.lock().unwrap();
        let innermost = inside.entered.last().copied();
        inside.events.push((fields.0, innermost));
    }

    fn enter(&self, span: &Id) {
        self.0.lock().unwrap().entered.push(span.into_u64());
    }

    fn exit(&self, _: &Id) {
        self.0.lock().unwrap().entered.pop();
    }
}

#[tokio::test]
async fn a_load_has_a_span_that_names_the_cache_and_no_key() {
    let collected = Collected::default();
    // The runtime has this one thread.
    let _here = tracing::subscriber::set_default(collected.clone());
    let (backend, _) = manual();
    let cache: Cache<u32> = backend.stores().cache("user").build().unwrap();
    let load = |value: u32| {
        move || async move {
            tracing::info!(value, "loading");
            tokio::task::yield_now().await;
            tracing::info!(value, "loaded");
            Ok::<_, ()>(value)
        }
    };
    cache.get_or_load("alice", load(1)).await.unwrap();
    cache.get_or_load("alice", load(2)).await.unwrap();
    cache.get_or_load("bob", load(3)).await.unwrap();
    tracing::info!("outside");

    let inside = collected.0.lock().unwrap();
    let span = (Level::DEBUG, "cache.load cache=cache:user".to_owned());
    assert_eq!(inside.spans, [span.clone(), span], "one for each load, none for a hit");
    let events: Vec<_> = inside.events.iter().map(|(event, span)| (event.as_str(), *span)).collect();
    assert_eq!(
        events,
        [
            (" message=loading value=1", Some(1)),
            (" message=loaded value=1", Some(1)),
            (" message=loading value=3", Some(2)),
            (" message=loaded value=3", Some(2)),
            (" message=outside", None),
        ],
        "the loader runs inside the span, also after it has waited"
    );
    assert!(inside.entered.is_empty());
}
