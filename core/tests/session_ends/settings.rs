//! Lifetimes are given once, and services that differ notice.

use std::sync::atomic::Ordering::SeqCst;

use stanchion::key::Name;
use stanchion::prelude::*;
use stanchion::time::Timestamp;
use stanchion::token::{TokenFacts, TokensBuilder};

use crate::key;
use crate::place::{Stubborn, of_life};
use crate::support::{manual, settle};

#[tokio::test]
async fn services_that_differ_are_refused_with_both_values() {
    let (backend, clock) = manual();
    let stores = backend.stores();
    let issuer = of_life(&stores, hours(24));
    let issued = issuer.issue("u1", IssueOptions::new()).await.unwrap();
    let other = of_life(&backend.handle().stores(), hours(1));
    let calls = [
        other.revoke_user("u1").await.map(drop),
        other.revoke("j1", Timestamp::from_secs(u64::MAX / 2_000_000)).await.map(drop),
        other.issue("u1", IssueOptions::new()).await.map(drop),
        other.check(&TokenFacts::new("j1", Vec::new())).await.map(drop),
        other.begin("u1").await.map(drop),
        other.agree().await,
    ];
    for call in calls {
        let error = call.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("86400s") && error.to_string().contains("3600s"), "{error}");
    }
    match other.verify(&issued.token).await {
        Err(VerifyError::Unchecked(error)) => assert_eq!(error.kind(), ErrorKind::Config),
        other => panic!("{other:?}"),
    }
    let builder = || stores.tokens().max_life(hours(24)).key(key());
    let error = builder().issuer("me").build().unwrap().agree().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("\"app\"") && error.to_string().contains("\"me\""), "{error}");
    // Who has set nothing takes over what is recorded.
    let revoker = stores.tokens().build().unwrap();
    revoker.revoke_user("u1").await.unwrap();
    clock.advance(hours(24) + seconds(29));
    assert!(matches!(issuer.verify(&issued.token).await, Err(VerifyError::Revoked(_))));
    assert!(stores.tokens().key(key()).issuer("").build().is_err());
}

#[tokio::test]
async fn the_longest_life_is_changed_while_services_run() {
    let (backend, clock) = manual();
    let old = of_life(&backend.stores(), hours(1));
    let before = old.issue("u1", IssueOptions::new()).await.unwrap();
    let build = |was: Option<u64>| {
        let builder = backend.handle().stores().tokens().max_life(hours(24));
        let builder = match was {
            Some(was) => builder.max_life_was(hours(was)),
            None => builder,
        };
        builder.key(key()).build().unwrap()
    };
    assert_eq!(build(None).agree().await.unwrap_err().kind(), ErrorKind::Config);
    assert_eq!(build(Some(2)).agree().await.unwrap_err().kind(), ErrorKind::Config);
    let changing = build(Some(1));
    let during = changing.issue("u1", IssueOptions::new()).await.unwrap();
    assert_eq!(during.claims.exp - during.claims.iat, 3_600, "the lesser, since the old one is still there");
    assert!(changing.issue("u1", IssueOptions::new().life(hours(2))).await.is_err());
    for tokens in [&old, &changing] {
        for token in [&before, &during] {
            tokens.verify(&token.token).await.unwrap();
        }
    }
    let new = build(None);
    let after = new.issue("u1", IssueOptions::new()).await.unwrap();
    changing.verify(&after.token).await.unwrap();
    changing.revoke_user("u1").await.unwrap();
    clock.advance(hours(24) + seconds(29));
    assert!(matches!(new.verify(&after.token).await, Err(VerifyError::Revoked(_))), "kept for the greater");
}

#[tokio::test]
async fn a_token_that_lives_for_too_long_is_refused() {
    // Two deployments, so that nobody compares them.
    let (long, _) = manual();
    let (short, clock) = manual();
    let issuer = long.stores().tokens().max_life(hours(24)).key(key()).build().unwrap();
    let verifier = short.stores().tokens().max_life(minutes(15)).key(key()).build().unwrap();
    let token = |life| issuer.issue("u1", IssueOptions::new().life(life));
    verifier.verify(&token(minutes(15)).await.unwrap().token).await.unwrap();
    for life in [minutes(15) + seconds(1), hours(24)] {
        let refused = verifier.verify(&token(life).await.unwrap().token).await;
        assert!(matches!(refused, Err(VerifyError::Invalid(_))), "{refused:?}");
    }
    // Issued in the future, it would live on from there.
    let _ = clock;
    let (ahead, ahead_clock) = manual();
    ahead_clock.advance(minutes(1));
    let issuer = ahead.stores().tokens().max_life(minutes(15)).key(key()).build().unwrap();
    let refused = verifier.verify(&issuer.issue("u1", IssueOptions::new()).await.unwrap().token).await;
    assert!(matches!(refused, Err(VerifyError::Invalid(_))), "{refused:?}");
}

#[tokio::test]
async fn a_longest_life_is_set_once_and_taken_over_by_the_others() {
    let (backend, clock) = manual();
    // They come before the issuer.
    let revoker = backend.handle().stores().tokens().build().unwrap();
    let verifier = backend.handle().stores().tokens().key(key()).build().unwrap();
    revoker.revoke_user("u1").await.unwrap();
    revoker.agree().await.unwrap();
    let _ = verifier.check(&TokenFacts::new("j1", Vec::new())).await.unwrap();
    let issuer = backend.stores().tokens().max_life(hours(24)).key(key()).build().unwrap();
    let issued = issuer.issue("u1", IssueOptions::new()).await.unwrap();
    revoker.revoke_user("u1").await.unwrap();
    for later in [0, 24 * 3_600] {
        clock.advance(seconds(later));
        assert!(matches!(verifier.verify(&issued.token).await, Err(VerifyError::Revoked(_))), "{later}");
    }
    // Who issues without having set anything does it for the recorded life too.
    let second = backend.handle().stores().tokens().key(key()).build().unwrap();
    let issued = second.issue("u1", IssueOptions::new()).await.unwrap();
    assert_eq!(issued.claims.exp - issued.claims.iat, 24 * 3_600);
    // And where nothing is recorded, its hour is.
    let first = backend.stores().service("other").unwrap().tokens().key(key()).build().unwrap();
    first.issue("u1", IssueOptions::new()).await.unwrap();
    let late = backend.stores().service("other").unwrap().tokens().max_life(hours(2)).build().unwrap();
    assert_eq!(late.revoke_user("u1").await.unwrap_err().kind(), ErrorKind::Config);
    assert!(backend.stores().tokens().max_life_was(hours(1)).build().is_err());
}

#[tokio::test]
async fn a_revocation_that_an_issuer_comes_beside_is_kept_for_its_tokens() {
    let (backend, clock) = manual();
    let right = backend.stores();
    let store = Stubborn::over(right.token_store().unwrap());
    store.is_waiting.store(true, SeqCst);
    let revoker = TokensBuilder::new(store.clone(), right.environment().clone(), Name::new("app").unwrap());
    let revoker = revoker.build().unwrap();
    let revoking = tokio::spawn(async move { revoker.revoke_user("u1").await });
    settle().await;
    // Its revocation is under way, by the default of an hour.
    let issuer = right.tokens().max_life(hours(24)).key(key()).build().unwrap();
    let issued = issuer.issue("u1", IssueOptions::new()).await.unwrap();
    store.is_waiting.store(false, SeqCst);
    revoking.await.unwrap().unwrap();
    clock.advance(hours(24) + seconds(29));
    assert!(matches!(issuer.verify(&issued.token).await, Err(VerifyError::Revoked(_))));
}
