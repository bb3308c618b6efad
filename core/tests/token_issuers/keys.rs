//! Keys of these tests' own, which guard nothing, and tokens signed with them.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use stanchion::prelude::*;
use stanchion::token::{Invalid, JwtAlgorithm};

/// One algorithm with a key pair.
pub(crate) struct Pair {
    pub(crate) algorithm: JwtAlgorithm,
    pub(crate) native: Algorithm,
    pub(crate) private: EncodingKey,
    pub(crate) private_pem: &'static [u8],
    pub(crate) public_pem: &'static [u8],
}

macro_rules! pem {
    ($name:literal) => {
        include_bytes!(concat!("../token_keys/", $name))
    };
}

pub(crate) const SHORT_RSA: &[u8] = pem!("rsa-short.pub.pem");

pub(crate) fn pairs() -> Vec<Pair> {
    use JwtAlgorithm as Jwt;
    let rsa = |algorithm, native| Pair {
        algorithm,
        native,
        private: EncodingKey::from_rsa_pem(pem!("rsa.pem")).unwrap(),
        private_pem: pem!("rsa.pem"),
        public_pem: pem!("rsa.pub.pem"),
    };
    vec![
        rsa(Jwt::RS256, Algorithm::RS256),
        rsa(Jwt::RS384, Algorithm::RS384),
        rsa(Jwt::RS512, Algorithm::RS512),
        rsa(Jwt::PS256, Algorithm::PS256),
        rsa(Jwt::PS384, Algorithm::PS384),
        rsa(Jwt::PS512, Algorithm::PS512),
        Pair {
            algorithm: Jwt::ES256,
            native: Algorithm::ES256,
            private: EncodingKey::from_ec_pem(pem!("es256.pem")).unwrap(),
            private_pem: pem!("es256.pem"),
            public_pem: pem!("es256.pub.pem"),
        },
        Pair {
            algorithm: Jwt::ES384,
            native: Algorithm::ES384,
            private: EncodingKey::from_ec_pem(pem!("es384.pem")).unwrap(),
            private_pem: pem!("es384.pem"),
            public_pem: pem!("es384.pub.pem"),
        },
        Pair {
            algorithm: Jwt::EdDSA,
            native: Algorithm::EdDSA,
            private: EncodingKey::from_ed_pem(pem!("ed25519.pem")).unwrap(),
            private_pem: pem!("ed25519.pem"),
            public_pem: pem!("ed25519.pub.pem"),
        },
    ]
}

pub(crate) fn pair(algorithm: JwtAlgorithm) -> Pair {
    pairs().into_iter().find(|pair| pair.algorithm == algorithm).unwrap()
}

impl Pair {
    pub(crate) fn verifying(&self, id: &str) -> JwtKey {
        JwtKey::verifying(id, self.algorithm, self.public_pem).unwrap()
    }

    #[expect(clippy::disallowed_methods, reason = "these tests have one cryptography")]
    pub(crate) fn sign(&self, kid: Option<&str>, claims: &Value) -> String {
        let mut header = Header::new(self.native);
        header.kid = kid.map(str::to_owned);
        jsonwebtoken::encode(&header, claims, &self.private).unwrap()
    }
}

pub(crate) const ISSUER: &str = "https://issuer.example";
/// Where the manual clock begins.
pub(crate) const NOW: u64 = 1_750_000_000;

pub(crate) fn claims() -> Value {
    json!({ "iss": ISSUER, "sub": "u1", "aud": "shop", "iat": NOW, "exp": NOW + 900 })
}

pub(crate) fn invalid<T: std::fmt::Debug>(outcome: Result<T, VerifyError>) -> Invalid {
    match outcome {
        Err(VerifyError::Invalid(invalid)) => invalid,
        other => panic!("{other:?}"),
    }
}
