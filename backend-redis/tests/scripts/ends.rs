//! What ending sessions leaves, and what is known after the server has lost its revocations.

use std::time::Duration;

use redis::Value;
use stanchion::session::{DestroyOutcome, Patch, SessionToken};
use stanchion::stores::Stores;
use stanchion::token::{Epoch, Mark, Reason, Scope, TokenFacts, Tokens, Verdict};

use crate::place::{Place, service};

/// The place's tokens, as its service has them.
fn tokens(stores: &Stores, floor: bool) -> Tokens {
    let builder = stores.service(service().as_str()).unwrap().tokens().max_life(Duration::from_hours(24));
    if floor { builder.floor() } else { builder }.build().unwrap()
}

pub(crate) async fn strangers_write_nothing(mut place: Place) {
    let tokens = tokens(&place.stores, false);
    tokens.agree().await.unwrap();
    let sessions = place.stores.sessions().revoking_tokens(&tokens).build().unwrap();
    let opened = sessions.create("u1", Patch::new()).await.unwrap().unwrap();
    let before = place.everything().await;
    let environment = place.stores.environment().clone();
    for n in 0..1_000 {
        let made_up = SessionToken::generate(&format!("u{n}"), &*environment.random).unwrap();
        assert_eq!(sessions.destroy(&made_up).await.unwrap(), DestroyOutcome::Gone);
        let id = sessions.id(&made_up);
        assert_eq!(sessions.destroy_id(&format!("u{n}"), &id).await.unwrap(), DestroyOutcome::Gone);
    }
    assert_eq!(sessions.destroy_id("u2", opened.session.id()).await.unwrap(), DestroyOutcome::Gone);
    assert_eq!(place.everything().await, before);
    assert_eq!(sessions.destroy(&opened.token).await.unwrap(), DestroyOutcome::Destroyed);
    assert_ne!(place.everything().await, before);
}

/// A token with the epochs that the store has now.
async fn token(stores: &Stores) -> TokenFacts {
    let scopes = [Scope::Service, Scope::User("u1".to_owned())];
    let epochs = stores.token_store().unwrap().epochs(&service(), &scopes).await.unwrap();
    let marks = scopes.into_iter().zip(epochs.into_iter().map(Mark::Epoch)).collect();
    TokenFacts::new("j1", marks)
}

pub(crate) async fn a_floor_shows_that_everything_was_lost(mut place: Place) {
    let stores = place.stores.clone();
    let (plain, floored) = (tokens(&stores, false), tokens(&stores, true));
    // Sets the floor.
    let attempt = floored.begin("u1").await.unwrap();
    assert_eq!(attempt.user(), "u1");
    let before = token(&stores).await;
    for tokens in [&plain, &floored] {
        assert_eq!(tokens.check(&before).await.unwrap(), Verdict::Active);
    }
    let by_user = Verdict::Revoked(Reason::Scope(Scope::User("u1".to_owned())));
    let epoch = floored.revoke_user("u1").await.unwrap();
    assert!(epoch > Epoch::NEVER);
    assert_eq!(plain.check(&before).await.unwrap(), by_user);

    // One key is lost: nobody can tell.
    let scope = place.key("auth:token:user:u1");
    place.run::<()>("DEL", &[&scope]).await;
    for tokens in [&plain, &floored] {
        assert_eq!(tokens.check(&before).await.unwrap(), Verdict::Active, "as the contract says");
    }

    // All are.
    floored.revoke_user("u1").await.unwrap();
    for key in place.keys().await {
        let _: Value = place.run("DEL", &[&key]).await;
    }
    assert_eq!(plain.check(&before).await.unwrap(), Verdict::Active, "as the contract says, without a floor");
    assert_eq!(floored.check(&before).await.unwrap(), Verdict::Revoked(Reason::Lost));
    let by_service = Verdict::Revoked(Reason::Scope(Scope::Service));
    assert_eq!(floored.check(&before).await.unwrap(), by_service);
    assert_eq!(plain.check(&before).await.unwrap(), by_service);
    let after = token(&stores).await;
    assert_eq!(floored.check(&after).await.unwrap(), Verdict::Active);
    let floor = place.key("auth:token:service");
    assert_eq!(place.run::<i64>("PTTL", &[&floor]).await, -1);
    floored.revoke_scope(&Scope::Service).await.unwrap();
    assert_eq!(place.run::<i64>("PTTL", &[&floor]).await, -1);
}
