//! The form of tokens, bit by bit, and foreign tokens that are refused although their signature is right.

#![cfg(feature = "jwt")]
#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use stanchion::clock::ManualClock;
use stanchion::environment::Environment;
use stanchion::prelude::*;
use stanchion::random::Random;
use stanchion_memory::{MemoryBackend, MemoryConfig};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// A pair of this test's own: it guards nothing.
const PRIVATE: &[u8] = b"-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIH676b9uXkK0GE+SqtxB5NgjxOCFPHiY8E6oGzKkq5Gs
-----END PRIVATE KEY-----
";
const PUBLIC: &[u8] = b"-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAlvZkh1B2JZakN0wZGT04hv1YICwXg04XzOGqYa5qR0I=
-----END PUBLIC KEY-----
";

/// The same token ids always, however many are drawn.
#[derive(Debug)]
struct Sevens;

impl Random for Sevens {
    fn fill(&self, buffer: &mut [u8]) -> stanchion::Result<()> {
        buffer.fill(7);
        Ok(())
    }
}

fn auth_service() -> Stores {
    let clock = Arc::new(ManualClock::new());
    let environment = Environment::system().clock(clock).random(Arc::new(Sevens));
    let backend = MemoryBackend::with(MemoryConfig::new().environment(environment));
    backend.stores().service("auth").unwrap()
}

/// A token with this header and these claims, with a signature that is right.
fn signed(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET).unwrap();
    mac.update(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

/// What `issue` writes is what it wrote before: these tokens are in the hands of clients.
#[tokio::test]
async fn golden_tokens() {
    let stores = auth_service();
    let options = || IssueOptions::new().client("web").claim("role", "editor");

    let key = JwtKey::hs256("k1", SECRET).unwrap();
    let tokens = stores.tokens().key(key).build().unwrap();
    let token = tokens.issue("u1", options()).await.unwrap().token;
    assert_eq!(token, include_str!("golden/token-hs256.txt").trim_end());
    tokens.verify(&token).await.unwrap();

    let key = JwtKey::ed25519("k2", PRIVATE, PUBLIC).unwrap();
    let tokens = stores.tokens().key(key).build().unwrap();
    let token = tokens.issue("u1", options()).await.unwrap().token;
    assert_eq!(token, include_str!("golden/token-ed25519.txt").trim_end());
    tokens.verify(&token).await.unwrap();
}

#[tokio::test]
async fn a_right_signature_is_not_enough() {
    let stores = auth_service();
    let tokens = stores.tokens().key(JwtKey::hs256("k1", SECRET).unwrap()).build().unwrap();
    let header = json!({ "typ": "JWT", "alg": "HS256", "kid": "k1" });
    let claims = json!({
        "iss": "auth", "sub": "u1", "jti": "j1", "iat": 1_750_000_000, "exp": 1_750_000_900,
    });
    let with = |value: &Value, name: &str, to: Value| {
        let mut value = value.clone();
        value[name] = to;
        value
    };
    tokens.verify(&signed(&header, &claims)).await.unwrap();

    let refused = [
        // Extensions that whoever signed declares to be critical, and that nobody here knows.
        signed(&with(&header, "crit", json!(["policy"])), &claims),
        signed(&with(&header, "crit", json!([])), &claims),
        // Claims of another type than theirs.
        signed(&header, &with(&claims, "sub", json!(7))),
        signed(&header, &with(&claims, "sub", json!(["u1"]))),
        signed(&header, &with(&claims, "iss", json!(["auth"]))),
        signed(&header, &with(&claims, "iss", json!({ "auth": true }))),
        signed(&header, &with(&claims, "exp", json!("1750000900"))),
        signed(&header, &with(&claims, "jti", Value::Null)),
        // Another algorithm than the key's, and none.
        signed(&with(&header, "alg", json!("HS512")), &claims),
        signed(&with(&header, "alg", json!("none")), &claims),
    ];
    for (index, token) in refused.iter().enumerate() {
        let outcome = tokens.verify(token).await;
        assert!(matches!(outcome, Err(VerifyError::Invalid(_))), "{index}: {outcome:?}");
    }
}
