//! What a token must say to be accepted, beside a right signature: times, audience, type, headers, identifiers.

#![cfg(feature = "jwt")]
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use stanchion::clock::{Clock, ManualClock};
use stanchion::prelude::*;
use stanchion::token::{Invalid, TokensBuilder};

use support::manual;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn signed(header: &Value, claims: &str) -> String {
    let message =
        format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET).unwrap();
    mac.update(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

fn header() -> Value {
    json!({ "typ": "JWT", "alg": "HS256", "kid": "k1" })
}

struct Scene {
    stores: Stores,
    clock: ManualClock,
}

impl Scene {
    fn new() -> Self {
        let (backend, clock) = manual();
        Self { stores: backend.stores().service("auth").unwrap(), clock }
    }

    fn now(&self) -> u64 {
        self.clock.wall().as_secs()
    }

    fn builder(&self) -> TokensBuilder {
        self.stores.tokens().key(JwtKey::hs256("k1", SECRET).unwrap())
    }

    /// Claims that are right, with some set to other values, or taken out where the value is `null`.
    fn claims(&self, changed: &Value) -> Value {
        let now = self.now();
        let mut claims = json!({ "iss": "auth", "sub": "u1", "jti": "j1", "iat": now, "exp": now + 900 });
        for (name, value) in changed.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    }

    async fn verify(&self, tokens: &Tokens, changed: &Value) -> Result<Claims, VerifyError> {
        tokens.verify(&signed(&header(), &self.claims(changed).to_string())).await
    }
}

/// A claim of so many seconds and tenths.
fn with_fraction(claim: &str, seconds: u64, tenths: u8) -> Value {
    serde_json::from_str(&format!(r#"{{"{claim}":{seconds}.{tenths}}}"#)).unwrap()
}

fn invalid<T: std::fmt::Debug>(outcome: Result<T, VerifyError>) -> Invalid {
    match outcome {
        Err(VerifyError::Invalid(invalid)) => invalid,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn times_in_the_future_and_times_that_are_no_numbers() {
    let scene = Scene::new();
    let (tokens, now) = (scene.builder().build().unwrap(), scene.now());
    for (changed, reason) in [
        (json!({ "nbf": now + 31 }), Invalid::NotYet("nbf")),
        (json!({ "nbf": now + 3_600 }), Invalid::NotYet("nbf")),
        (json!({ "nbf": "9999999999" }), Invalid::Malformed("nbf")),
        (json!({ "nbf": -1 }), Invalid::Malformed("nbf")),
        (json!({ "nbf": null }), Invalid::Malformed("nbf")),
        (json!({ "iat": now + 3_600, "exp": now + 4_000 }), Invalid::NotYet("iat")),
        (json!({ "iat": "now" }), Invalid::Malformed("iat")),
        (json!({ "exp": (now + 900).to_string() }), Invalid::Malformed("exp")),
        (json!({ "exp": 1e300 }), Invalid::Malformed("exp")),
        (json!({ "exp": u64::MAX }), Invalid::Malformed("exp")),
        (json!({ "exp": now + 3_601 }), Invalid::LivesTooLong),
    ] {
        let seen = invalid(scene.verify(&tokens, &changed).await);
        assert_eq!(seen, reason, "{changed}");
        assert!(seen.claim().is_some_and(|claim| changed.get(claim).is_some()), "{changed}");
    }
    // Clocks differ by as much.
    let within = json!({ "nbf": now + 30, "iat": now + 30 });
    assert_eq!(scene.verify(&tokens, &within).await.unwrap().nbf, Some(now + 30));
    let early = json!({ "nbf": now + 31 });
    let token = signed(&header(), &scene.claims(&early).to_string());
    scene.clock.advance(seconds(1));
    tokens.verify(&token).await.unwrap();
}

#[tokio::test]
async fn a_fraction_of_a_second_makes_no_token_live_longer() {
    let scene = Scene::new();
    let (tokens, now) = (scene.builder().build().unwrap(), scene.now());
    let exp = now + 600;
    let half = scene.verify(&tokens, &with_fraction("exp", exp, 5)).await.unwrap();
    assert_eq!(half.exp, exp, "ends sooner");
    let claims = format!(r#"{{"iss":"auth","sub":"u1","jti":"j1","iat":{now}.75,"exp":1.7500006e9}}"#);
    assert_eq!(exp, 1_750_000_600, "where the manual clock begins");
    let exponent = tokens.verify(&signed(&header(), &claims)).await.unwrap();
    assert_eq!((exponent.iat, exponent.exp), (now, exp), "issued sooner, and so revoked rather");
    let late = scene.verify(&tokens, &with_fraction("nbf", now + 30, 5)).await;
    assert_eq!(invalid(late), Invalid::NotYet("nbf"), "begins later");
    // To the very second, with the clocks' difference.
    let token = signed(&header(), &scene.claims(&with_fraction("exp", exp, 9)).to_string());
    scene.clock.advance(seconds(629));
    tokens.verify(&token).await.unwrap();
    scene.clock.advance(seconds(1));
    assert!(matches!(tokens.verify(&token).await, Err(VerifyError::Expired)));
}

#[tokio::test]
async fn the_skew_is_a_setting() {
    let scene = Scene::new();
    let now = scene.now();
    let strict = scene.builder().skew(seconds(0)).build().unwrap();
    assert_eq!(invalid(scene.verify(&strict, &json!({ "nbf": now + 1 })).await), Invalid::NotYet("nbf"));
    assert!(matches!(scene.verify(&strict, &json!({ "exp": now })).await, Err(VerifyError::Expired)));
    let wide = scene.builder().skew(minutes(2)).build().unwrap();
    scene.verify(&wide, &json!({ "nbf": now + 120 })).await.unwrap();
    scene.verify(&wide, &json!({ "iat": now - 200, "exp": now - 119 })).await.unwrap();
    let refused = scene.builder().skew(minutes(11)).build().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn extensions_that_are_demanded_are_known_to_nobody() {
    let scene = Scene::new();
    let tokens = scene.builder().build().unwrap();
    for (crit, also) in [
        (json!(["exp2"]), None),
        (json!(["exp2"]), Some(("exp2", json!(1)))),
        (json!(["b64"]), Some(("b64", json!(true)))),
        (json!([]), None),
        (json!("exp2"), None),
    ] {
        let mut header = header();
        header["crit"] = crit.clone();
        if let Some((name, value)) = also {
            header[name] = value;
        }
        let token = signed(&header, &scene.claims(&json!({})).to_string());
        assert_eq!(invalid(tokens.verify(&token).await), Invalid::Critical, "{crit}");
    }
}

#[tokio::test]
async fn what_no_revocation_could_name_is_invalid_and_not_unchecked() {
    let scene = Scene::new();
    let tokens = scene.builder().build().unwrap();
    let long = "x".repeat(513);
    let blanks = " ".repeat(171);
    for claim in ["sub", "jti", "sid", "client_id"] {
        for bad in ["", long.as_str(), blanks.as_str()] {
            let seen = invalid(scene.verify(&tokens, &json!({ claim: bad })).await);
            assert_eq!(seen, Invalid::Malformed(claim), "{bad:?}");
        }
        assert_eq!(invalid(scene.verify(&tokens, &json!({ claim: 7 })).await), Invalid::Malformed(claim));
        scene.verify(&tokens, &json!({ claim: "x".repeat(512) })).await.unwrap();
    }
    for epochs in [json!([1, 2, 3]), json!([0, 0, 0, -1]), json!("0"), json!(null)] {
        let seen = invalid(scene.verify(&tokens, &json!({ "epochs": epochs })).await);
        assert_eq!(seen, Invalid::Malformed("epochs"));
    }
    let mut claims = scene.claims(&json!({}));
    for claim in ["iss", "sub", "jti", "iat", "exp"] {
        let taken = claims.as_object_mut().unwrap().remove(claim).unwrap();
        let seen = invalid(tokens.verify(&signed(&header(), &claims.to_string())).await);
        assert_eq!(seen, Invalid::Missing(claim));
        claims[claim] = taken;
    }
    assert_eq!(invalid(scene.verify(&tokens, &json!({ "iss": "other" })).await), Invalid::Unexpected("iss"));
}

#[tokio::test]
async fn a_token_for_somebody_else_is_refused() {
    let scene = Scene::new();
    let unnamed = scene.builder().build().unwrap();
    let shop = scene.builder().audience("shop").build().unwrap();
    let both = scene.builder().audience("shop").audience("billing").build().unwrap();
    let any = scene.builder().any_audience().build().unwrap();
    let unexpected = Invalid::Unexpected("aud");
    for (aud, for_unnamed, for_shop, for_both) in [
        (json!("shop"), Some(unexpected), None, None),
        (json!("billing"), Some(unexpected), Some(unexpected), None),
        (json!(["billing", "shop"]), Some(unexpected), None, None),
        (json!(["other"]), Some(unexpected), Some(unexpected), Some(unexpected)),
        (json!("Shop"), Some(unexpected), Some(unexpected), Some(unexpected)),
    ] {
        let changed = json!({ "aud": aud });
        for (tokens, reason) in [(&unnamed, for_unnamed), (&shop, for_shop), (&both, for_both)] {
            match reason {
                Some(reason) => assert_eq!(invalid(scene.verify(tokens, &changed).await), reason, "{aud}"),
                None => drop(scene.verify(tokens, &changed).await.unwrap()),
            }
        }
        scene.verify(&any, &changed).await.unwrap();
    }
    assert_eq!(invalid(scene.verify(&shop, &json!({})).await), Invalid::Missing("aud"));
    for bad in [json!(7), json!([]), json!(["shop", 7]), json!(null), json!({ "shop": true })] {
        let seen = invalid(scene.verify(&shop, &json!({ "aud": bad })).await);
        assert_eq!(seen, Invalid::Malformed("aud"));
    }

    // What is issued is for whoever issued it, or for whom it says.
    let own = shop.issue("u1", IssueOptions::new()).await.unwrap();
    assert_eq!(shop.verify(&own.token).await.unwrap().aud, ["shop"]);
    let other = shop.issue("u1", IssueOptions::new().audience("billing")).await.unwrap();
    assert_eq!(invalid(shop.verify(&other.token).await), unexpected);
    assert_eq!(both.verify(&other.token).await.unwrap(), other.claims);
}

#[tokio::test]
async fn a_token_of_another_type_is_refused() {
    let scene = Scene::new();
    let usual = scene.builder().build().unwrap();
    let access = scene.builder().token_type("at+jwt").build().unwrap();
    let claims = scene.claims(&json!({})).to_string();
    for (typ, for_usual, for_access) in [
        (None, true, false),
        (Some("JWT"), true, false),
        (Some("jwt"), true, false),
        (Some("at+jwt"), true, true),
        (Some("application/at+JWT"), true, true),
        (Some("logout+jwt"), false, false),
        (Some("dpop+jwt"), false, false),
        (Some("secevent+jwt"), false, false),
        (Some(""), false, false),
        (Some("x/at+jwt"), false, false),
    ] {
        let mut header = json!({ "alg": "HS256", "kid": "k1" });
        if let Some(typ) = typ {
            header["typ"] = typ.into();
        }
        let token = signed(&header, &claims);
        for (tokens, accepted) in [(&usual, for_usual), (&access, for_access)] {
            let outcome = tokens.verify(&token).await;
            if accepted {
                outcome.unwrap();
            } else {
                assert_eq!(invalid(outcome), Invalid::Type, "{typ:?}");
            }
        }
    }
    let issued = access.issue("u1", IssueOptions::new()).await.unwrap();
    access.verify(&issued.token).await.unwrap();
    usual.verify(&issued.token).await.unwrap();
    assert!(scene.builder().token_type("").build().is_err());
    assert!(scene.builder().audience("").build().is_err());
}

#[tokio::test]
async fn no_token_is_issued_that_nobody_could_read() {
    let scene = Scene::new();
    let tokens = scene.builder().build().unwrap();
    let large = IssueOptions::new().claim("text", "x".repeat(16 * 1024));
    assert_eq!(tokens.issue("u1", large).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    let deep = IssueOptions::new().claim("deep", deep);
    assert_eq!(tokens.issue("u1", deep).await.unwrap_err().kind(), ErrorKind::Codec);
    for claim in ["aud", "nbf", "epochs", "iss"] {
        let taken = IssueOptions::new().claim(claim, 1);
        assert_eq!(tokens.issue("u1", taken).await.unwrap_err().kind(), ErrorKind::InvalidInput, "{claim}");
    }
}

#[tokio::test]
async fn of_a_name_that_is_there_twice_the_last_holds() {
    let scene = Scene::new();
    let (tokens, now) = (scene.builder().build().unwrap(), scene.now());
    let claims = |first: &str, last: &str| {
        format!(
            r#"{{"iss":"auth","sub":"{first}","jti":"j1","iat":{now},"exp":{},"sub":"{last}"}}"#,
            now + 900
        )
    };
    assert_eq!(tokens.verify(&signed(&header(), &claims("u1", "u2"))).await.unwrap().sub, "u2");
    let seen = invalid(tokens.verify(&signed(&header(), &claims("u1", ""))).await);
    assert_eq!(seen, Invalid::Malformed("sub"));
}
