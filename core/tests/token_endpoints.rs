//! What the endpoints of an authorization server answer: introspection (RFC 7662) and revocation (RFC 7009).

#![cfg(feature = "jwt")]
#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::sync::Arc;

use serde_json::{Value, json};
use stanchion::clock::ManualClock;
use stanchion::environment::Environment;
use stanchion::layer::{FaultRates, Faults};
use stanchion::prelude::*;
use stanchion::token::{RefreshPolicy, Refreshed, Revocation};
use stanchion_memory::{MemoryBackend, MemoryConfig};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn stores() -> (Stores, ManualClock) {
    let clock = ManualClock::new();
    let environment = Environment::system().clock(Arc::new(clock.clone()));
    let backend = MemoryBackend::with(MemoryConfig::new().environment(environment));
    (backend.stores().service("auth").unwrap(), clock)
}

fn tokens(stores: &Stores) -> Tokens {
    let key = JwtKey::hs256("k1", SECRET).unwrap();
    stores.tokens().key(key).refreshing(RefreshPolicy::new()).build().unwrap()
}

async fn introspected(tokens: &Tokens, token: &str) -> Value {
    serde_json::to_value(tokens.introspect(token).await.unwrap()).unwrap()
}

#[tokio::test]
async fn a_token_that_holds_is_described_without_what_concerns_nobody() {
    let (stores, _clock) = stores();
    let tokens = tokens(&stores);
    let options = IssueOptions::new().client("web").claim("scope", "read write").claim("active", false);
    let issued = tokens.issue("u1", options.claim("token_type", "mac")).await.unwrap();
    let described = introspected(&tokens, &issued.token).await;
    let claims = &issued.claims;
    assert_eq!(
        described,
        json!({
            "active": true, "token_type": "Bearer", "scope": "read write", "client_id": "web", "sub": "u1",
            "iss": "auth", "jti": claims.jti, "iat": claims.iat, "exp": claims.exp,
        })
    );
    assert!(tokens.introspect(&issued.token).await.unwrap().is_active());
}

#[tokio::test]
async fn of_what_does_not_hold_nothing_is_said_but_that() {
    let (stores, clock) = stores();
    let tokens = tokens(&stores);
    let inactive = json!({"active": false});
    let revoked = tokens.issue("u1", IssueOptions::new()).await.unwrap();
    tokens.revoke(&revoked.claims.jti, revoked.claims.expires_at()).await.unwrap();
    let pair = tokens.issue_pair("u1", IssueOptions::new()).await.unwrap();
    for text in [revoked.token.as_str(), "", "x.y.z", &pair.refresh.reveal()] {
        assert_eq!(introspected(&tokens, text).await, inactive, "{text:?}");
    }
    assert_eq!(introspected(&tokens, &pair.access.token).await["active"], true);
    clock.advance(hours(2));
    assert_eq!(introspected(&tokens, &pair.access.token).await, inactive);
}

#[tokio::test]
async fn a_token_that_can_not_be_checked_is_neither_inactive_nor_revoked() {
    let (stores, _clock) = stores();
    let issued = tokens(&stores).issue("u1", IssueOptions::new()).await.unwrap();
    let faults = Faults::seeded(stores.environment(), 1);
    faults.rate("token.check", FaultRates::new().not_done(1.0).unwrap()).unwrap();
    let away = tokens(&stores.layer(faults));
    away.introspect(&issued.token).await.unwrap_err();
    away.revoke_presented(&issued.token, None).await.unwrap_err();
}

#[tokio::test]
async fn an_access_token_is_revoked_once_by_its_client_alone() {
    let (stores, _clock) = stores();
    let tokens = tokens(&stores);
    let issued = tokens.issue("u1", IssueOptions::new().client("web")).await.unwrap();
    let other = tokens.revoke_presented(&issued.token, Some("app")).await.unwrap();
    assert!(matches!(other, Revocation::OtherClient), "{other:?}");
    tokens.verify(&issued.token).await.unwrap();
    let revoked = tokens.revoke_presented(&issued.token, Some("web")).await.unwrap();
    assert!(matches!(&revoked, Revocation::Access(claims) if claims.jti == issued.claims.jti), "{revoked:?}");
    tokens.verify(&issued.token).await.unwrap_err();
    let again = tokens.revoke_presented(&issued.token, Some("web")).await.unwrap();
    assert!(matches!(again, Revocation::Nothing), "{again:?}");
}

#[tokio::test]
async fn a_refresh_token_ends_its_family_and_the_access_tokens_of_it() {
    let (stores, _clock) = stores();
    let tokens = tokens(&stores);
    let pair = tokens.issue_pair("u1", IssueOptions::new()).await.unwrap();
    let beside = tokens.issue_pair("u1", IssueOptions::new()).await.unwrap();
    let refresh = pair.refresh.reveal();
    let ended = tokens.revoke_presented(&refresh, None).await.unwrap();
    assert!(matches!(&ended, Revocation::Refresh(ended) if ended.user == "u1"), "{ended:?}");
    assert!(matches!(tokens.refresh(&refresh).await.unwrap(), Refreshed::Gone));
    tokens.verify(&pair.access.token).await.unwrap_err();
    tokens.verify(&beside.access.token).await.unwrap();
    for text in [refresh.as_str(), "", "no token", &"A".repeat(64)] {
        let nothing = tokens.revoke_presented(text, None).await.unwrap();
        assert!(matches!(nothing, Revocation::Nothing), "{text:?}: {nothing:?}");
    }
}

/// Whomever a token is for: the endpoints are its issuer's.
#[tokio::test]
async fn the_issuer_answers_for_tokens_that_are_for_others() {
    let (stores, _clock) = stores();
    let tokens = tokens(&stores);
    let issued = tokens.issue("u1", IssueOptions::new().audience("orders")).await.unwrap();
    tokens.verify(&issued.token).await.unwrap_err();
    assert_eq!(introspected(&tokens, &issued.token).await["aud"], "orders");
    let revoked = tokens.revoke_presented(&issued.token, None).await.unwrap();
    assert!(matches!(revoked, Revocation::Access(_)), "{revoked:?}");
    assert_eq!(introspected(&tokens, &issued.token).await, json!({"active": false}));
}

#[tokio::test]
async fn a_family_that_ended_without_its_access_tokens_is_an_error() {
    let (stores, _clock) = stores();
    let faults = Faults::seeded(stores.environment(), 1);
    let tokens = tokens(&stores.layer(faults.clone()));
    let pair = tokens.issue_pair("u1", IssueOptions::new()).await.unwrap();
    faults.rate("token.revoke_all", FaultRates::new().not_done(1.0).unwrap()).unwrap();
    tokens.revoke_presented(&pair.refresh.reveal(), None).await.unwrap_err();
}
