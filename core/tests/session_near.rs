//! Sessions that are kept in this process: no command within their age, what changes is seen when the feed says so.

#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use stanchion::clock::ManualClock;
use stanchion::encryption::{EncryptionKey, Keyring};
use stanchion::environment::Environment;
use stanchion::layer::{Answer, Around, Call, FaultRates, Faults};
use stanchion::prelude::*;
use stanchion::session::{CreateOptions, OpenedSession, SessionLimit};
use stanchion::{ErrorKind, Result};
use stanchion_memory::{MemoryBackend, MemoryConfig, MokaNear};

const AGE: Duration = seconds(10);
/// A moment before a copy is too old.
const NEARLY: Duration = Duration::from_millis(9_999);

/// Counts the calls.
#[derive(Clone, Debug, Default)]
struct Calls(Arc<Mutex<Vec<&'static str>>>);

impl Around for Calls {
    fn deadline(&self, own: Option<Duration>) -> Option<Duration> {
        own
    }

    async fn call<'a, T: Send + 'a>(
        &'a self,
        call: Call,
        mut work: impl FnMut() -> Answer<'a, T> + Send + 'a,
    ) -> Result<T> {
        self.0.lock().unwrap().push(call.operation);
        work().await
    }
}

impl Calls {
    fn uses(&self) -> usize {
        self.0.lock().unwrap().iter().filter(|operation| **operation == "session.use").count()
    }
}

struct World {
    backend: MemoryBackend,
    clock: ManualClock,
    calls: Calls,
    near: Sessions,
    /// As another process has them.
    far: Sessions,
}

fn world() -> World {
    let clock = ManualClock::new();
    let environment = Environment::system().clock(Arc::new(clock.clone()));
    let backend = MemoryBackend::with(MemoryConfig::new().environment(environment));
    let calls = Calls::default();
    let near =
        backend.stores().layer(calls.clone()).sessions().near(MokaNear::entries(100), AGE).build().unwrap();
    let far = backend.handle().stores().sessions().build().unwrap();
    World { backend, clock, calls, near, far }
}

async fn log_in(sessions: &Sessions) -> OpenedSession {
    sessions.create("u1", Patch::new().set("cart", "1")).await.unwrap().unwrap()
}

async fn is_live(sessions: &Sessions, cookie: &str) -> bool {
    sessions.authenticate(cookie).await.unwrap().is_some()
}

#[tokio::test]
async fn a_session_is_asked_for_once_within_the_age() {
    let World { clock, calls, near, .. } = world();
    let cookie = log_in(&near).await.token.reveal();
    for _ in 0..100 {
        assert!(is_live(&near, &cookie).await);
    }
    assert_eq!(calls.uses(), 1);
    clock.advance(NEARLY);
    assert!(is_live(&near, &cookie).await);
    assert_eq!(calls.uses(), 1);
    clock.advance(Duration::from_millis(1));
    assert!(is_live(&near, &cookie).await);
    assert_eq!(calls.uses(), 2);
}

#[tokio::test]
async fn what_this_process_changes_is_seen_at_once() {
    let World { near, .. } = world();
    let opened = log_in(&near).await;
    let cookie = opened.token.reveal();
    assert!(is_live(&near, &cookie).await);
    let _patched = near.patch(&opened.token, &Patch::new().set("cart", "2")).await.unwrap();
    let view = near.authenticate(&cookie).await.unwrap().unwrap();
    assert_eq!(view.record().data["cart"], "2");
    let _ended = near.destroy(&opened.token).await.unwrap();
    assert!(!is_live(&near, &cookie).await);

    let cookie = log_in(&near).await.token.reveal();
    assert!(is_live(&near, &cookie).await);
    near.destroy_all("u1", None).await.unwrap();
    assert!(!is_live(&near, &cookie).await);
}

#[tokio::test]
async fn what_another_process_changes_is_seen_when_the_feed_says_so() {
    let World { near, far, .. } = world();
    let opened = log_in(&near).await;
    let cookie = opened.token.reveal();
    assert!(is_live(&near, &cookie).await);
    let _patched = far.patch(&opened.token, &Patch::new().set("cart", "2")).await.unwrap();
    assert_eq!(near.authenticate(&cookie).await.unwrap().unwrap().record().data["cart"], "2");
    far.destroy_all("u1", None).await.unwrap();
    assert!(!is_live(&near, &cookie).await);
}

#[tokio::test]
async fn a_session_that_is_evicted_or_rotated_is_not_answered_from_a_copy() {
    let World { near, far, .. } = world();
    let opened = log_in(&near).await;
    let cookie = opened.token.reveal();
    assert!(is_live(&near, &cookie).await);
    let rotated = far.rotate(&opened.token, Patch::new(), Duration::ZERO).await.unwrap();
    assert!(!is_live(&near, &cookie).await, "{rotated:?}");
    let cookie = log_in(&near).await.token.reveal();
    assert!(is_live(&near, &cookie).await);
    let one = CreateOptions::new().limit(SessionLimit::EvictOldest(1));
    far.create_with("u1", Patch::new(), &one).await.unwrap().unwrap();
    assert!(!is_live(&near, &cookie).await);
}

/// Its idle timeout is counted from its last use, also where that was answered from a copy.
#[tokio::test]
async fn a_session_that_is_used_never_ends_sooner_than_its_idle_timeout() {
    let World { backend, clock, .. } = world();
    let near = backend.stores().sessions().near(MokaNear::entries(100), minutes(5)).build().unwrap();
    let cookie = log_in(&near).await.token.reveal();
    for step in [1, 9, 10, 11, 49, 50, 59, 60, 61, 120] {
        for _ in 0..30 {
            clock.advance(seconds(step));
            assert!(is_live(&near, &cookie).await);
        }
        clock.advance(Duration::from_millis(30 * 60 * 1_000 - 1));
        assert!(is_live(&near, &cookie).await, "a use every {step} s");
    }
    clock.advance(minutes(31));
    assert!(!is_live(&near, &cookie).await);
}

#[tokio::test]
async fn a_copy_ends_with_the_absolute_timeout() {
    let World { backend, clock, .. } = world();
    let stores = backend.stores();
    let near = stores.sessions().absolute_timeout(seconds(90)).near(MokaNear::entries(100), minutes(5));
    let near = near.build().unwrap();
    let cookie = log_in(&near).await.token.reveal();
    clock.advance(seconds(60));
    // The first is due to be recorded, which is a change; the second is kept, with 30 seconds to go.
    for _ in 0..2 {
        let view = near.authenticate(&cookie).await.unwrap().unwrap();
        assert_eq!(view.record().expires_in, seconds(30));
    }
    clock.advance(Duration::from_millis(29_999));
    let view = near.authenticate(&cookie).await.unwrap().unwrap();
    assert_eq!(view.record().expires_in, Duration::from_millis(1));
    clock.advance(Duration::from_millis(1));
    assert!(!is_live(&near, &cookie).await);
}

#[tokio::test]
async fn a_log_in_that_fails_leaves_the_copies_of_others_alone() {
    let World { backend, .. } = world();
    let faults = Faults::seeded(backend.stores().environment(), 1);
    let stores = backend.stores().layer(faults.clone());
    let near = stores.sessions().near(MokaNear::entries(100), AGE).build().unwrap();
    let cookie = log_in(&near).await.token.reveal();
    assert!(is_live(&near, &cookie).await);
    faults.rate("session", FaultRates::new().not_done(1.0).unwrap()).unwrap();
    near.create("u2", Patch::new()).await.unwrap_err();
    near.destroy_all("u2", None).await.unwrap_err();
    assert!(is_live(&near, &cookie).await);
}

/// Its end is not known: whoever may have ended is asked for.
#[tokio::test]
async fn a_change_in_doubt_ends_the_copies() {
    let World { backend, .. } = world();
    let faults = Faults::seeded(backend.stores().environment(), 1);
    let stores = backend.stores().layer(faults.clone());
    let near = stores.sessions().near(MokaNear::entries(100), AGE).build().unwrap();
    let cookie = log_in(&near).await.token.reveal();
    assert!(is_live(&near, &cookie).await);
    faults.rate("session.destroy_all", FaultRates::new().lost(1.0).unwrap()).unwrap();
    near.destroy_all("u1", None).await.unwrap_err();
    assert!(!is_live(&near, &cookie).await);
}

#[tokio::test]
async fn a_session_of_nobody_that_is_bound_is_not_answered_from_a_copy() {
    let World { near, .. } = world();
    let opened = near.create_anonymous(Patch::new().set("cart", "1")).await.unwrap();
    let cookie = opened.token.reveal();
    assert!(near.resume(&cookie).await.unwrap().is_some());
    let bound = near.bind(&opened.token, "u1", Patch::new(), &CreateOptions::new()).await.unwrap();
    assert!(near.resume(&cookie).await.unwrap().is_none(), "{bound:?}");
}

#[tokio::test]
async fn nothing_is_answered_from_a_copy_once_the_stores_are_closed() {
    let World { backend, .. } = world();
    let stores = backend.handle().stores();
    let near = stores.sessions().near(MokaNear::entries(100), AGE).build().unwrap();
    let cookie = log_in(&near).await.token.reveal();
    assert!(is_live(&near, &cookie).await);
    let _closed = stores.close(seconds(1)).await;
    assert_eq!(near.authenticate(&cookie).await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn an_outage_is_bridged_for_the_age_and_no_longer() {
    let World { backend, clock, .. } = world();
    let faults = Faults::seeded(backend.stores().environment(), 1);
    let stores = backend.stores().layer(faults.clone());
    let near = stores.sessions().near(MokaNear::entries(100), AGE).build().unwrap();
    let opened = log_in(&near).await;
    let cookie = opened.token.reveal();
    assert!(is_live(&near, &cookie).await);
    faults.rate("session", FaultRates::new().not_done(1.0).unwrap()).unwrap();
    clock.advance(NEARLY);
    assert!(is_live(&near, &cookie).await);
    near.load(&opened.token).await.unwrap_err();
    clock.advance(Duration::from_millis(1));
    near.authenticate(&cookie).await.unwrap_err();
}

#[tokio::test]
async fn sessions_are_kept_beside_encryption_too() {
    let World { backend, .. } = world();
    let ring = Keyring::new(EncryptionKey::new(1, &[7; 32]));
    let calls = Calls::default();
    let stores = backend.stores().layer(calls.clone());
    let near = stores.sessions().encrypt(ring).near(MokaNear::entries(100), AGE);
    let near = near.build().unwrap();
    let cookie = log_in(&near).await.token.reveal();
    for _ in 0..3 {
        assert_eq!(near.authenticate(&cookie).await.unwrap().unwrap().record().data["cart"], "1");
    }
    assert_eq!(calls.uses(), 1);
}

#[tokio::test]
async fn an_age_of_nothing_or_of_more_than_five_minutes_is_refused() {
    let stores = MemoryBackend::new().stores();
    for age in [Duration::ZERO, minutes(5) + Duration::from_millis(1), Duration::MAX] {
        let refused = stores.sessions().near(MokaNear::entries(10), age).build().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{refused}");
    }
}
