//! JSON Web Tokens (RFC 7519): issued with what revocation needs, and verified against it.

use std::fmt;

use jsonwebtoken::crypto::{CryptoProvider, rust_crypto};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Epoch, Mark, Reason, Scope, TokenFacts, Tokens, Verdict};
use crate::error::{Error, Result};
use crate::session::SessionId;
use crate::time::Timestamp;

/// A key that signs and verifies. `Debug` shows its id and algorithm only.
#[derive(Clone)]
pub struct JwtKey {
    pub(super) id: String,
    pub(super) algorithm: Algorithm,
    pub(super) signing: Option<EncodingKey>,
    verifying: DecodingKey,
}

impl JwtKey {
    /// HMAC with SHA-256: one secret signs and verifies.
    ///
    /// # Errors
    /// `InvalidInput` for a secret shorter than 32 bytes (RFC 7518, section 3.2) or an empty id.
    pub fn hs256(id: impl Into<String>, secret: &[u8]) -> Result<Self> {
        if secret.len() < 32 {
            return Err(Error::invalid("an HS256 secret needs at least 32 bytes"));
        }
        let refused = |_| Error::invalid("not an HS256 secret");
        let signing = EncodingKey::from_secret(secret).map_err(refused)?;
        let verifying = DecodingKey::from_secret(secret).map_err(refused)?;
        Self::checked(id, Algorithm::HS256, Some(signing), verifying)
    }

    /// Ed25519, for a service that signs: PKCS#8 private key and SPKI public key, both in PEM.
    ///
    /// # Errors
    /// `InvalidInput` if one of them is no such key, or for an empty id.
    pub fn ed25519(id: impl Into<String>, private_pem: &[u8], public_pem: &[u8]) -> Result<Self> {
        let signing = EncodingKey::from_ed_pem(private_pem)
            .map_err(|_| Error::invalid("not an Ed25519 private key in PEM"))?;
        Self::checked(id, Algorithm::EdDSA, Some(signing), ed25519_public(public_pem)?)
    }

    /// Ed25519, for a service that only verifies: SPKI public key in PEM.
    ///
    /// # Errors
    /// `InvalidInput` if it is no such key, or for an empty id.
    pub fn ed25519_verifying(id: impl Into<String>, public_pem: &[u8]) -> Result<Self> {
        Self::checked(id, Algorithm::EdDSA, None, ed25519_public(public_pem)?)
    }

    fn checked(
        id: impl Into<String>,
        algorithm: Algorithm,
        signing: Option<EncodingKey>,
        verifying: DecodingKey,
    ) -> Result<Self> {
        let id = id.into();
        if id.is_empty() {
            return Err(Error::invalid("a JWT key needs an id, for the kid header"));
        }
        Ok(Self { id, algorithm, signing, verifying })
    }
}

fn ed25519_public(pem: &[u8]) -> Result<DecodingKey> {
    DecodingKey::from_ed_pem(pem).map_err(|_| Error::invalid("not an Ed25519 public key in PEM"))
}

/// Makes sure that jsonwebtoken has cryptography to work with. By itself it takes the one that its features name, and
/// panics where another crate of the program names a second one and nobody has chosen. Here a choice of the program
/// goes first, then the features', then RustCrypto; so ask as late as possible, with the first token.
pub(super) fn choose_cryptography() {
    if CryptoProvider::try_get_default().is_none() {
        // Refused only if another thread has chosen meanwhile.
        let _ = rust_crypto::DEFAULT_PROVIDER.install_default();
    }
}

impl fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JwtKey({}, {:?})", self.id, self.algorithm)
    }
}

/// The issuer's name and keys.
#[derive(Debug)]
pub(super) struct Signer {
    pub(super) issuer: String,
    pub(super) keys: Vec<JwtKey>,
}

impl Signer {
    pub(super) fn new(issuer: String, keys: Vec<JwtKey>) -> Result<Self> {
        let mut ids: Vec<_> = keys.iter().map(|key| &key.id).collect();
        ids.sort_unstable();
        if ids.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Error::invalid("two JWT keys have the same id"));
        }
        Ok(Self { issuer, keys })
    }
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Claims {
    /// Who issued it.
    pub iss: String,
    /// The user.
    pub sub: String,
    /// The token's own id.
    pub jti: String,
    /// When it was issued, in seconds since 1970, by the issuer's clock.
    pub iat: u64,
    /// When it expires, in seconds since 1970, by the issuer's clock.
    pub exp: u64,
    /// The session it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    /// The client application it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The epochs of its scopes when it was issued: service, user, session, client. Absent in a token that
    /// something else issued; then `iat` is what counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<[Epoch; 4]>,
    /// Further claims.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Claims {
    pub(super) const RESERVED: [&str; 9] =
        ["iss", "sub", "jti", "iat", "exp", "nbf", "sid", "client_id", "epochs"];

    /// When it expires, for [`Tokens::revoke`].
    pub fn expires_at(&self) -> Timestamp {
        Timestamp::from_secs(self.exp)
    }

    /// The session it belongs to, for [`Sessions::destroy_id`](crate::session::Sessions::destroy_id): `None` if it
    /// has none, or something else issued it and puts other names there.
    pub fn session_id(&self) -> Option<SessionId> {
        self.sid.as_deref()?.parse().ok()
    }

    /// The scopes it belongs to, in the order of `epochs`; a scope it has no part in is `None`.
    pub(super) fn scopes(&self) -> [Option<Scope>; 4] {
        [
            Some(Scope::Service),
            Some(Scope::User(self.sub.clone())),
            self.sid.clone().map(Scope::Session),
            self.client_id.clone().map(Scope::Client),
        ]
    }

    fn facts(&self) -> TokenFacts {
        let issued = Mark::IssuedAt(Timestamp::from_secs(self.iat));
        let marks = self.scopes().into_iter().enumerate().filter_map(|(index, scope)| {
            let mark = self.epochs.map_or(issued, |epochs| Mark::Epoch(epochs[index]));
            Some((scope?, mark))
        });
        TokenFacts::new(self.jti.as_str(), marks.collect())
    }
}

/// Why a token is not accepted.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// It is no JWT, lacks a claim, was signed by another key or algorithm, or was issued by somebody else.
    #[error("the token is not valid: {0}")]
    Invalid(&'static str),
    /// It has expired.
    #[error("the token has expired")]
    Expired,
    /// It, or something it belongs to, was revoked.
    #[error("the token was revoked")]
    Revoked(Reason),
    /// Nobody knows, since the store did not answer: refuse it, or decide otherwise.
    #[error("the token could not be checked: {0}")]
    Unchecked(#[from] Error),
}

impl Tokens {
    /// Whether a token is genuine, alive and not revoked: its signature by the key that its `kid` names (or
    /// the only key), with that key's algorithm and no other; its issuer; its expiry, plus
    /// [`SKEW`](Self::SKEW); then its revocation, in one round trip.
    ///
    /// # Errors
    /// [`Unchecked`](VerifyError::Unchecked) if the store does not answer: refuse the token unless the service has decided
    /// otherwise. Every other [`VerifyError`] says why the token is not accepted.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn verify(&self, token: &str) -> Result<Claims, VerifyError> {
        let verified = self.claims_of(token).await;
        self.0.telemetry.verified(&verified);
        verified
    }

    async fn claims_of(&self, token: &str) -> Result<Claims, VerifyError> {
        let inner = &*self.0;
        let header = jsonwebtoken::decode_header(token).map_err(|_| VerifyError::Invalid("not a JWT"))?;
        let key = match (&header.kid, inner.signer.keys.as_slice()) {
            (Some(kid), keys) => keys.iter().find(|key| key.id == *kid),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
        .ok_or(VerifyError::Invalid("signed by an unknown key"))?;
        let mut validation = Validation::new(key.algorithm);
        // Times are checked below, by the injected clock; audiences are the service's own affair.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        validation.set_issuer(&[&inner.signer.issuer]);
        choose_cryptography();
        let claims = jsonwebtoken::decode::<Claims>(token, &key.verifying, &validation)
            .map_err(|error| {
                use jsonwebtoken::errors::ErrorKind as Jwt;
                VerifyError::Invalid(match error.kind() {
                    Jwt::InvalidSignature => "its signature is wrong",
                    Jwt::InvalidIssuer => "issued by somebody else",
                    Jwt::InvalidAlgorithm => "signed with another algorithm",
                    _ => "malformed, or a claim is missing",
                })
            })?
            .claims;
        if claims.jti.is_empty() || claims.sub.is_empty() {
            return Err(VerifyError::Invalid("malformed, or a claim is missing"));
        }
        if claims.expires_at().saturating_add(Self::SKEW) <= inner.environment.clock.wall() {
            return Err(VerifyError::Expired);
        }
        if self.refuses_life(Timestamp::from_secs(claims.iat), claims.expires_at()).await? {
            return Err(VerifyError::Invalid("it lives for longer than a token of this service may"));
        }
        match self.verdict(&claims.facts()).await? {
            Verdict::Active => Ok(claims),
            Verdict::Revoked(reason) => Err(VerifyError::Revoked(reason)),
        }
    }
}
