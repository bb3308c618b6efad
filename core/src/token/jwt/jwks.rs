//! Sets of public keys (RFC 7517).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::algorithm::{Family, JwtAlgorithm};
use super::key::JwtKey;
use super::public::PublicKey;
use crate::error::{Error, Result};

/// The most keys of a set that are looked at.
const MAX_KEYS: usize = 100;

/// A set of public keys: another issuer's, or one's own for others.
///
/// A key belongs to one algorithm, by its `alg`. One that has none belongs to the only algorithm of its curve, and an RSA key to
/// the one that the reader says.
#[derive(Clone, Default)]
pub struct Jwks {
    pub(super) keys: Vec<JwtKey>,
    skipped: usize,
}

impl Jwks {
    /// Those of the keys that have a public part.
    pub fn of(keys: impl IntoIterator<Item = JwtKey>) -> Self {
        let public = |mut key: JwtKey| {
            key.signing = None;
            key.public.is_some().then_some(key)
        };
        Self { keys: keys.into_iter().filter_map(public).collect(), skipped: 0 }
    }

    /// Reads a set; an RSA key without `alg` is for `RS256`.
    ///
    /// Keys that can't be used are [skipped](Self::skipped): secrets, keys for encryption, of another kind, too short or too
    /// long, and of two keys with the same `kid` and `alg` the second. So are all after the first 100.
    ///
    /// # Errors
    /// `InvalidInput` if it is not a JSON object with a list `keys`.
    pub fn parse(json: &str) -> Result<Self> {
        Self::parse_with(json, JwtAlgorithm::RS256)
    }

    /// The same; an RSA key without `alg` is for this algorithm.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), and for an algorithm that is not of RSA.
    pub fn parse_with(json: &str, rsa: JwtAlgorithm) -> Result<Self> {
        if rsa.family() != Family::Rsa {
            return Err(Error::invalid(format!("{rsa} takes no RSA keys")));
        }
        let set: Value = serde_json::from_str(json).map_err(|_| Error::invalid("a key set is JSON"))?;
        let Some(Value::Array(all)) = set.get("keys") else {
            return Err(Error::invalid("a key set has a list of keys"));
        };
        let mut keys: Vec<JwtKey> = Vec::new();
        for key in all.iter().take(MAX_KEYS).filter_map(Value::as_object).filter_map(|key| read(key, rsa)) {
            if !keys.iter().any(|other| other.id == key.id && other.algorithm == key.algorithm)
                || key.id.is_none()
            {
                keys.push(key);
            }
        }
        let skipped = all.len() - keys.len();
        Ok(Self { keys, skipped })
    }

    /// The set as others read it: for `/.well-known/jwks.json`. Public parts only.
    pub fn to_json(&self) -> String {
        json!({ "keys": self.keys.iter().filter_map(write).collect::<Vec<_>>() }).to_string()
    }

    /// How many keys can be used.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key can be used.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many keys of the set can't be used.
    pub fn skipped(&self) -> usize {
        self.skipped
    }
}

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwks").field("keys", &self.keys).field("skipped", &self.skipped).finish()
    }
}

/// A key that verifies, or `None` for every other.
fn read(key: &Map<String, Value>, rsa: JwtAlgorithm) -> Option<JwtKey> {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
    // Both are optional, and say what it is for.
    if key.contains_key("use") && text("use") != Some("sig") {
        return None;
    }
    let verifies =
        |operations: &Value| operations.as_array().is_some_and(|all| all.iter().any(|one| one == "verify"));
    if !key.get("key_ops").is_none_or(verifies) {
        return None;
    }
    let (usual, public) = match (text("kty")?, text("crv")) {
        ("RSA", _) => (rsa, PublicKey::Rsa { n: bytes("n")?, e: bytes("e")? }),
        ("EC", Some("P-256")) => (JwtAlgorithm::ES256, PublicKey::Ec { x: bytes("x")?, y: bytes("y")? }),
        ("EC", Some("P-384")) => (JwtAlgorithm::ES384, PublicKey::Ec { x: bytes("x")?, y: bytes("y")? }),
        ("OKP", Some("Ed25519")) => (JwtAlgorithm::EdDSA, PublicKey::Ed { x: bytes("x")? }),
        _ => return None,
    };
    let algorithm = match key.get("alg") {
        None => usual,
        Some(said) => JwtAlgorithm::of_name(said.as_str()?)?,
    };
    // For a curve `alg` can't say anything else; for RSA one of six.
    if algorithm != usual && algorithm.family() != Family::Rsa {
        return None;
    }
    let id = match key.get("kid") {
        None => None,
        Some(id) => Some(id.as_str()?.to_owned()),
    };
    JwtKey::of_public(id, algorithm, public).ok()
}

fn write(key: &JwtKey) -> Option<Value> {
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let mut written = match key.public.as_ref()? {
        PublicKey::Rsa { n, e } => json!({ "kty": "RSA", "n": text(n), "e": text(e) }),
        PublicKey::Ec { x, y } => {
            let curve = if key.algorithm == JwtAlgorithm::ES256 { "P-256" } else { "P-384" };
            json!({ "kty": "EC", "crv": curve, "x": text(x), "y": text(y) })
        }
        PublicKey::Ed { x } => json!({ "kty": "OKP", "crv": "Ed25519", "x": text(x) }),
    };
    written["use"] = "sig".into();
    written["alg"] = key.algorithm.name().into();
    if let Some(id) = &key.id {
        written["kid"] = id.as_str().into();
    }
    Some(written)
}
