//! Verifying tokens.

use std::sync::Arc;

use super::compact::Compact;
use super::error::{Invalid, VerifyError};
use super::expect::{Audience, Expected, Times};
use super::key::{Found, find};
use super::{Claims, crypto};
use crate::time::Timestamp;
use crate::token::{Tokens, Verdict};

/// Who asks whether a token holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker {
    /// Whom it was sent to.
    Addressee,
    /// The introspection endpoint of its issuer, for whom it was sent to.
    Endpoint,
    /// Who is to revoke it.
    Revoker,
}

impl Tokens {
    /// Whether a token is genuine, alive and not revoked: its form and headers; its issuer, which is this service's or one that is
    /// [accepted](crate::token::TokensBuilder::accepting); its signature by that issuer's key that its `kid` names
    /// (or the only key of the algorithm), with that key's algorithm and no other; its type, audience and times, with
    /// [`skew`](crate::token::TokensBuilder::skew); then its revocation, in one round trip. The keys of another issuer may have to be
    /// fetched first.
    ///
    /// # Errors
    /// [`Unchecked`](VerifyError::Unchecked) if the store does not answer: refuse the token unless the service has decided
    /// otherwise. Every other [`VerifyError`] says why the token is not accepted.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn verify(&self, token: &str) -> Result<Claims, VerifyError> {
        let verified = self.accept(token).await;
        self.0.telemetry.verified(&verified);
        verified
    }

    async fn accept(&self, token: &str) -> Result<Claims, VerifyError> {
        self.accept_for(token, Asker::Addressee).await
    }

    /// The same for whoever asks.
    pub(super) async fn accept_for(&self, token: &str, asker: Asker) -> Result<Claims, VerifyError> {
        let claims = self.genuine(token, asker).await?;
        // Revocations of its user and the rest are kept for as long, and it would outlive them.
        if self.refuses_life(Timestamp::from_secs(claims.iat), claims.expires_at()).await? {
            return Err(Invalid::LivesTooLong.into());
        }
        match self.verdict(&claims.facts().skew(self.0.skew)).await? {
            Verdict::Active => Ok(claims),
            Verdict::Revoked(reason) => Err(VerifyError::Revoked(reason)),
        }
    }

    /// All but the revocation.
    async fn genuine(&self, token: &str, asker: Asker) -> Result<Claims, VerifyError> {
        let inner = &*self.0;
        let token = Compact::parse(token)?;
        // Nothing of this is believed yet: it says by whose keys the token has to be signed.
        let iss = token
            .claims
            .get("iss")
            .ok_or(Invalid::Missing("iss"))?
            .as_str()
            .ok_or(Invalid::Malformed("iss"))?;
        let kid = token.kid.as_deref();
        let (expected, keys) = if iss == inner.jwt.own.issuer {
            (&inner.jwt.own, Arc::clone(&inner.jwt.keys))
        } else {
            let other = inner.jwt.others.iter().find(|other| iss == other.expected.issuer);
            let other = other.ok_or(Invalid::Unexpected("iss"))?;
            (&other.expected, other.keys(kid, token.algorithm).await?)
        };
        let key = match find(&keys, kid, token.algorithm) {
            Found::Key(key) => key,
            Found::OtherAlgorithm => return Err(Invalid::Algorithm.into()),
            Found::Unknown => return Err(Invalid::UnknownKey.into()),
        };
        if !crypto::verify(key.algorithm, &key.verifying, token.message.as_bytes(), &token.signature)? {
            return Err(Invalid::Signature.into());
        }
        let now = inner.environment.clock.wall();
        let times = Times { now, skew: inner.skew, early: asker == Asker::Revoker };
        if asker == Asker::Addressee || !expected.own {
            return expected.claims(token, times);
        }
        // Whom this service's own tokens are for does not matter to it.
        Expected { audience: Audience::Any, ..expected.clone() }.claims(token, times)
    }
}
