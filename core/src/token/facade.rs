//! Tokens of one service.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::telemetry::Telemetry;
use super::{Epoch, Scope, TokenFacts, TokenStore, Verdict};
use crate::environment::Environment;
use crate::error::Result;
use crate::key::Name;
use crate::layer::deadline::bounded;
use crate::time::{Timestamp, Ttl, hours, seconds};

/// Builds [`Tokens`].
#[derive(Debug)]
#[must_use = "call build()"]
pub struct TokensBuilder {
    store: Result<Arc<dyn TokenStore>>,
    service: Name,
    environment: Environment,
    max_life: Duration,
    #[cfg(feature = "jwt")]
    issuer: String,
    #[cfg(feature = "jwt")]
    keys: Vec<super::JwtKey>,
}

impl TokensBuilder {
    /// The tokens of a service on any backend, without a bundle.
    pub fn new(store: Arc<dyn TokenStore>, environment: Environment, service: Name) -> Self {
        Self::on(Ok(bounded(store, &environment)), environment, service)
    }

    pub(crate) fn on(store: Result<Arc<dyn TokenStore>>, environment: Environment, service: Name) -> Self {
        Self {
            store,
            max_life: hours(1),
            #[cfg(feature = "jwt")]
            issuer: service.to_string(),
            service,
            environment,
            #[cfg(feature = "jwt")]
            keys: Vec::new(),
        }
    }

    /// The longest life of any token, 1 hour unless set: tokens are issued for this long, and a revocation of
    /// a scope is kept for it. Lengthen it before tokens get longer lives; shorten it only after.
    pub fn max_life(mut self, life: Duration) -> Self {
        self.max_life = life;
        self
    }

    /// The `iss` claim of issued tokens, which verified ones must have; the service's name unless set.
    #[cfg(feature = "jwt")]
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = issuer.into();
        self
    }

    /// Adds a key. The first signs; all verify, each its own tokens by the `kid` header, so that keys can be
    /// rotated: add the new one behind, deploy, put it first, deploy, remove the old one after the longest
    /// life.
    #[cfg(feature = "jwt")]
    pub fn key(mut self, key: super::JwtKey) -> Self {
        self.keys.push(key);
        self
    }

    /// The tokens.
    ///
    /// # Errors
    /// `InvalidInput` for a life of zero or two keys of one id; `Unsupported` if the stores have no tokens.
    pub fn build(self) -> Result<Tokens> {
        Ok(Tokens(Arc::new(Inner {
            store: self.store?,
            telemetry: Telemetry::of(&self.service),
            service: self.service,
            environment: self.environment,
            max_life: Ttl::new(self.max_life)?,
            #[cfg(feature = "jwt")]
            signer: super::jwt::Signer::new(self.issuer, self.keys)?,
        })))
    }
}

/// The tokens of one service, under `{service}:token:…`. Cheap to clone; clones share everything.
///
/// With the feature `jwt` it issues and verifies JSON Web Tokens; without, it keeps revocations for tokens
/// that something else issues.
///
/// # Errors
/// Every method that is `async` answers `InvalidInput` for a `jti`, a user or another scope that is empty or longer than
/// 512 bytes after escaping, `Closed` once the stores are, and the store's error where it does not answer.
#[derive(Clone)]
pub struct Tokens(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) store: Arc<dyn TokenStore>,
    pub(super) telemetry: Telemetry,
    pub(super) service: Name,
    pub(super) environment: Environment,
    pub(super) max_life: Ttl,
    #[cfg(feature = "jwt")]
    pub(super) signer: super::jwt::Signer,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("service", &self.0.service)
            .field("max_life", &self.0.max_life)
            .finish_non_exhaustive()
    }
}

impl Tokens {
    /// How far the clocks of two machines may differ: revocations are kept for this much longer, and a JWT
    /// is accepted for this long after its expiry.
    pub const SKEW: Duration = seconds(30);

    /// Revokes one token until after its expiry. `false` if it had expired already, so that there was
    /// nothing to do.
    ///
    /// # Errors
    /// On an error the token may still hold: try again; revoking twice does no harm.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the token either revoked or not.
    pub async fn revoke(&self, jti: &str, expires_at: Timestamp) -> Result<bool> {
        let now = self.0.environment.clock.wall();
        let Some(ttl) = Ttl::until(expires_at.saturating_add(Self::SKEW), now) else {
            return Ok(false);
        };
        self.0.store.revoke(&self.0.service, jti, ttl).await?;
        self.0.telemetry.revoked_token();
        Ok(true)
    }

    /// Revokes every token of a user that was issued so far.
    ///
    /// # Errors
    /// As [`revoke_scope`](Self::revoke_scope).
    ///
    /// # Cancel safety
    /// Dropping the future leaves the tokens either revoked or not.
    pub async fn revoke_user(&self, user: &str) -> Result<Epoch> {
        self.revoke_scope(&Scope::User(user.to_owned())).await
    }

    /// Revokes everything that was issued within a scope so far.
    ///
    /// # Errors
    /// Those of [every method](Tokens#errors). The tokens may still hold: try again; revoking twice does no harm, but to
    /// tokens that were issued in between.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the tokens either revoked or not.
    pub async fn revoke_scope(&self, scope: &Scope) -> Result<Epoch> {
        let ttl = Ttl::new(self.0.max_life.as_duration().saturating_add(2 * Self::SKEW))?;
        let epoch = self.0.store.revoke_all(&self.0.service, scope, ttl).await?;
        self.0.telemetry.revoked_scope(scope);
        Ok(epoch)
    }

    /// Whether a token that something else issued and verified still holds.
    ///
    /// # Errors
    /// On an error nobody knows: refuse the token (fail closed) unless the service has decided otherwise.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn check(&self, token: &TokenFacts) -> Result<Verdict> {
        let verdict = self.verdict(token).await;
        self.0.telemetry.checked(&verdict);
        verdict
    }

    pub(super) async fn verdict(&self, token: &TokenFacts) -> Result<Verdict> {
        self.0.store.check(&self.0.service, token).await
    }
}
