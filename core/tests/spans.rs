//! The span of a load, for those who collect traces.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard};

use stanchion::prelude::*;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Instrument, Level, Metadata, Subscriber};
use tracing_core::span::Current;

use support::{manual, settle};

/// Writes down the spans of this library and of this file up to a level, and in which of them an event of this file
/// happens.
#[derive(Clone)]
struct Collected {
    most: Level,
    inside: Arc<Mutex<Inside>>,
}

#[derive(Default)]
struct Inside {
    spans: Vec<(Level, String)>,
    metadata: Vec<&'static Metadata<'static>>,
    /// The span above each, if it has one.
    parents: Vec<Option<u64>>,
    /// Which span is linked to which.
    links: Vec<(u64, u64)>,
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

impl Collected {
    fn up_to(most: Level) -> Self {
        Self { most, inside: Arc::default() }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap()
    }
}

impl Subscriber for Collected {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let ours = metadata.target().starts_with("stanchion") || metadata.target() == module_path!();
        ours && *metadata.level() <= self.most
    }

    fn current_span(&self) -> Current {
        let inside = self.inside();
        match inside.entered.last() {
            Some(span) => {
                Current::new(Id::from_u64(*span), inside.metadata[usize::try_from(*span).unwrap() - 1])
            }
            None => Current::none(),
        }
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields(span.metadata().name().to_owned());
        span.record(&mut fields);
        let mut inside = self.inside();
        let parent = match span.parent() {
            Some(parent) => Some(parent.into_u64()),
            None if span.is_contextual() => inside.entered.last().copied(),
            None => None,
        };
        inside.parents.push(parent);
        inside.metadata.push(span.metadata());
        inside.spans.push((*span.metadata().level(), fields.0));
        Id::from_u64(inside.spans.len() as u64)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.inside().links.push((span.into_u64(), follows.into_u64()));
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        let mut inside = self.inside();
        let innermost = inside.entered.last().copied();
        inside.events.push((fields.0, innermost));
    }

    fn enter(&self, span: &Id) {
        self.inside().entered.push(span.into_u64());
    }

    fn exit(&self, _: &Id) {
        self.inside().entered.pop();
    }
}

#[tokio::test]
async fn a_load_has_a_span_that_names_the_cache_and_no_key() {
    let collected = Collected::up_to(Level::DEBUG);
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

    let inside = collected.inside();
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

/// A loader that opens a span of its own.
async fn loading() -> Result<u32, ()> {
    let query = async {
        tokio::task::yield_now().await;
        Ok(7)
    };
    query.instrument(tracing::info_span!("query")).await
}

#[tokio::test]
async fn the_spans_of_a_loader_are_below_its_callers_span_at_every_level() {
    for most in [Level::INFO, Level::DEBUG] {
        let collected = Collected::up_to(most);
        let _here = tracing::subscriber::set_default(collected.clone());
        let (backend, _) = manual();
        let cache: Cache<u32> = backend.stores().cache("user").build().unwrap();
        let request = tracing::info_span!("request");
        cache.get_or_load("alice", loading).instrument(request).await.unwrap();

        let inside = collected.inside();
        let names: Vec<_> = inside.spans.iter().map(|(_, name)| name.split(' ').next().unwrap()).collect();
        if most == Level::INFO {
            assert_eq!(names, ["request", "query"]);
            assert_eq!(inside.parents, [None, Some(1)]);
        } else {
            assert_eq!(names, ["request", "cache.load", "query"]);
            assert_eq!(inside.parents, [None, Some(1), Some(2)]);
        }
        assert!(inside.links.is_empty() && inside.entered.is_empty());
    }
}

#[tokio::test]
async fn the_spans_of_a_loader_of_many_are_below_its_callers_span() {
    let collected = Collected::up_to(Level::INFO);
    let _here = tracing::subscriber::set_default(collected.clone());
    let (backend, _) = manual();
    let cache: Cache<u32> = backend.stores().cache("user").build().unwrap();
    let request = tracing::info_span!("request");
    let load = |ids: Vec<u32>| async move { Ok::<_, ()>(vec![(ids[0], loading().await?)]) };
    cache.get_or_load_many(&[1], load).instrument(request).await.unwrap();
    let inside = collected.inside();
    let names: Vec<_> = inside.spans.iter().map(|(_, name)| name.split(' ').next().unwrap()).collect();
    assert_eq!(names, ["request", "query"]);
    assert_eq!(inside.parents, [None, Some(1)]);
}

#[tokio::test]
async fn a_background_load_is_linked_to_its_callers_span_and_no_part_of_it() {
    let collected = Collected::up_to(Level::INFO);
    let _here = tracing::subscriber::set_default(collected.clone());
    let (backend, clock) = manual();
    let cache: Cache<u32> =
        backend.stores().cache("user").ttl(minutes(1)).stale_while_revalidate(hours(1)).build().unwrap();
    cache.set("alice", &1).await.unwrap();
    clock.advance(minutes(2));
    let request = tracing::info_span!("request");
    assert_eq!(*cache.get_or_load("alice", loading).instrument(request).await.unwrap(), 1);
    settle().await;
    assert_eq!(cache.get("alice").await.unwrap().as_deref(), Some(&7));

    let inside = collected.inside();
    let names: Vec<_> = inside.spans.iter().map(|(_, name)| name.split(' ').next().unwrap()).collect();
    assert_eq!(names, ["request", "cache.reload", "query"]);
    assert_eq!(inside.parents, [None, None, Some(2)]);
    assert_eq!(inside.links, [(2, 1)]);
}
