//! A façade that is given a store without a deadline has one all the same.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use stanchion::cache::{Cache, CacheBuilder, CountersBuilder, LoadError};
use stanchion::clock::ManualClock;
use stanchion::environment::Environment;
use stanchion::event::Topic;
use stanchion::event::standard::UserUpdated;
use stanchion::key::Name;
use stanchion::limit::LimitsBuilder;
use stanchion::lock::Locks;
use stanchion::prelude::{ErrorKind, Patch, minutes};
use stanchion::session::SessionsBuilder;
use stanchion::time::seconds;
use stanchion::token::TokensBuilder;
use stanchion_memory::{MemoryBackend, MemoryConfig};

use crate::calls::id;
use crate::silent::Silent;
use crate::{driven, without_timers};

fn manual() -> (Environment, ManualClock) {
    let clock = ManualClock::new();
    (Environment::system().clock(Arc::new(clock.clone())), clock)
}

fn silent() -> Arc<Silent> {
    Arc::default()
}

fn app() -> Name {
    Name::new("app").unwrap()
}

/// The call times out after five seconds by this clock.
async fn times_out<T>(clock: &ManualClock, call: impl Future<Output = stanchion::Result<T>>) {
    let (answer, took) = driven(clock, Duration::from_millis(500), call).await;
    let error = answer.map(drop).unwrap_err();
    assert_eq!((error.kind(), took), (ErrorKind::Timeout, seconds(5)), "{error}");
}

#[test]
fn caches_and_counters() {
    without_timers(async {
        let (environment, clock) = manual();
        let cache: CacheBuilder<u32> = CacheBuilder::new(silent(), environment.clone(), "n");
        let cache: Cache<u32> = cache.store_deadline(minutes(5)).fail_closed().build().unwrap();
        times_out(&clock, cache.get("k")).await;
        times_out(&clock, cache.set("k", &1)).await;
        times_out(&clock, cache.remove("k")).await;
        times_out(&clock, cache.clear()).await;
        let loaded = cache.get_or_load("k", || async { Ok::<_, Infallible>(1) });
        let (answer, took) = driven(&clock, Duration::from_millis(500), loaded).await;
        assert!(matches!(answer, Err(LoadError::Store(error)) if error.kind() == ErrorKind::Timeout));
        assert_eq!(took, seconds(5));

        let counters = CountersBuilder::new(silent(), &environment, "n").build().unwrap();
        times_out(&clock, counters.add("k", 1)).await;
        times_out(&clock, counters.get("k")).await;
        times_out(&clock, counters.reset("k")).await;
    });
}

#[test]
fn the_events_of_a_cache() {
    without_timers(async {
        let (environment, clock) = manual();
        let backend = MemoryBackend::with(MemoryConfig::new().environment(environment.clone()));
        let store = backend.stores().cache_store().unwrap();
        let cache: CacheBuilder<u32> = CacheBuilder::new(store, environment, "n");
        let cache = cache.event_bus(silent()).publishing().build().unwrap();
        // The event is lost, and logged; the value is removed.
        let (answer, took) = driven(&clock, Duration::from_millis(500), cache.remove("k")).await;
        answer.unwrap();
        assert!(took <= seconds(5), "{took:?}");
    });
}

#[test]
fn sessions_and_their_tokens_and_events() {
    without_timers(async {
        let (environment, clock) = manual();
        let sessions = SessionsBuilder::new(silent(), environment.clone(), app()).build().unwrap();
        times_out(&clock, sessions.create("u1", Patch::new())).await;
        times_out(&clock, sessions.list("u1")).await;
        times_out(&clock, sessions.destroy_id("secret-user", &id())).await;

        let backend = MemoryBackend::with(MemoryConfig::new().environment(environment.clone()));
        let store = backend.stores().session_store().unwrap();
        let tokens = TokensBuilder::new(silent(), environment.clone(), app()).build().unwrap();
        let sessions = SessionsBuilder::new(store, environment, app())
            .event_bus(silent())
            .revoking_tokens(&tokens)
            .publishing()
            .build()
            .unwrap();
        // The event is lost, and logged; the session is there.
        let (opened, took) =
            driven(&clock, Duration::from_millis(500), sessions.create("u1", Patch::new())).await;
        assert!(took <= seconds(5), "{took:?}");
        let opened = opened.unwrap().unwrap();
        times_out(&clock, sessions.destroy(&opened.token)).await;
    });
}

#[test]
fn topics_locks_limits_and_tokens() {
    without_timers(async {
        let (environment, clock) = manual();
        let topic: Topic<UserUpdated> = Topic::new(silent(), environment.clone(), "app").unwrap();
        let event = UserUpdated { user_id: "u1".into(), changed: Vec::new() };
        times_out(&clock, topic.publish(&event)).await;
        times_out(&clock, topic.subscribe()).await;

        let limits = LimitsBuilder::new(silent(), &environment, "login").per_minute(5).build().unwrap();
        times_out(&clock, limits.check("u1")).await;
        times_out(&clock, limits.peek("u1")).await;

        let tokens = TokensBuilder::new(silent(), environment.clone(), app()).build().unwrap();
        times_out(&clock, tokens.revoke_user("u1")).await;

        // Last: what it may have acquired is released in the background.
        times_out(&clock, Locks::new(silent(), environment).try_acquire("job")).await;
    });
}
