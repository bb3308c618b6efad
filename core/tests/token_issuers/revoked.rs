//! Revocation of tokens that something else has issued.

use serde_json::{Value, json};
use stanchion::prelude::*;
use stanchion::token::{Invalid, Issuer, Jwks, JwtAlgorithm, Reason};

use super::keys::{ISSUER, NOW, claims, invalid, pair};
use super::support::manual;

fn with(changed: &Value) -> Value {
    let mut claims = claims();
    for (name, value) in changed.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

#[tokio::test]
async fn tokens_of_another_issuer_are_revoked_as_ones_own_are() {
    let pair = pair(JwtAlgorithm::ES256);
    let said = json!({ "sid": "s1", "azp": "web" });
    for revoked in ["token", "user", "session", "client", "service"] {
        let (backend, clock) = manual();
        let issuer = Issuer::with_keys(ISSUER, Jwks::of([pair.verifying("k1")])).audience("shop");
        let shop = backend.stores().service("shop").unwrap().tokens().accepting(issuer).build().unwrap();
        let token = pair.sign(Some("k1"), &with(&said));
        let claims = shop.verify(&token).await.unwrap();
        assert_eq!((claims.sid.as_deref(), claims.client_id.as_deref()), (Some("s1"), Some("web")));
        assert!(claims.jti.starts_with("sha256."), "{}", claims.jti);
        // After its second, and the clocks' difference.
        clock.advance(seconds(60));
        match revoked {
            "token" => drop(shop.revoke(&claims.jti, claims.expires_at()).await.unwrap()),
            "user" => drop(shop.revoke_user("u1").await.unwrap()),
            "session" => drop(shop.revoke_scope(&Scope::Session("s1".to_owned())).await.unwrap()),
            "client" => drop(shop.revoke_scope(&Scope::Client("web".to_owned())).await.unwrap()),
            _ => drop(shop.revoke_scope(&Scope::Service).await.unwrap()),
        }
        let outcome = shop.verify(&token).await;
        match (revoked, &outcome) {
            ("token", Err(VerifyError::Revoked(Reason::Token))) => {}
            (_, Err(VerifyError::Revoked(Reason::Scope(_)))) if revoked != "token" => {}
            _ => panic!("{revoked}: {outcome:?}"),
        }
        // Another of the same user and a moment later is another.
        clock.advance(seconds(60));
        let later = pair.sign(Some("k1"), &with(&json!({ "iat": NOW + 120, "exp": NOW + 1_000 })));
        shop.verify(&later).await.unwrap();
    }
}

#[tokio::test]
async fn another_issuer_can_not_say_what_only_the_service_knows() {
    let pair = pair(JwtAlgorithm::ES256);
    let (backend, clock) = manual();
    let stores = backend.stores().service("shop").unwrap();
    let issuer = Issuer::with_keys(ISSUER, Jwks::of([pair.verifying("k1")])).audience("shop");
    let key = JwtKey::hs256("k1", &[7; 32]).unwrap();
    let shop = stores.tokens().key(key).accepting(issuer).max_life(hours(1)).build().unwrap();
    // Epochs of its own, which are ahead of every revocation.
    let ahead = u64::MAX / 2;
    let token = pair.sign(Some("k1"), &with(&json!({ "epochs": [ahead, ahead, ahead, ahead] })));
    let claims = shop.verify(&token).await.unwrap();
    assert_eq!((claims.epochs, claims.extra["epochs"][0].as_u64()), (None, Some(ahead)));
    clock.advance(seconds(60));
    shop.revoke_user("u1").await.unwrap();
    assert!(matches!(shop.verify(&token).await, Err(VerifyError::Revoked(_))));

    // Its key is good for its own tokens, and for nobody else's.
    let as_shop = pair.sign(Some("k1"), &with(&json!({ "iss": "shop", "jti": "j1" })));
    assert_eq!(invalid(shop.verify(&as_shop).await), Invalid::Algorithm);
    let as_other = pair.sign(Some("k1"), &with(&json!({ "iss": "https://other.example" })));
    assert_eq!(invalid(shop.verify(&as_other).await), Invalid::Unexpected("iss"));
    // A life that no revocation lasts for.
    let long = pair.sign(Some("k1"), &with(&json!({ "exp": NOW + 3_601 })));
    assert_eq!(invalid(shop.verify(&long).await), Invalid::LivesTooLong);
    for (changed, reason) in [
        (json!({ "aud": "billing" }), Invalid::Unexpected("aud")),
        (json!({ "azp": "" }), Invalid::Malformed("azp")),
        (json!({ "jti": "" }), Invalid::Malformed("jti")),
        (json!({ "sub": "x".repeat(513) }), Invalid::Malformed("sub")),
    ] {
        assert_eq!(invalid(shop.verify(&pair.sign(Some("k1"), &with(&changed))).await), reason);
    }
    for claim in ["aud", "sub", "iat", "exp", "iss"] {
        let mut claims = with(&json!({}));
        claims.as_object_mut().unwrap().remove(claim);
        assert_eq!(invalid(shop.verify(&pair.sign(Some("k1"), &claims)).await), Invalid::Missing(claim));
    }
}
