//! The sessions' façade: what a request costs, settings that change, data, devices, encryption.

#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use stanchion::Result;
use stanchion::encryption::{EncryptionKey, Keyring};
use stanchion::layer::{Answer, Around, Call};
use stanchion::prelude::*;
use stanchion::session::{CreateOptions, Device, OpenedSession, SessionEncryption};

use support::manual;

async fn open(sessions: &Sessions, user: &str, fields: Patch) -> OpenedSession {
    sessions.create(user, fields).await.unwrap().unwrap()
}

/// Writes down which operations the store was asked for.
#[derive(Debug, Clone, Default)]
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

#[tokio::test]
async fn a_request_is_one_call_which_records_a_use_once_a_minute() {
    let (backend, clock) = manual();
    let calls = Calls::default();
    let sessions = backend.stores().layer(calls.clone()).sessions().build().unwrap();
    let opened = open(&sessions, "u1", Patch::new()).await;
    let cookie = opened.token.reveal();
    calls.0.lock().unwrap().clear();
    let mut recorded = Vec::new();
    for _ in 0..100 {
        clock.advance(Duration::from_millis(10));
        recorded.push(sessions.authenticate(&cookie).await.unwrap().unwrap().record().last_used_at);
    }
    assert_eq!(*calls.0.lock().unwrap(), ["session.use"; 100]);
    recorded.dedup();
    assert_eq!(recorded, [opened.session.record().created_at], "no use was due within the first second");
    for _ in 0..600 {
        clock.advance(seconds(1));
        recorded.push(sessions.authenticate(&cookie).await.unwrap().unwrap().record().last_used_at);
    }
    recorded.dedup();
    assert_eq!(recorded.len(), 11, "one in a minute, for ten minutes");
}

#[tokio::test]
async fn a_session_that_is_used_lives_for_its_idle_timeout_after_each_use() {
    let (backend, clock) = manual();
    let sessions = backend.stores().sessions().idle_timeout(minutes(30)).build().unwrap();
    for since_recorded in [0, 1, 30, 59, 60, 61] {
        let cookie = open(&sessions, "u1", Patch::new()).await.token.reveal();
        clock.advance(seconds(since_recorded));
        assert!(sessions.authenticate(&cookie).await.unwrap().is_some());
        clock.advance(Duration::from_millis(30 * 60 * 1_000 - 1));
        assert!(sessions.authenticate(&cookie).await.unwrap().is_some(), "{since_recorded} s");
        clock.advance(minutes(31));
        assert!(sessions.authenticate(&cookie).await.unwrap().is_none(), "{since_recorded} s");
    }
}

#[tokio::test]
async fn a_newer_build_with_stricter_timeouts_ends_sessions_that_live() {
    let (backend, clock) = manual();
    let stores = backend.stores();
    let before = stores.sessions().idle_timeout(hours(8)).absolute_timeout(hours(24)).build().unwrap();
    let idle = stores.sessions().idle_timeout(minutes(15)).absolute_timeout(hours(24)).build().unwrap();
    let absolute = stores.sessions().idle_timeout(hours(8)).absolute_timeout(hours(1)).build().unwrap();
    let opened = open(&before, "u1", Patch::new()).await;
    let cookie = opened.token.reveal();
    clock.advance(minutes(14));
    let left = idle.load(&opened.token).await.unwrap().unwrap().record().expires_in;
    assert!(left <= minutes(2), "{left:?}");
    clock.advance(minutes(6));
    assert!(idle.authenticate(&cookie).await.unwrap().is_none());
    assert_eq!(idle.count("u1").await.unwrap(), 0);
    assert_eq!(idle.patch(&opened.token, &Patch::new()).await.unwrap(), PatchOutcome::Gone);
    assert_eq!(idle.touch(&opened.token).await.unwrap(), TouchOutcome::Gone);
    assert!(absolute.authenticate(&cookie).await.unwrap().is_some());
    clock.advance(minutes(40));
    assert!(absolute.authenticate(&cookie).await.unwrap().is_none());
    // Wider settings prolong nothing that is stored.
    let short = open(&idle, "u2", Patch::new()).await.token.reveal();
    clock.advance(minutes(17));
    assert!(before.authenticate(&short).await.unwrap().is_none());
}

#[tokio::test]
async fn who_wants_to_be_remembered_has_timeouts_of_their_own() {
    let (backend, clock) = manual();
    let stores = backend.stores();
    let sessions = |longest| {
        let builder = stores.sessions().idle_timeout(minutes(15)).absolute_timeout(hours(12));
        builder.longest_timeouts(longest, longest).build().unwrap()
    };
    let (wide, strict) = (sessions(days(30)), sessions(days(3)));
    let remember = CreateOptions::new().timeouts(days(14), days(30));
    let opened = wide.create_with("u1", Patch::new(), &remember).await.unwrap().unwrap();
    let usual = open(&wide, "u1", Patch::new()).await;
    clock.advance(days(2));
    assert!(wide.load(&opened.token).await.unwrap().is_some(), "remembered");
    assert!(strict.load(&opened.token).await.unwrap().is_some(), "within what a stricter build allows");
    assert!(wide.load(&usual.token).await.unwrap().is_none(), "the other had the service's timeouts");
    clock.advance(days(2));
    assert!(wide.load(&opened.token).await.unwrap().is_some());
    assert!(strict.load(&opened.token).await.unwrap().is_none());
    for options in [
        CreateOptions::new().timeouts(days(31), days(30)),
        CreateOptions::new().timeouts(days(1), days(31)),
        CreateOptions::new().timeouts(seconds(0), days(1)),
    ] {
        let error = wide.create_with("u1", Patch::new(), &options).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::InvalidInput, Effect::NotApplied));
    }
    // Unless a service allows more, its own timeouts are the longest.
    let plain = stores.sessions().idle_timeout(minutes(15)).build().unwrap();
    assert!(plain.create_with("u1", Patch::new(), &remember).await.is_err());
}

#[tokio::test]
async fn a_role_has_a_limit_of_its_own_and_a_lower_one_ends_the_surplus() {
    let (backend, _) = manual();
    let sessions = backend.stores().sessions().limit(SessionLimit::EvictOldest(5)).build().unwrap();
    let mut opened = Vec::new();
    for _ in 0..5 {
        opened.push(open(&sessions, "u1", Patch::new()).await);
    }
    let administrator = CreateOptions::new().limit(SessionLimit::Reject(2));
    assert!(sessions.create_with("u1", Patch::new(), &administrator).await.unwrap().is_none());
    assert_eq!(sessions.count("u1").await.unwrap(), 5, "who is refused ends nobody");
    let administrator = CreateOptions::new().limit(SessionLimit::EvictOldest(2));
    let last = sessions.create_with("u1", Patch::new(), &administrator).await.unwrap().unwrap();
    let ids = |opened: &[OpenedSession]| opened.iter().map(|o| o.session.id().clone()).collect::<Vec<_>>();
    assert_eq!(last.evicted, ids(&opened[..4]));
    assert_eq!(sessions.count("u1").await.unwrap(), 2);
}

#[tokio::test]
async fn what_a_session_holds_is_bounded() {
    let (backend, _) = manual();
    let sessions = backend.stores().sessions().build().unwrap();
    let opened = open(&sessions, "u1", Patch::new()).await;
    let mut refused = 0;
    for n in 0..100 {
        let patch = Patch::new().set(format!("f{n}"), vec![b'0'; 200 * 1024]);
        match sessions.patch(&opened.token, &patch).await {
            Ok(PatchOutcome::Saved { .. }) => {}
            Ok(other) => panic!("{other:?}"),
            Err(error) => {
                assert_eq!((error.kind(), error.effect()), (ErrorKind::InvalidInput, Effect::NotApplied));
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 99);
    let names = (0..20_000).fold(Patch::new(), |patch, n| patch.remove(format!("{n:0100}")));
    let error = sessions.patch(&opened.token, &names).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::InvalidInput, Effect::NotApplied));
    assert_eq!(sessions.load(&opened.token).await.unwrap().unwrap().record().version, 2);
}

#[tokio::test]
async fn no_value_is_shown() {
    let (backend, _) = manual();
    let sessions = backend.stores().sessions().build().unwrap();
    let device = Device::new().label("hunter2 phone").address("hunter2.example");
    let patch = Patch::new().value("oauth", "hunter2").unwrap().remove("old").device(device);
    let shown = format!("{patch:?}");
    assert!(shown.contains("oauth") && shown.contains("9 bytes") && shown.contains("old"), "{shown}");
    let mut fields = patch.clone();
    fields.remove.clear();
    let opened = open(&sessions, "u1", fields).await;
    let listed = sessions.of_user("u1").await.unwrap();
    let view = sessions.load(&opened.token).await.unwrap().unwrap();
    for shown in [
        shown,
        format!("{opened:?}"),
        format!("{view:?}"),
        format!("{:?}", view.record()),
        format!("{listed:?}"),
    ] {
        assert!(!shown.contains("hunter2") && !shown.contains("104, 117, 110"), "{shown}");
    }
    assert_eq!(view.value::<String>("oauth").unwrap().as_deref(), Some("hunter2"));
}

#[tokio::test]
async fn a_page_of_devices_shows_what_the_application_has_said() {
    let (backend, clock) = manual();
    let sessions = backend.stores().sessions().limit(SessionLimit::EvictOldest(3)).build().unwrap();
    let phone = open(&sessions, "u1", Patch::new().device(Device::new().label("Phone"))).await;
    clock.advance(minutes(5));
    let laptop = Patch::new().device(Device::new().label("Laptop").address("192.0.2.7"));
    let laptop = open(&sessions, "u1", laptop).await;
    open(&sessions, "u2", Patch::new()).await;
    clock.advance(minutes(5));
    let moved = Patch::new().device(Device::new().address(std::net::Ipv4Addr::LOCALHOST));
    let _ = sessions.patch(&phone.token, &moved).await.unwrap();
    let seen = sessions.of_user("u1").await.unwrap();
    assert_eq!((seen.count(), seen.limit), (2, SessionLimit::EvictOldest(3)));
    let devices: Vec<_> = seen.sessions.iter().map(|session| session.device.clone()).collect();
    assert_eq!(
        devices,
        [
            Device::new().label("Laptop").address("192.0.2.7"),
            Device::new().label("Phone").address("127.0.0.1")
        ]
    );
    let [first, second] = seen.sessions.as_slice() else { panic!("two sessions") };
    assert_eq!(second.created_at.saturating_add(minutes(5)), first.created_at);
    assert_eq!(seen.last_used_at(), Some(first.created_at.saturating_add(minutes(5))));
    assert_eq!(sessions.destroy_id("u1", &second.id).await.unwrap(), DestroyOutcome::Destroyed);
    assert_eq!(sessions.list("u1").await.unwrap().len(), 1);
    assert_eq!(sessions.list("u1").await.unwrap()[0].id, *laptop.session.id());
    assert_eq!(sessions.of_user("nobody").await.unwrap().last_used_at(), None);
}

#[tokio::test]
async fn holders_of_the_public_name_load_use_and_change() {
    let (backend, clock) = manual();
    let sessions = backend.stores().sessions().build().unwrap();
    let opened = open(&sessions, "u1", Patch::new().value("theme", "dark").unwrap()).await;
    let id = opened.session.id().to_string().parse::<SessionId>().unwrap();
    assert_eq!(sessions.load_id(&id).await.unwrap().unwrap().user(), "u1");
    clock.advance(minutes(29));
    assert!(matches!(sessions.touch_id(&id).await.unwrap(), TouchOutcome::Touched { .. }));
    let patch = Patch::new().value("theme", "light").unwrap();
    assert_eq!(sessions.patch_id(&id, &patch).await.unwrap(), PatchOutcome::Saved { version: 2 });
    clock.advance(minutes(29));
    let view = sessions.load(&opened.token).await.unwrap().unwrap();
    assert_eq!(view.value::<String>("theme").unwrap().as_deref(), Some("light"));
    sessions.destroy(&opened.token).await.unwrap();
    assert!(sessions.load_id(&id).await.unwrap().is_none());
    assert_eq!(sessions.touch_id(&id).await.unwrap(), TouchOutcome::Gone);
    assert_eq!(sessions.patch_id(&id, &patch).await.unwrap(), PatchOutcome::Gone);
}

fn key(id: u8) -> EncryptionKey {
    EncryptionKey::new(id.into(), &[id; 32])
}

#[tokio::test]
async fn encrypted_fields_are_read_by_who_has_the_key_and_by_nobody_else() {
    let (backend, _) = manual();
    let stores = backend.stores();
    let with = |encryption: SessionEncryption| stores.sessions().encrypt(encryption).build().unwrap();
    let (plain, old) = (stores.sessions().build().unwrap(), with(Keyring::new(key(1)).into()));
    let new = with(Keyring::new(key(2)).reading(key(1)).into());
    let opened = open(&old, "u1", Patch::new().value("oauth", "hunter2").unwrap()).await;
    assert_eq!(opened.session.value::<String>("oauth").unwrap().as_deref(), Some("hunter2"));
    let raw = plain.load(&opened.token).await.unwrap().unwrap().record().data["oauth"].clone();
    assert!(!raw.windows(7).any(|window| window == b"hunter2"));
    let patch = Patch::new().value("more", &7).unwrap();
    assert_eq!(new.patch(&opened.token, &patch).await.unwrap(), PatchOutcome::Saved { version: 2 });
    let cookie = opened.token.reveal();
    let view = new.authenticate(&cookie).await.unwrap().unwrap();
    assert_eq!(view.value::<String>("oauth").unwrap().as_deref(), Some("hunter2"));
    assert_eq!(view.value::<u8>("more").unwrap(), Some(7));
    // One key knows nothing of the other's field.
    assert_eq!(old.authenticate(&cookie).await.unwrap_err().kind(), ErrorKind::Codec);
    assert_eq!(old.list("u1").await.unwrap().len(), 1, "a list has no fields");
    // Moved to another session, or to another field, a value can't be read.
    for (user, field) in [("u2", "oauth"), ("u1", "other")] {
        let other = open(&plain, user, Patch::new().set(field, raw.clone())).await;
        assert_eq!(new.load(&other.token).await.unwrap_err().kind(), ErrorKind::Codec);
    }
    let moved = Patch::new().set("other", raw.clone());
    let _ = plain.patch(&opened.token, &moved).await.unwrap();
    assert_eq!(new.load(&opened.token).await.unwrap_err().kind(), ErrorKind::Codec);
    // What can't be read can be ended.
    assert_eq!(new.destroy(&opened.token).await.unwrap(), DestroyOutcome::Destroyed);
}

#[tokio::test]
async fn plain_fields_are_read_beside_encrypted_ones_only_if_that_is_asked_for() {
    let (backend, _) = manual();
    let stores = backend.stores();
    let plain = stores.sessions().build().unwrap();
    let strict = stores.sessions().encrypt(Keyring::new(key(1))).build().unwrap();
    let reading = SessionEncryption::new(Keyring::new(key(1))).reading_plain();
    let changing = stores.sessions().encrypt(reading).build().unwrap();
    let opened = open(&plain, "u1", Patch::new().value("theme", "dark").unwrap()).await;
    assert_eq!(strict.load(&opened.token).await.unwrap_err().kind(), ErrorKind::Codec);
    let _ = changing.patch(&opened.token, &Patch::new().value("more", &7).unwrap()).await.unwrap();
    let view = changing.load(&opened.token).await.unwrap().unwrap();
    assert_eq!(view.value::<String>("theme").unwrap().as_deref(), Some("dark"));
    assert_eq!(view.value::<u8>("more").unwrap(), Some(7));
    assert_ne!(plain.load(&opened.token).await.unwrap().unwrap().record().data["more"], "7");
}
