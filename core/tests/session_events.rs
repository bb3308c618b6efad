//! What is published of sessions, by which façade, and what becomes of it where something fails.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::time::Duration;

use futures_util::FutureExt;
use stanchion::clock::ManualClock;
use stanchion::event::{Envelope, Received, SubscribeOptions, Subscription};
use stanchion::key::Name;
use stanchion::layer::{Fault, Faults};
use stanchion::prelude::*;
use stanchion::session::{DestroyOutcome, OpenedSession, SessionEvents, SessionsBuilder};
use stanchion_memory::MemoryBackend;

use support::{manual, settle};

const EVERY: Duration = minutes(1);

fn auth(backend: &MemoryBackend) -> Stores {
    backend.handle().stores().service("auth").unwrap()
}

fn publishing(stores: &Stores) -> SessionsBuilder {
    stores.sessions().idle_timeout(minutes(30)).publishing().reap_every(EVERY)
}

/// All events of the domain.
struct Heard(Box<dyn Subscription>);

impl Heard {
    async fn of(stores: &Stores, domain: &str) -> Self {
        let options = SubscribeOptions::new(Name::new(domain).unwrap());
        Self(stores.event_bus().unwrap().subscribe(options).await.unwrap())
    }

    /// What has come, once everybody has had time.
    async fn envelopes(&mut self) -> Vec<Envelope> {
        settle().await;
        let mut heard = Vec::new();
        while let Some(received) = futures_util::StreamExt::next(&mut self.0).now_or_never() {
            match received {
                Some(Received::Event(event)) => heard.push(*event),
                other => panic!("{other:?}"),
            }
        }
        heard
    }

    /// Type and reason of each.
    async fn events(&mut self) -> Vec<(String, Option<String>)> {
        let of = |event: Envelope| {
            let reason = event.data.get("reason").and_then(|reason| reason.as_str()).map(str::to_owned);
            (event.event_type.as_str().to_owned(), reason)
        };
        self.envelopes().await.into_iter().map(of).collect()
    }
}

fn created() -> (String, Option<String>) {
    ("auth.session_created".into(), None)
}

fn expired(reason: &str) -> (String, Option<String>) {
    ("auth.session_expired".into(), Some(reason.into()))
}

async fn open(sessions: &Sessions) -> OpenedSession {
    sessions.create("u1", Patch::new()).await.unwrap().unwrap()
}

/// Time passes in steps, so that each timer rings in its turn.
async fn pass(clock: &ManualClock, time: Duration) {
    let step = Duration::from_secs(20);
    for _ in 0..time.as_secs() / step.as_secs() {
        clock.advance(step);
        settle().await;
    }
}

#[tokio::test]
async fn each_end_is_published_with_its_reason() {
    let (backend, clock) = manual();
    let stores = auth(&backend);
    let mut heard = Heard::of(&stores, "auth").await;
    let sessions = publishing(&stores).limit(SessionLimit::EvictOldest(1)).build().unwrap();
    open(&sessions).await;
    let second = open(&sessions).await;
    let mut events = heard.events().await;
    events.sort();
    assert_eq!(events, [created(), created(), expired("evicted")]);
    assert_eq!(sessions.destroy(&second.token).await.unwrap(), DestroyOutcome::Destroyed);
    assert_eq!(heard.events().await, [expired("destroyed")]);
    let third = open(&sessions).await;
    assert_eq!(sessions.destroy_all("u1", None).await.unwrap().len(), 1);
    assert_eq!(heard.events().await, [created(), expired("destroyed")]);
    assert_eq!(sessions.destroy(&third.token).await.unwrap(), DestroyOutcome::Gone);
    open(&sessions).await;
    assert_eq!(heard.events().await, [created()]);
    pass(&clock, minutes(30)).await;
    assert_eq!(heard.events().await, [], "it lives a minute more than that");
    pass(&clock, minutes(2)).await;
    assert_eq!(heard.events().await, [expired("timed_out")]);
    pass(&clock, minutes(10)).await;
    assert_eq!(heard.events().await, []);
}

#[tokio::test]
async fn what_ends_while_nobody_runs_is_published_by_the_next() {
    let (backend, clock) = manual();
    let stores = auth(&backend);
    let sessions = publishing(&stores).build().unwrap();
    let id = open(&sessions).await.session.id().to_string();
    settle().await;
    stores.close(Duration::from_secs(1)).await.unwrap();
    pass(&clock, hours(2)).await;
    let stores = auth(&backend);
    let mut heard = Heard::of(&stores, "auth").await;
    // A tool that opens a session and goes.
    let tool = publishing(&stores).reaping(false).build().unwrap();
    pass(&clock, minutes(10)).await;
    assert_eq!(heard.events().await, []);
    let _sessions = publishing(&stores).build().unwrap();
    pass(&clock, minutes(2)).await;
    let events = heard.envelopes().await;
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(
        (events[0].data["session_id"].as_str(), events[0].subject.as_deref()),
        (Some(&*id), Some("u1"))
    );
    // What happens here is published here all the same.
    open(&tool).await;
    assert_eq!(heard.events().await, [created()]);
}

#[tokio::test]
async fn an_event_waits_for_the_bus_and_keeps_its_place() {
    let (backend, clock) = manual();
    let stores = auth(&backend);
    let mut heard = Heard::of(&stores, "auth").await;
    let faults = Faults::new(stores.environment());
    let sessions = publishing(&stores.layer(faults.clone())).build().unwrap();
    let down = || Fault::Fail(Error::new(ErrorKind::Unavailable, "down"));
    faults.plan("event.publish", 1, down()).unwrap();
    let opened = open(&sessions).await;
    assert_eq!(heard.events().await, []);
    faults.plan("event.publish", 1, down()).unwrap();
    assert_eq!(sessions.destroy(&opened.token).await.unwrap(), DestroyOutcome::Destroyed);
    assert_eq!(heard.events().await, []);
    pass(&clock, EVERY).await;
    assert_eq!(heard.events().await, [created(), expired("destroyed")]);
}

#[tokio::test]
async fn who_dies_before_it_is_noted_publishes_the_same_event_again() {
    let (backend, clock) = manual();
    let stores = auth(&backend);
    let mut heard = Heard::of(&stores, "auth").await;
    let faults = Faults::new(stores.environment());
    let sessions = publishing(&stores.layer(faults.clone())).build().unwrap();
    // It goes on for ever, and does nothing.
    faults.plan("session.acknowledge", 1, Fault::Hang).unwrap();
    open(&sessions).await;
    let first = heard.envelopes().await;
    assert_eq!(first.len(), 1);
    let other = auth(&backend);
    let _other = publishing(&other).build().unwrap();
    pass(&clock, minutes(3)).await;
    let again = heard.envelopes().await;
    assert_eq!(again, first, "the same event, by its id too");
    pass(&clock, minutes(3)).await;
    assert_eq!(heard.events().await, []);
}

#[tokio::test]
async fn another_reaps_once_the_one_that_did_is_gone() {
    let (backend, clock) = manual();
    let (mine, theirs) = (auth(&backend), auth(&backend));
    let mut heard = Heard::of(&theirs, "auth").await;
    let first = publishing(&mine).build().unwrap();
    let second = publishing(&theirs).build().unwrap();
    pass(&clock, minutes(2)).await;
    open(&second).await;
    assert_eq!(heard.events().await, [created()]);
    // Whichever it was.
    drop(first);
    pass(&clock, minutes(40)).await;
    assert_eq!(heard.events().await, [expired("timed_out")]);
}

#[tokio::test]
async fn names_are_ones_own_and_each_event_can_be_left_out() {
    let (backend, _) = manual();
    let stores = auth(&backend);
    let mut heard = Heard::of(&stores, "login").await;
    let events = SessionEvents::standard().unwrap().without_created().ended_as("login.over").unwrap();
    let sessions = publishing(&stores).events(events).build().unwrap();
    let opened = open(&sessions).await;
    sessions.destroy(&opened.token).await.unwrap();
    assert_eq!(heard.events().await, [("login.over".to_owned(), Some("destroyed".to_owned()))]);
    assert_eq!(
        SessionEvents::standard().unwrap().created_as("login").unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    for every in [Duration::from_millis(49), hours(1) + seconds(1)] {
        let refused = publishing(&stores).reap_every(every).build().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    }
}

#[tokio::test]
async fn nothing_is_kept_of_sessions_that_are_not_published() {
    let (backend, clock) = manual();
    let stores = auth(&backend);
    let silent = stores.sessions().build().unwrap();
    let opened = silent.create("u1", Patch::new()).await.unwrap().unwrap();
    let mut heard = Heard::of(&stores, "auth").await;
    let loud = publishing(&stores).build().unwrap();
    assert_eq!(silent.destroy(&opened.token).await.unwrap(), DestroyOutcome::Destroyed);
    pass(&clock, hours(1)).await;
    assert_eq!(heard.events().await, []);
    // One that is published is, whoever ends it: in its turn at the latest.
    let opened = open(&loud).await;
    assert_eq!(heard.events().await, [created()]);
    assert_eq!(silent.destroy(&opened.token).await.unwrap(), DestroyOutcome::Destroyed);
    pass(&clock, minutes(2)).await;
    assert_eq!(heard.events().await, [expired("destroyed")]);
}
