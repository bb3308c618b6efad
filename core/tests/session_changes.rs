//! Sessions that change hands and names: anonymous ones, log-in, rotation.

#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stanchion::Result;
use stanchion::encryption::{EncryptionKey, Keyring};
use stanchion::layer::{Answer, Around, Call, Fault, Faults};
use stanchion::prelude::*;
use stanchion::session::{
    CreateOptions, Device, OpenedAnonymous, OpenedSession, Resumed, Rotated, SessionView, SessionsBuilder,
};

use support::manual;

fn cart(items: &[u32]) -> Patch {
    Patch::new().value("cart", items).unwrap()
}

async fn open(sessions: &Sessions, user: &str, fields: Patch) -> OpenedSession {
    sessions.create(user, fields).await.unwrap().unwrap()
}

async fn stranger(sessions: &Sessions, fields: Patch) -> OpenedAnonymous {
    sessions.create_anonymous(fields).await.unwrap()
}

async fn bind(sessions: &Sessions, old: &SessionToken, user: &str) -> OpenedSession {
    sessions.bind(old, user, Patch::new(), &CreateOptions::new()).await.unwrap().unwrap()
}

async fn rotate(sessions: &Sessions, token: &SessionToken, patch: Patch, grace: Duration) -> SessionToken {
    match sessions.rotate(token, patch, grace).await.unwrap() {
        Rotated::Rotated { token, .. } => token,
        other => panic!("{other:?}"),
    }
}

type Hook = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Does something once, right after the first call of an operation.
#[derive(Clone)]
struct After(&'static str, Arc<Mutex<Option<Hook>>>);

impl fmt::Debug for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("After")
    }
}

impl Around for After {
    fn deadline(&self, own: Option<Duration>) -> Option<Duration> {
        own
    }

    async fn call<'a, T: Send + 'a>(
        &'a self,
        call: Call,
        mut work: impl FnMut() -> Answer<'a, T> + Send + 'a,
    ) -> Result<T> {
        let answer = work().await;
        if call.operation == self.0 {
            let hook = self.1.lock().unwrap().take();
            if let Some(hook) = hook {
                hook.await;
            }
        }
        answer
    }
}

/// Plain, and with encrypted fields, which are bound to the id.
fn both(builder: impl Fn() -> SessionsBuilder) -> [Sessions; 2] {
    let keyring = Keyring::new(EncryptionKey::new(1, &[1; 32]));
    [builder().build().unwrap(), builder().encrypt(keyring).build().unwrap()]
}

#[tokio::test]
async fn a_cart_of_nobody_is_a_users_after_the_log_in() {
    let (backend, clock) = manual();
    let stores = backend.stores();
    for (n, sessions) in both(|| stores.sessions().absolute_timeout(hours(2))).into_iter().enumerate() {
        let user = format!("u{n}");
        let fields = cart(&[1]).value("theme", "dark").unwrap().device(Device::new().label("Phone"));
        let opened = stranger(&sessions, fields).await;
        let cookie = opened.token.reveal();
        assert!(sessions.authenticate(&cookie).await.unwrap().is_none(), "nobody is no user");
        assert!(sessions.load(&opened.token).await.unwrap().is_none());
        match sessions.resume(&cookie).await.unwrap() {
            Some(Resumed::Anonymous(session)) => {
                assert_eq!(session.value::<Vec<u32>>("cart").unwrap(), Some(vec![1]));
                assert_eq!(session.id(), opened.session.id());
            }
            other => panic!("{other:?}"),
        }
        let patched = sessions.patch(&opened.token, &cart(&[1, 2])).await.unwrap();
        assert_eq!(patched, PatchOutcome::Saved { version: 2 });
        clock.advance(minutes(20));
        let fields = Patch::new().value("theme", "light").unwrap();
        let logged_in =
            sessions.bind(&opened.token, &user, fields, &CreateOptions::new()).await.unwrap().unwrap();
        assert_eq!((logged_in.session.user(), logged_in.evicted.len()), (user.as_str(), 0));
        assert_ne!(logged_in.token.reveal(), cookie);
        let view = sessions.authenticate(&logged_in.token.reveal()).await.unwrap().unwrap();
        assert_eq!(view.value::<Vec<u32>>("cart").unwrap(), Some(vec![1, 2]));
        assert_eq!(view.value::<String>("theme").unwrap().as_deref(), Some("light"));
        assert_eq!(view.record().device, Device::new().label("Phone"));
        // A life of its own.
        let record = view.record();
        assert_eq!(record.absolute_deadline, record.created_at.saturating_add(hours(2)));
        // Who planted the token before the log-in has nothing.
        assert!(sessions.resume(&cookie).await.unwrap().is_none());
        assert_eq!(sessions.touch(&opened.token).await.unwrap(), TouchOutcome::Gone);
        assert_eq!(sessions.count(&user).await.unwrap(), 1);
        match sessions.resume(&logged_in.token.reveal()).await.unwrap() {
            Some(Resumed::User(session)) => assert_eq!(session.user(), user),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_changes_while_somebody_logs_in_is_taken_over() {
    let (backend, _) = manual();
    let plain = backend.stores().sessions().build().unwrap();
    let opened = stranger(&plain, cart(&[1]).value("old", &1).unwrap().value("theme", "dark").unwrap()).await;
    let (other, token) = (plain.clone(), opened.token.clone());
    // Between the creation of the one and the end of the other.
    let hook: Hook = Box::pin(async move {
        let late = cart(&[1, 2]).remove("old").value("theme", "grey").unwrap();
        assert_eq!(other.patch(&token, &late).await.unwrap(), PatchOutcome::Saved { version: 2 });
    });
    let stores = backend.stores().layer(After("session.create", Arc::new(Mutex::new(Some(hook)))));
    let sessions = stores.sessions().build().unwrap();
    let fields = Patch::new().value("theme", "light").unwrap();
    let options = CreateOptions::new();
    let logged_in = sessions.bind(&opened.token, "u1", fields, &options).await.unwrap().unwrap();
    let view = plain.load(&logged_in.token).await.unwrap().unwrap();
    for view in [&logged_in.session, &view] {
        assert_eq!(view.value::<Vec<u32>>("cart").unwrap(), Some(vec![1, 2]));
        assert_eq!(view.value::<u32>("old").unwrap(), None);
        assert_eq!(
            view.value::<String>("theme").unwrap().as_deref(),
            Some("light"),
            "what the log-in says holds"
        );
    }
}

#[tokio::test]
async fn who_logs_in_again_is_not_counted_twice() {
    let (backend, _) = manual();
    let stores = backend.stores();
    let builders = || stores.sessions().limit(SessionLimit::Reject(1));
    for (n, sessions) in both(builders).into_iter().enumerate() {
        let user = format!("u{n}");
        let first = open(&sessions, &user, cart(&[7])).await;
        assert!(sessions.create(&user, Patch::new()).await.unwrap().is_none());
        let again = bind(&sessions, &first.token, &user).await;
        assert_eq!(again.session.value::<Vec<u32>>("cart").unwrap(), Some(vec![7]));
        assert!(sessions.load(&first.token).await.unwrap().is_none());
        assert_eq!(sessions.count(&user).await.unwrap(), 1);
        // With nothing to replace it is a log-in like any.
        assert!(
            sessions.bind(&first.token, &user, Patch::new(), &CreateOptions::new()).await.unwrap().is_none(),
            "as many as allowed"
        );
        assert!(sessions.load(&again.token).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn another_users_session_gives_way_and_leaves_nothing() {
    let (backend, _) = manual();
    let sessions = backend.stores().sessions().build().unwrap();
    let theirs = open(&sessions, "u2", cart(&[1])).await;
    let mine = bind(&sessions, &theirs.token, "u1").await;
    assert_eq!(mine.session.value::<Vec<u32>>("cart").unwrap(), None);
    assert!(sessions.load(&theirs.token).await.unwrap().is_none());
    assert_eq!((sessions.count("u1").await.unwrap(), sessions.count("u2").await.unwrap()), (1, 0));
}

/// A rotation, by another tab, between the reading of the old session and the creation of the new one.
#[tokio::test]
async fn who_logs_in_again_beside_a_rotation_has_one_session() {
    let (backend, _) = manual();
    let plain = backend.stores().sessions().build().unwrap();
    let opened = open(&plain, "u1", cart(&[1])).await;
    let (other, token) = (plain.clone(), opened.token.clone());
    let hook: Hook = Box::pin(async move {
        rotate(&other, &token, cart(&[1, 2]), Sessions::ROTATION_GRACE).await;
    });
    let stores = backend.stores().layer(After("session.load", Arc::new(Mutex::new(Some(hook)))));
    let sessions = stores.sessions().build().unwrap();
    let bound = bind(&sessions, &opened.token, "u1").await;
    let listed = plain.list("u1").await.unwrap();
    assert_eq!(listed.iter().map(|session| &session.id).collect::<Vec<_>>(), [bound.session.id()]);
    let cart: Vec<u32> = bound.session.value("cart").unwrap().unwrap();
    assert_eq!(cart, [1, 2], "what the rotation changed is kept");
}

#[tokio::test]
async fn a_step_up_ends_no_other_device() {
    let (backend, clock) = manual();
    let stores = backend.stores();
    for (n, sessions) in
        both(|| stores.sessions().limit(SessionLimit::EvictOldest(3))).into_iter().enumerate()
    {
        let user = format!("u{n}");
        let mut devices = Vec::new();
        for label in ["A", "B", "C"] {
            devices.push(open(&sessions, &user, Patch::new().device(Device::new().label(label))).await.token);
            clock.advance(seconds(1));
        }
        let deadline = sessions.load(&devices[2]).await.unwrap().unwrap().record().absolute_deadline;
        for level in 0..3 {
            clock.advance(minutes(1));
            let patch = Patch::new().value("level", &level).unwrap();
            let old = devices[2].clone();
            devices[2] = rotate(&sessions, &old, patch, Duration::ZERO).await;
            assert!(sessions.load(&old).await.unwrap().is_none(), "good for nothing at once");
        }
        let listed = sessions.list(&user).await.unwrap();
        let labels: Vec<_> = listed.iter().map(|session| session.device.label.as_deref().unwrap()).collect();
        assert_eq!(labels, ["C", "B", "A"]);
        let view = sessions.load(&devices[2]).await.unwrap().unwrap();
        assert_eq!(view.value::<u32>("level").unwrap(), Some(2));
        assert_eq!(view.record().absolute_deadline, deadline);
    }
}

#[tokio::test]
async fn the_old_token_is_good_for_the_grace() {
    let (backend, clock) = manual();
    let stores = backend.stores();
    for (n, sessions) in both(|| stores.sessions()).into_iter().enumerate() {
        let user = format!("u{n}");
        let old = open(&sessions, &user, cart(&[1])).await.token;
        let new = rotate(&sessions, &old, Patch::new(), Sessions::ROTATION_GRACE).await;
        let view = sessions.authenticate(&old.reveal()).await.unwrap().unwrap();
        assert_eq!(*view.id(), sessions.id(&new));
        // A request that began before changes something.
        let patched = sessions.patch(&old, &cart(&[1, 2])).await.unwrap();
        assert_eq!(patched, PatchOutcome::Saved { version: 3 });
        let view = sessions.load(&new).await.unwrap().unwrap();
        assert_eq!(view.value::<Vec<u32>>("cart").unwrap(), Some(vec![1, 2]));
        match sessions.rotate(&old, Patch::new(), Duration::ZERO).await.unwrap() {
            Rotated::Superseded { by } => assert_eq!(by, sessions.id(&new)),
            other => panic!("{other:?}"),
        }
        clock.advance(Sessions::ROTATION_GRACE);
        assert!(sessions.authenticate(&old.reveal()).await.unwrap().is_none());
        assert_eq!(sessions.patch(&old, &cart(&[])).await.unwrap(), PatchOutcome::Gone);
        assert_eq!(sessions.destroy(&old).await.unwrap(), DestroyOutcome::Gone);
        assert!(sessions.load(&new).await.unwrap().is_some());
        // Who logs out in a tab that has the old token still is logged out.
        let newer = rotate(&sessions, &new, Patch::new(), Sessions::ROTATION_GRACE).await;
        assert_eq!(sessions.destroy(&new).await.unwrap(), DestroyOutcome::Destroyed);
        assert!(sessions.load(&newer).await.unwrap().is_none());
        assert!(matches!(
            sessions.rotate(&newer, Patch::new(), Duration::ZERO).await.unwrap(),
            Rotated::Gone
        ));
    }
}

#[tokio::test]
async fn of_many_that_rotate_at_once_one_has_the_new_token() {
    let (backend, _) = manual();
    let stores = backend.stores();
    for sessions in both(|| stores.sessions()) {
        let old = open(&sessions, "u1", cart(&[1])).await.token;
        let racing = (0..20).map(|_| sessions.rotate(&old, Patch::new(), Sessions::ROTATION_GRACE));
        let outcomes = futures_util::future::try_join_all(racing).await.unwrap();
        let won: Vec<_> = outcomes
            .iter()
            .filter_map(|outcome| match outcome {
                Rotated::Rotated { token, .. } => Some(sessions.id(token)),
                _ => None,
            })
            .collect();
        assert_eq!(won.len(), 1);
        for outcome in outcomes {
            match outcome {
                Rotated::Rotated { .. } => {}
                Rotated::Superseded { by } => assert_eq!(by, won[0]),
                other => panic!("{other:?}"),
            }
        }
        sessions.destroy_all("u1", None).await.unwrap();
    }
}

#[tokio::test]
async fn a_session_of_nobody_is_rotated_too() {
    let (backend, _) = manual();
    let sessions = backend.stores().sessions().build().unwrap();
    let opened = stranger(&sessions, cart(&[1])).await;
    let token = rotate(&sessions, &opened.token, cart(&[2]), Duration::ZERO).await;
    assert!(sessions.resume(&opened.token.reveal()).await.unwrap().is_none());
    match sessions.resume(&token.reveal()).await.unwrap() {
        Some(Resumed::Anonymous(session)) => {
            assert_eq!(session.value::<Vec<u32>>("cart").unwrap(), Some(vec![2]));
        }
        other => panic!("{other:?}"),
    }
    let stale = Patch::new().expecting(1);
    assert!(matches!(
        sessions.rotate(&token, stale, Duration::ZERO).await.unwrap(),
        Rotated::Conflict { version: 2 }
    ));
    let error = sessions.rotate(&token, Patch::new(), minutes(6)).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::InvalidInput, Effect::NotApplied));
}

#[cfg(feature = "jwt")]
#[tokio::test]
async fn tokens_under_the_old_name_are_revoked() {
    let (backend, _) = manual();
    let stores = backend.stores().service("auth").unwrap();
    let tokens = stores.tokens().key(JwtKey::hs256("k1", &[7; 32]).unwrap()).build().unwrap();
    let sessions = stores.sessions().revoking_tokens(&tokens).build().unwrap();
    let options = CreateOptions::new();
    let issue = async |session: &SessionView| {
        let issued = sessions.issue(&tokens, session, IssueOptions::new()).await.unwrap();
        issued.issued().unwrap().token
    };
    let first = open(&sessions, "u1", Patch::new()).await;
    let of_first = issue(&first.session).await;
    let second = rotate(&sessions, &first.token, Patch::new(), Sessions::ROTATION_GRACE).await;
    assert!(matches!(tokens.verify(&of_first).await, Err(VerifyError::Revoked(_))));
    // In the grace the old name leads to the session, and gets no token of its own: nobody would revoke that.
    let id = first.session.id();
    let issued = sessions.issue_id(&tokens, "u1", id, IssueOptions::new()).await.unwrap();
    assert!(issued.issued().is_none());
    let session = sessions.authenticate(&first.token.reveal()).await.unwrap().unwrap();
    assert_eq!(*session.id(), sessions.id(&second));
    let of_second = issue(&session).await;
    assert!(tokens.verify(&of_second).await.is_ok());
    // Ending it by the old name ends what it has become, with its tokens.
    assert_eq!(sessions.destroy_id("u1", id).await.unwrap(), DestroyOutcome::Destroyed);
    assert!(matches!(tokens.verify(&of_second).await, Err(VerifyError::Revoked(_))));
    // And so does logging in in its place.
    let third = open(&sessions, "u1", Patch::new()).await;
    let of_third = issue(&third.session).await;
    let attempt = sessions.begin("u1").await.unwrap();
    match sessions.bind_for(&third.token, &attempt, Patch::new(), &options).await.unwrap() {
        OpenOutcome::Opened(fourth) => {
            assert!(matches!(tokens.verify(&of_third).await, Err(VerifyError::Revoked(_))));
            // An attempt that began before all sessions were ended ends nothing.
            let stale = sessions.begin("u1").await.unwrap();
            let other = stranger(&sessions, Patch::new()).await;
            sessions.destroy_all("u1", Some(fourth.session.id())).await.unwrap();
            let bound = sessions.bind_for(&other.token, &stale, Patch::new(), &options).await.unwrap();
            assert!(matches!(bound, OpenOutcome::Stale), "{bound:?}");
            assert!(sessions.resume(&other.token.reveal()).await.unwrap().is_some());
        }
        other => panic!("{other:?}"),
    }
}

/// It is not known whether the session was rotated: nobody has the token of what it has become, and what was issued under its old
/// name meanwhile is revoked.
#[cfg(feature = "jwt")]
#[tokio::test]
async fn a_rotation_whose_reply_is_lost_leaves_nothing() {
    let (backend, _) = manual();
    let key = || JwtKey::hs256("k1", &[7; 32]).unwrap();
    let plain = backend.stores();
    let tokens = plain.tokens().key(key()).build().unwrap();
    let issuing = plain.sessions().revoking_tokens(&tokens).build().unwrap();
    let opened = open(&issuing, "u1", Patch::new()).await;
    let issued = Arc::new(Mutex::new(None));
    let (of, by, session) = (Arc::clone(&issued), tokens.clone(), opened.session.clone());
    let hook: Hook = Box::pin(async move {
        let token = issuing.issue(&by, &session, IssueOptions::new()).await.unwrap().issued().unwrap().token;
        *of.lock().unwrap() = Some(token);
    });
    let faults = Faults::new(plain.environment());
    faults.plan("session.rotate", 1, Fault::LoseReply).unwrap();
    let stores = plain.layer(faults).layer(After("token.revoke_all", Arc::new(Mutex::new(Some(hook)))));
    let tokens = stores.tokens().key(key()).build().unwrap();
    let sessions = stores.sessions().revoking_tokens(&tokens).build().unwrap();
    let error = sessions.rotate(&opened.token, Patch::new(), Duration::ZERO).await.unwrap_err();
    assert_eq!(error.effect(), Effect::Unknown);
    let token = issued.lock().unwrap().take().expect("issued between the first revocation and the rotation");
    let verified = tokens.verify(&token).await;
    assert!(matches!(verified, Err(VerifyError::Revoked(_))), "{verified:?}");
    assert!(sessions.list("u1").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_log_in_that_can_take_over_nothing_leaves_no_session() {
    let (backend, _) = manual();
    let plain = backend.stores().sessions().build().unwrap();
    let opened = stranger(&plain, cart(&[1])).await;
    let (other, token) = (plain.clone(), opened.token.clone());
    let hook: Hook = Box::pin(async move {
        assert_eq!(other.patch(&token, &cart(&[1, 2])).await.unwrap(), PatchOutcome::Saved { version: 2 });
    });
    let faults = Faults::new(backend.stores().environment());
    faults.plan("session.patch", 1, Fault::Fail(Error::new(ErrorKind::Unavailable, "down"))).unwrap();
    let stores =
        backend.stores().layer(faults).layer(After("session.create", Arc::new(Mutex::new(Some(hook)))));
    let sessions = stores.sessions().build().unwrap();
    let error = sessions.bind(&opened.token, "u1", Patch::new(), &CreateOptions::new()).await.unwrap_err();
    assert_eq!(error.effect(), Effect::Unknown, "the cart has ended");
    assert!(plain.list("u1").await.unwrap().is_empty());
}
