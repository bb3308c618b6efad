//! Revocations that fail, or that nobody waits for, are made all the same.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use stanchion::prelude::*;
use stanchion::session::Unrevoked;

use crate::place::{place, scope};
use crate::support::settle;

#[tokio::test]
async fn evicted_sessions_lose_their_tokens_also_if_nobody_waits() {
    let place = place(1);
    let opened = place.open().await;
    let issued = place.issue(&opened).await;
    place.store.is_waiting.store(true, SeqCst);
    let sessions = place.sessions.clone();
    let second = tokio::spawn(async move { sessions.create("u1", Patch::new()).await });
    settle().await;
    second.abort();
    assert!(!place.is_revoked(&issued).await, "the revocation is under way");
    place.store.is_waiting.store(false, SeqCst);
    settle().await;
    assert!(place.is_revoked(&issued).await);
    // Nobody has the token of the second session.
    assert!(place.sessions.list("u1").await.unwrap().is_empty());
}

#[tokio::test]
async fn what_could_not_be_revoked_is_in_the_error_and_revoked_later() {
    let place = place(1);
    let opened = place.open().await;
    let issued = place.issue(&opened).await;
    // Once is not noticed; this is the caller's two tries, and two of the task's.
    place.store.failing.store(4, SeqCst);
    let error = place.sessions.create("u1", Patch::new()).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::Unknown));
    let unrevoked = Unrevoked::of(&error).unwrap();
    assert_eq!(unrevoked.scopes, [scope(&opened)]);
    assert!(unrevoked.is_retried);
    assert!(error.to_string().contains(&opened.session.id().to_string()), "{error}");
    assert!(place.sessions.list("u1").await.unwrap().is_empty());
    assert!(!place.is_revoked(&issued).await);
    settle().await;
    for pause in [100, 200] {
        place.clock.advance(Duration::from_millis(pause));
        settle().await;
        assert!(!place.is_revoked(&issued).await);
    }
    place.clock.advance(Duration::from_millis(400));
    settle().await;
    assert!(place.is_revoked(&issued).await);
}

#[tokio::test]
async fn a_revocation_that_fails_once_is_made_again_at_once() {
    let place = place(1);
    let opened = place.open().await;
    let issued = place.issue(&opened).await;
    place.store.failing.store(1, SeqCst);
    assert!(place.sessions.create("u1", Patch::new()).await.unwrap().is_some());
    assert!(place.is_revoked(&issued).await);
}

#[tokio::test]
async fn ending_again_revokes_what_was_left() {
    let place = place(10);
    let opened = place.open().await;
    let issued = place.issue(&opened).await;
    // Before the end it works, and after it fails.
    place.store.sparing.store(1, SeqCst);
    place.store.failing.store(2, SeqCst);
    let error = place.sessions.destroy_all("u1", None).await.unwrap_err();
    assert_eq!(Unrevoked::of(&error).unwrap().scopes, [scope(&opened)]);
    let before = place.store.revocations.load(SeqCst);
    assert!(place.sessions.destroy_all("u1", None).await.unwrap().is_empty());
    let asked = place.store.revocations.load(SeqCst) - before;
    assert_eq!(asked, 2, "the session's tokens again, and not the log-ins alone");
    assert!(place.is_revoked(&issued).await);
    let before = place.store.revocations.load(SeqCst);
    assert_eq!(place.sessions.destroy(&opened.token).await.unwrap(), DestroyOutcome::Gone);
    assert_eq!(place.store.revocations.load(SeqCst), before, "nothing is owed any more");
    // By the session's token, the same.
    let opened = place.open().await;
    place.store.sparing.store(1, SeqCst);
    place.store.failing.store(3, SeqCst);
    place.sessions.destroy(&opened.token).await.unwrap_err();
    assert_eq!(place.sessions.destroy(&opened.token).await.unwrap(), DestroyOutcome::Gone);
    assert_eq!(place.store.failing.load(SeqCst), 0, "tried again, and twice");
}

#[tokio::test]
async fn what_is_owed_is_tried_once_more_when_the_stores_close() {
    let place = place(1);
    let opened = place.open().await;
    let issued = place.issue(&opened).await;
    place.store.failing.store(2, SeqCst);
    place.sessions.create("u1", Patch::new()).await.unwrap_err();
    assert!(!place.is_revoked(&issued).await);
    settle().await;
    place.stores.close(seconds(1)).await.unwrap();
    assert_eq!(place.store.failing.load(SeqCst), 0);
    assert_eq!(place.store.revocations.load(SeqCst), 3, "two tries, and the last");
}
