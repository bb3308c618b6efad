//! Tokens of one service.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::agree::Agreement;
use super::publish::Topics;
use super::telemetry::Telemetry;
use super::{Epoch, Reason, Scope, TokenFacts, TokenSettings, TokenStore, Verdict};
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::key::Name;
use crate::time::{Timestamp, Ttl, minutes};

/// The tokens of one service, under `{service}:token:…`. Cheap to clone; clones share everything.
///
/// With the feature `jwt` it issues and verifies JSON Web Tokens; without, it keeps revocations for tokens
/// that something else issues.
///
/// # Errors
/// Every method that is `async` answers `InvalidInput` for a `jti`, a user or another scope that is empty or longer than
/// 512 bytes after escaping, `Config` where the settings are not those of the other services ([`agree`](Self::agree)),
/// `Closed` once the stores are, and the store's error where it does not answer.
#[derive(Clone)]
pub struct Tokens(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) store: Arc<dyn TokenStore>,
    /// The same, without what this façade has put in front of it.
    #[cfg(feature = "jwt")]
    pub(super) shared: Arc<dyn TokenStore>,
    pub(super) telemetry: Telemetry,
    pub(super) service: Name,
    pub(super) environment: Environment,
    /// What was set, which must be what is recorded.
    pub(super) set: TokenSettings,
    /// Another longest life, from or to which it is being changed.
    pub(super) max_life_was: Option<Ttl>,
    pub(super) floor: bool,
    pub(super) agreement: Agreement,
    /// How far clocks may differ.
    pub(super) skew: Duration,
    pub(super) topics: Option<Topics>,
    #[cfg(feature = "jwt")]
    pub(super) jwt: super::jwt::Jwt,
    #[cfg(feature = "jwt")]
    pub(super) refreshing: Option<super::Refreshing>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("service", &self.0.service)
            .field("set", &self.0.set)
            .finish_non_exhaustive()
    }
}

impl Tokens {
    /// How far the clocks of two machines may differ unless [`skew`](super::TokensBuilder::skew) says otherwise: a JWT is accepted
    /// for this long after its expiry, and a token that only says when it was issued is revoked up to this long after.
    pub const SKEW: Duration = super::verdict::SKEW;

    /// The most that [`skew`](super::TokensBuilder::skew) takes. Revocations are kept for twice as long after the last token has
    /// expired, whatever is set where they are made: so none ends before the token, whatever is set where that is verified.
    pub const MAX_SKEW: Duration = minutes(5);

    /// Revokes one token, until it has expired by every clock that differs from this one by [`MAX_SKEW`](Self::MAX_SKEW) at most.
    /// `false` if that was so already, and there was nothing to do.
    ///
    /// # Errors
    /// On an error the token may still hold: try again; revoking twice does no harm.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the token either revoked or not.
    pub async fn revoke(&self, jti: &str, expires_at: Timestamp) -> Result<bool> {
        self.agree_to_check().await?;
        let Some(ttl) = self.kept_until_after(expires_at) else {
            return Ok(false);
        };
        self.0.store.revoke(&self.0.service, jti, ttl).await?;
        self.0.telemetry.revoked_token();
        Ok(true)
    }

    /// Revokes every token of a user that was issued so far, and ends the log-ins that have [begun](Self::begin). The user's
    /// sessions live on, and get new tokens: to end them, [`Sessions::destroy_all`](crate::session::Sessions::destroy_all).
    ///
    /// # Errors
    /// As [`revoke_scope`](Self::revoke_scope).
    ///
    /// # Cancel safety
    /// Dropping the future leaves the tokens either revoked or not.
    pub async fn revoke_user(&self, user: &str) -> Result<Epoch> {
        let epoch = self.revoke_scope(&Scope::User(user.to_owned())).await?;
        if let Some(topics) = &self.0.topics {
            topics.revoked(user, None).await;
        }
        Ok(epoch)
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
        let (store, service) = (&self.0.store, &self.0.service);
        self.agree().await?;
        let kept = self.kept(scope)?;
        let mut epoch = store.revoke_all(service, scope, kept).await?;
        // While no longest life was recorded, an issuer may have come beside this, which recorded its own before it issued; and
        // so may one whose refresh tokens live longer than any before.
        self.agree_again(scope).await?;
        let needed = self.kept(scope)?;
        if needed > kept {
            epoch = store.revoke_all(service, scope, needed).await?;
        }
        self.0.telemetry.revoked_scope(scope);
        Ok(epoch)
    }

    /// Whether a token that something else issued and verified still holds. Its longest life is not checked here: a
    /// revocation of a scope is kept for [`max_life`](super::TokensBuilder::max_life), so refuse what lives longer.
    ///
    /// # Errors
    /// On an error nobody knows: refuse the token (fail closed) unless the service has decided otherwise. `InvalidInput` for one
    /// without a mark of [`Scope::Service`] where there is a [floor](super::TokensBuilder::floor).
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn check(&self, token: &TokenFacts) -> Result<Verdict> {
        let verdict = self.verdict(token).await;
        self.0.telemetry.checked(&verdict);
        verdict
    }

    pub(super) async fn verdict(&self, token: &TokenFacts) -> Result<Verdict> {
        self.agree_to_check().await?;
        let inner = &*self.0;
        if !inner.floor {
            return inner.store.check(&inner.service, token).await;
        }
        if !token.is_of_the_service() {
            return Err(Error::invalid(
                "where there is a floor, a token is checked with a mark of its service",
            ));
        }
        let verdict = inner.store.check(&inner.service, &token.clone().floor()).await?;
        if verdict == Verdict::Revoked(Reason::Lost) {
            // So that what is issued from now on, by whoever, is above it.
            inner.store.floor(&inner.service).await?;
        }
        Ok(verdict)
    }

    /// These epochs, of which the first is the service's, once it has one where there is to be a floor.
    pub(super) async fn with_floor(&self, mut epochs: Vec<Epoch>) -> Result<Vec<Epoch>> {
        if let Some(first) = epochs.first_mut()
            && self.0.floor
            && *first == Epoch::NEVER
        {
            *first = self.0.store.floor(&self.0.service).await?;
        }
        Ok(epochs)
    }

    /// Whether what is issued there is revoked here.
    #[cfg(feature = "jwt")]
    pub(crate) fn revokes_tokens_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (Arc::ptr_eq(&self.0.shared, &other.0.shared) && self.0.service == other.0.service)
    }
}
