//! Tokens within a session, and who may end it.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use stanchion::prelude::*;

use crate::place::{of_life, place};

#[tokio::test]
async fn nothing_is_issued_within_a_session_that_has_ended() {
    let place = place(10);
    let opened = place.open().await;
    let session = place.sessions.authenticate(&opened.token.reveal()).await.unwrap().unwrap();
    place.sessions.destroy(&opened.token).await.unwrap();
    let issued = place.sessions.issue(&place.tokens, &session, IssueOptions::new()).await.unwrap();
    assert!(matches!(issued, IssueOutcome::Gone), "{issued:?}");
}

#[tokio::test]
async fn a_token_lives_no_longer_than_its_session_would() {
    let place = place(10);
    let sessions = place.stores.sessions().idle_timeout(minutes(2)).absolute_timeout(minutes(3));
    let sessions = sessions.revoking_tokens(&place.tokens).build().unwrap();
    let opened = sessions.create("u1", Patch::new()).await.unwrap().unwrap();
    let life = async || {
        let issued = sessions.issue(&place.tokens, &opened.session, IssueOptions::new()).await.unwrap();
        let claims = issued.issued().unwrap().claims;
        claims.exp - claims.iat
    };
    // Two minutes, and a tenth of that, in which uses are not recorded.
    assert_eq!(life().await, 132);
    place.clock.advance(Duration::from_millis(500));
    assert_eq!(life().await, 132, "rounded up");
    place.clock.advance(Duration::from_millis(59_500));
    assert_eq!(life().await, 72);
    let _ = sessions.touch(&opened.token).await.unwrap();
    assert_eq!(life().await, 120, "issuing is no use, and touching is");
    place.clock.advance(minutes(1) + Duration::from_millis(59_999));
    assert_eq!(life().await, 1, "a second at least");
}

#[tokio::test]
async fn a_session_of_another_user_gives_no_token_and_is_not_ended() {
    let place = place(10);
    let opened = place.open().await;
    let id = opened.session.id();
    let (sessions, tokens) = (&place.sessions, &place.tokens);
    let refused = sessions.issue_id(tokens, "u2", id, IssueOptions::new()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    // Also of a user whose id falls into the same bucket.
    let bucket = stanchion::key::bucket_of("u1");
    let neighbour = (0..10_000_000)
        .map(|n| format!("n{n}"))
        .find(|user| stanchion::key::bucket_of(user) == bucket)
        .unwrap();
    let refused = sessions.issue_id(tokens, &neighbour, id, IssueOptions::new()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    for stranger in ["u2", &neighbour] {
        assert_eq!(sessions.destroy_id(stranger, id).await.unwrap(), DestroyOutcome::Gone);
    }
    assert_eq!(place.store.revocations.load(SeqCst), 0);
    assert!(sessions.load(&opened.token).await.unwrap().is_some());
    assert_eq!(sessions.destroy_id("", id).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(sessions.destroy_id("u1", id).await.unwrap(), DestroyOutcome::Destroyed);
    assert_eq!(sessions.destroy_id("u1", id).await.unwrap(), DestroyOutcome::Gone);
}

#[tokio::test]
async fn ending_what_is_not_there_writes_nothing() {
    let place = place(10);
    for _ in 0..1_000 {
        let made_up = SessionToken::generate("u1", &*place.stores.environment().random).unwrap();
        assert_eq!(place.sessions.destroy(&made_up).await.unwrap(), DestroyOutcome::Gone);
    }
    assert_eq!(place.store.revocations.load(SeqCst), 0);
}

#[tokio::test]
async fn tokens_that_the_sessions_do_not_revoke_are_not_issued_within_them() {
    let place = place(10);
    let opened = place.open().await;
    let other = of_life(&place.stores.service("other").unwrap(), minutes(15));
    let plain = place.stores.sessions().build().unwrap();
    for (sessions, tokens) in [(&place.sessions, &other), (&plain, &place.tokens)] {
        let refused = sessions.issue(tokens, &opened.session, IssueOptions::new()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Config);
    }
    assert_eq!(plain.begin("u1").await.unwrap_err().kind(), ErrorKind::Config);
    // The same tokens, built once more.
    let same = of_life(&place.stores, minutes(15));
    assert!(place.sessions.issue(&same, &opened.session, IssueOptions::new()).await.is_ok());
}

#[tokio::test]
async fn sessions_of_one_service_revoke_the_tokens_of_another() {
    let place = place(10);
    let tokens = of_life(&place.stores.service("auth").unwrap(), hours(1));
    let sessions = place.stores.service("web").unwrap().sessions().revoking_tokens(&tokens).build().unwrap();
    let opened = sessions.create("u1", Patch::new()).await.unwrap().unwrap();
    let issued =
        sessions.issue(&tokens, &opened.session, IssueOptions::new()).await.unwrap().issued().unwrap();
    tokens.verify(&issued.token).await.unwrap();
    sessions.destroy(&opened.token).await.unwrap();
    assert!(matches!(tokens.verify(&issued.token).await, Err(VerifyError::Revoked(_))));
}
