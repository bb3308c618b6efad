//! Keys that sign and verify.

use std::fmt;

use jsonwebtoken::{DecodingKey, EncodingKey};

use super::algorithm::{Family, JwtAlgorithm};
use super::crypto;
use super::public::PublicKey;
use crate::error::{Error, Result};

/// A key that signs and verifies, or only verifies, by one algorithm. `Debug` shows its id and algorithm only.
#[derive(Clone)]
pub struct JwtKey {
    /// `None` only for keys of another issuer's set, where it may be missing.
    pub(super) id: Option<String>,
    pub(super) algorithm: JwtAlgorithm,
    pub(super) signing: Option<EncodingKey>,
    pub(super) verifying: DecodingKey,
    /// What may be published of it; `None` for a secret.
    pub(super) public: Option<PublicKey>,
}

impl JwtKey {
    /// HMAC with SHA-256: one secret signs and verifies.
    ///
    /// # Errors
    /// `InvalidInput` for a secret shorter than 32 bytes (RFC 7518, section 3.2) or an empty id.
    pub fn hs256(id: impl Into<String>, secret: &[u8]) -> Result<Self> {
        Self::hmac(id, JwtAlgorithm::HS256, secret)
    }

    /// HMAC with `HS256`, `HS384` or `HS512`: one secret signs and verifies.
    ///
    /// # Errors
    /// `InvalidInput` for a secret shorter than the hash (32, 48 or 64 bytes; RFC 7518, section 3.2), another algorithm, or an
    /// empty id.
    pub fn hmac(id: impl Into<String>, algorithm: JwtAlgorithm, secret: &[u8]) -> Result<Self> {
        let least = match algorithm {
            JwtAlgorithm::HS256 => 32,
            JwtAlgorithm::HS384 => 48,
            JwtAlgorithm::HS512 => 64,
            other => return Err(Error::invalid(format!("{other} takes a key pair, and no secret"))),
        };
        if secret.len() < least {
            return Err(Error::invalid(format!("a secret for {algorithm} needs at least {least} bytes")));
        }
        let refused = |_| Error::invalid(format!("not a secret for {algorithm}"));
        let signing = EncodingKey::from_secret(secret).map_err(refused)?;
        let verifying = DecodingKey::from_secret(secret).map_err(refused)?;
        Ok(Self { id: Some(named(id)?), algorithm, signing: Some(signing), verifying, public: None })
    }

    /// Ed25519, for a service that signs: PKCS#8 private key and SPKI public key, both in PEM.
    ///
    /// # Errors
    /// `InvalidInput` if one of them is no such key, if they are no pair, or for an empty id.
    pub fn ed25519(id: impl Into<String>, private_pem: &[u8], public_pem: &[u8]) -> Result<Self> {
        let key = Self::signing(id, JwtAlgorithm::EdDSA, private_pem)?;
        if key.public != Some(PublicKey::of_pem(JwtAlgorithm::EdDSA, public_pem)?) {
            return Err(Error::invalid("the Ed25519 keys are no pair"));
        }
        Ok(key)
    }

    /// Ed25519, for a service that only verifies: SPKI public key in PEM.
    ///
    /// # Errors
    /// `InvalidInput` if it is no such key, or for an empty id.
    pub fn ed25519_verifying(id: impl Into<String>, public_pem: &[u8]) -> Result<Self> {
        Self::verifying(id, JwtAlgorithm::EdDSA, public_pem)
    }

    /// A private key in PEM (PKCS#8) for `ES256`, `ES384` or `EdDSA`: it signs and verifies.
    ///
    /// # Errors
    /// `InvalidInput` if it is no private key for the algorithm, or for an empty id; `Unsupported` for RSA, which is verified
    /// only (see [`JwtAlgorithm`]).
    pub fn signing(id: impl Into<String>, algorithm: JwtAlgorithm, private_pem: &[u8]) -> Result<Self> {
        let wrong = || Error::invalid(format!("not a private key for {algorithm} in PEM (PKCS#8)"));
        let native = match algorithm.family() {
            Family::Ec => EncodingKey::from_ec_pem(private_pem),
            Family::Ed => EncodingKey::from_ed_pem(private_pem),
            Family::Rsa => {
                return Err(Error::unsupported(format!(
                    "{algorithm} is verified, and nothing is signed by it"
                )));
            }
            Family::Secret => {
                return Err(Error::invalid(format!("{algorithm} takes a secret, and no key pair")));
            }
        };
        let native = native.map_err(|_| wrong())?;
        let (x, y) = crypto::public_part(algorithm, &native).ok_or_else(wrong)?;
        let public = match algorithm.family() {
            Family::Ec => PublicKey::Ec { x, y },
            _ => PublicKey::Ed { x },
        };
        let mut key = Self::of_public(Some(named(id)?), algorithm, public)?;
        key.signing = Some(native);
        Ok(key)
    }

    /// A public key in PEM (SPKI or a certificate, and PKCS#1 for RSA) for every algorithm that has one: it verifies.
    ///
    /// # Errors
    /// `InvalidInput` if it is no public key for the algorithm, an RSA key of less than 2,048 or more than 4,096 bits, or for
    /// an empty id.
    pub fn verifying(id: impl Into<String>, algorithm: JwtAlgorithm, public_pem: &[u8]) -> Result<Self> {
        Self::of_public(Some(named(id)?), algorithm, PublicKey::of_pem(algorithm, public_pem)?)
    }

    pub(super) fn of_public(id: Option<String>, algorithm: JwtAlgorithm, public: PublicKey) -> Result<Self> {
        let public = public.checked(algorithm)?;
        Ok(Self { id, algorithm, signing: None, verifying: public.native(), public: Some(public) })
    }

    /// The `kid` that tokens name it by.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// What it signs and verifies by.
    pub fn algorithm(&self) -> JwtAlgorithm {
        self.algorithm
    }
}

fn named(id: impl Into<String>) -> Result<String> {
    match id.into() {
        id if id.is_empty() => Err(Error::invalid("a JWT key needs an id, for the kid header")),
        id => Ok(id),
    }
}

impl fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JwtKey({}, {})", self.id.as_deref().unwrap_or("no id"), self.algorithm)
    }
}

/// What a set of keys says of a header.
pub(super) enum Found<'a> {
    Key(&'a JwtKey),
    /// There is such a key, for another algorithm.
    OtherAlgorithm,
    Unknown,
}

/// The key that a header names: by its `kid`; without one, the only key of the algorithm. Always one whose own algorithm
/// the header says.
pub(super) fn find<'a>(keys: &'a [JwtKey], kid: Option<&str>, algorithm: JwtAlgorithm) -> Found<'a> {
    let named: Vec<_> = match kid {
        Some(kid) => keys.iter().filter(|key| key.id.as_deref() == Some(kid)).collect(),
        None => keys.iter().collect(),
    };
    let mut fitting = named.iter().filter(|key| key.algorithm == algorithm);
    match (fitting.next(), fitting.next()) {
        (Some(key), None) => Found::Key(key),
        (None, _) if !named.is_empty() => Found::OtherAlgorithm,
        _ => Found::Unknown,
    }
}
