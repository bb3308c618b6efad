//! The algorithm belongs to the key.

use serde_json::{Value, json};
use stanchion::prelude::*;
use stanchion::token::{Invalid, Issuer, Jwks, JwtAlgorithm};

use super::keys::{ISSUER, SHORT_RSA, claims, invalid, pair, pairs};
use super::support::manual;

fn accepting(keys: Jwks) -> Tokens {
    let (backend, _) = manual();
    let issuer = Issuer::with_keys(ISSUER, keys).audience("shop");
    backend.stores().service("shop").unwrap().tokens().accepting(issuer).build().unwrap()
}

/// A key set as others would write it.
fn read_back(key: JwtKey) -> Jwks {
    let set = Jwks::parse(&Jwks::of([key]).to_json()).unwrap();
    assert_eq!((set.len(), set.skipped()), (1, 0));
    set
}

#[tokio::test]
async fn every_algorithm_is_verified_by_its_key_and_by_no_other() {
    for pair in pairs() {
        let name = pair.algorithm;
        let tokens = accepting(read_back(pair.verifying("k1")));
        let token = pair.sign(Some("k1"), &claims());
        let said = tokens.verify(&token).await.unwrap_or_else(|e| panic!("{name}: {e:?}"));
        assert_eq!((said.iss.as_str(), said.sub.as_str(), said.epochs), (ISSUER, "u1", None));
        tokens.verify(&pair.sign(None, &claims())).await.unwrap();
        assert_eq!(invalid(tokens.verify(&pair.sign(Some("k2"), &claims())).await), Invalid::UnknownKey);

        // The same key under another algorithm's name, and another algorithm's key under its name.
        for other in pairs().into_iter().filter(|other| other.algorithm != name) {
            let forged = other.sign(Some("k1"), &claims());
            assert_eq!(
                invalid(tokens.verify(&forged).await),
                Invalid::Algorithm,
                "{} for {name}",
                other.algorithm
            );
        }
        // The public key as a secret, as everybody has it.
        let forged = pair_of_secret(pair.public_pem);
        assert_eq!(invalid(tokens.verify(&forged).await), Invalid::Algorithm, "{name}");

        let mut parts: Vec<_> = token.split('.').map(str::to_owned).collect();
        let first = if parts[2].starts_with('A') { "B" } else { "A" };
        parts[2].replace_range(..1, first);
        assert_eq!(invalid(tokens.verify(&parts.join(".")).await), Invalid::Signature, "{name}");
    }
}

#[expect(clippy::disallowed_methods, reason = "these tests have one cryptography")]
fn pair_of_secret(secret: &[u8]) -> String {
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    header.kid = Some("k1".to_owned());
    let key = jsonwebtoken::EncodingKey::from_secret(secret).unwrap();
    jsonwebtoken::encode(&header, &claims(), &key).unwrap()
}

#[tokio::test]
async fn what_one_service_issues_another_verifies_by_its_published_keys() {
    let (backend, _) = manual();
    let stores = backend.stores().service("auth").unwrap();
    for algorithm in [JwtAlgorithm::ES256, JwtAlgorithm::ES384, JwtAlgorithm::EdDSA] {
        let pair = pair(algorithm);
        let key = JwtKey::signing("k1", algorithm, pair.private_pem).unwrap();
        let secret = JwtKey::hs256("k2", &[7; 32]).unwrap();
        let auth = stores.tokens().issuer(ISSUER).audience("shop").key(key).key(secret).build().unwrap();
        assert_eq!(auth.jwks().len(), 1, "a secret is not published");
        assert!(!auth.jwks().to_json().contains("\"d\""));
        let shop = accepting(Jwks::parse(&auth.jwks().to_json()).unwrap());
        let issued = auth.issue("u1", IssueOptions::new()).await.unwrap();
        assert_eq!(shop.verify(&issued.token).await.unwrap().sub, "u1");
        auth.verify(&issued.token).await.unwrap();
    }
}

#[test]
fn keys_that_are_none_are_refused() {
    for pair in pairs() {
        for other in pairs() {
            let same = pair.public_pem == other.public_pem;
            let key = JwtKey::verifying("k", pair.algorithm, other.public_pem);
            assert_eq!(key.is_ok(), same, "{} with the key of {}", pair.algorithm, other.algorithm);
            let key = JwtKey::signing("k", pair.algorithm, other.private_pem);
            let signs = same && !pair.algorithm.name().starts_with(['R', 'P']);
            assert_eq!(key.is_ok(), signs, "{} with the key of {}", pair.algorithm, other.algorithm);
        }
        assert!(JwtKey::hmac("k", pair.algorithm, &[7; 64]).is_err());
    }
    assert!(JwtKey::verifying("k", JwtAlgorithm::RS256, SHORT_RSA).is_err(), "1,024 bits");
    assert!(JwtKey::hmac("k", JwtAlgorithm::HS384, &[7; 47]).is_err());
    assert!(JwtKey::hmac("k", JwtAlgorithm::HS512, &[7; 64]).is_ok());
    let (one, other) = (pair(JwtAlgorithm::EdDSA), include_bytes!("../token_keys/es256.pub.pem"));
    assert!(JwtKey::ed25519("k", one.private_pem, other).is_err());
    assert!(JwtKey::ed25519("k", one.private_pem, one.public_pem).is_ok());
}

#[test]
fn a_key_set_is_read_for_what_verifies_and_nothing_else() {
    let key = |algorithm: JwtAlgorithm| -> Value {
        let set: Value =
            serde_json::from_str(&Jwks::of([pair(algorithm).verifying("k1")]).to_json()).unwrap();
        set["keys"][0].clone()
    };
    let with = |mut key: Value, name: &str, value: Value| {
        key[name] = value;
        key
    };
    let without = |mut key: Value, name: &str| {
        key.as_object_mut().unwrap().remove(name);
        key
    };
    let (rsa, ec, ed) = (key(JwtAlgorithm::RS256), key(JwtAlgorithm::ES256), key(JwtAlgorithm::EdDSA));
    let read = |key: &Value| Jwks::parse(&json!({ "keys": [key] }).to_string()).unwrap().len() == 1;
    for good in [
        without(rsa.clone(), "alg"),
        without(ec.clone(), "alg"),
        without(ed.clone(), "kid"),
        without(rsa.clone(), "use"),
        with(rsa.clone(), "key_ops", json!(["verify"])),
        with(ed.clone(), "alg", json!("Ed25519")),
        with(rsa.clone(), "x5c", json!(["whatever"])),
    ] {
        assert!(read(&good), "{good}");
    }
    let short = "AAAA";
    for bad in [
        json!({ "kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "alg": "HS256", "kid": "k1" }),
        with(rsa.clone(), "use", json!("enc")),
        with(rsa.clone(), "use", json!(7)),
        with(rsa.clone(), "key_ops", json!(["encrypt"])),
        with(rsa.clone(), "key_ops", json!("verify")),
        with(rsa.clone(), "alg", json!("RSA-OAEP")),
        with(rsa.clone(), "alg", json!("HS256")),
        with(rsa.clone(), "alg", json!("ES256")),
        with(rsa.clone(), "n", json!(short)),
        with(rsa.clone(), "e", json!("AA")),
        with(rsa.clone(), "e", json!("AQ")),
        with(rsa.clone(), "e", json!("")),
        with(rsa.clone(), "n", json!("=")),
        without(rsa.clone(), "n"),
        with(ec.clone(), "crv", json!("P-384")),
        with(ec.clone(), "crv", json!("P-521")),
        with(ec.clone(), "alg", json!("ES384")),
        with(ec.clone(), "x", json!(short)),
        with(ec.clone(), "y", ec["x"].clone()),
        with(ed.clone(), "x", json!(short)),
        with(ed.clone(), "crv", json!("X25519")),
        with(ed.clone(), "kid", json!(1)),
        with(ed.clone(), "kty", json!("AKP")),
        json!("no key"),
        json!({}),
    ] {
        assert!(!read(&bad), "{bad}");
    }

    // Of two of the same name the first; both where they are of different algorithms.
    let set = |keys: &Value| Jwks::parse(&json!({ "keys": keys }).to_string()).unwrap();
    let twice = set(&json!([ed, ed, ec]));
    assert_eq!((twice.len(), twice.skipped()), (2, 1));
    let unbound = json!({ "keys": [without(rsa.clone(), "alg")] }).to_string();
    let bound = Jwks::parse_with(&unbound, JwtAlgorithm::PS384).unwrap();
    assert!(format!("{bound:?}").contains("PS384"), "{bound:?}");
    assert!(Jwks::parse_with(&unbound, JwtAlgorithm::ES256).is_err());
    for bad in ["", "[]", "{}", r#"{"keys":{}}"#, "null"] {
        assert!(Jwks::parse(bad).is_err(), "{bad}");
    }
    let many = set(&Value::Array((0..150).map(|n| with(ed.clone(), "kid", json!(n.to_string()))).collect()));
    assert_eq!((many.len(), many.skipped()), (100, 50));
}

#[test]
fn an_issuer_is_set_up_rightly_or_not_at_all() {
    let (backend, _) = manual();
    let keys = || Jwks::of([pair(JwtAlgorithm::EdDSA).verifying("k1")]);
    let build = |issuer: Issuer| backend.stores().tokens().accepting(issuer).build().map(drop);
    assert!(build(Issuer::with_keys(ISSUER, keys()).audience("shop")).is_ok());
    assert!(build(Issuer::with_keys(ISSUER, keys()).any_audience()).is_ok());
    assert!(build(Issuer::with_keys(ISSUER, keys())).is_err(), "no audience");
    assert!(build(Issuer::with_keys(ISSUER, Jwks::default()).audience("shop")).is_err(), "no keys");
    assert!(build(Issuer::with_keys("app", keys()).audience("shop")).is_err(), "the service's own name");
    assert!(build(Issuer::with_keys("", keys()).audience("shop")).is_err());
    assert!(build(Issuer::with_keys(ISSUER, keys()).audience("")).is_err());
}
