//! How tokens are built.

use std::sync::Arc;
use std::time::Duration;

use super::agree::Agreement;
use super::facade::{Inner, Tokens};
use super::telemetry::Telemetry;
use super::{TokenSettings, TokenStore};
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::key::Name;
use crate::layer::deadline::bounded;
use crate::time::Ttl;

/// Builds [`Tokens`].
#[derive(Debug)]
#[must_use = "call build()"]
pub struct TokensBuilder {
    store: Result<Arc<dyn TokenStore>>,
    service: Name,
    environment: Environment,
    max_life: Option<Duration>,
    max_life_was: Option<Duration>,
    floor: bool,
    #[cfg(feature = "jwt")]
    issuer: Option<String>,
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
            service,
            environment,
            max_life: None,
            max_life_was: None,
            floor: false,
            #[cfg(feature = "jwt")]
            issuer: None,
            #[cfg(feature = "jwt")]
            keys: Vec::new(),
        }
    }

    /// The longest life of any token: tokens are issued for this long, a token that lives longer is refused, and a
    /// revocation is kept until the last token that it revokes has expired by every clock within the
    /// [skew](Tokens::SKEW).
    ///
    /// Give it once, where tokens are issued. It is recorded in the store with the first token, or as soon as somebody who has
    /// set it [agrees](Tokens::agree). Whoever has not set it takes the recorded one over (1 hour where there is none yet),
    /// and whoever has set another is refused. To change it, see [`max_life_was`](Self::max_life_was).
    pub fn max_life(mut self, life: Duration) -> Self {
        self.max_life = Some(life);
        self
    }

    /// Changes the recorded longest life from this one to [`max_life`](Self::max_life), while services of both are running: until
    /// this line is taken out again, tokens are issued for the lesser of both, and accepted and kept revoked for the
    /// greater. Deploy it everywhere; take it out once nothing without it runs and the greater life is over.
    pub fn max_life_was(mut self, life: Duration) -> Self {
        self.max_life_was = Some(life);
        self
    }

    /// Refuses every token that was issued before the store lost its revocations (a flush, an empty server in place of the
    /// old one), in place of accepting also those that were revoked. For that the service's epoch is kept for ever, and
    /// its absence is the sign; it is set where it is missing. So whatever was issued before this is
    /// first turned on is refused, too.
    ///
    /// It does not show the loss of single keys, by eviction: let the server of revocations not evict. Turn it on wherever the
    /// service's tokens are verified.
    pub fn floor(mut self) -> Self {
        self.floor = true;
        self
    }

    /// The `iss` claim of issued tokens, which verified ones must have; the service's name unless set. It is recorded as
    /// [`max_life`](Self::max_life) is, and whoever has keys must expect the recorded one.
    #[cfg(feature = "jwt")]
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into());
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
    /// `InvalidInput` for a life of zero, a former longest life without a longest life, an issuer without a name, or two keys of one id; `Unsupported` if the stores have no
    /// tokens. Whether the settings are those of the other services is found out at the first call: see
    /// [`Tokens::agree`].
    pub fn build(self) -> Result<Tokens> {
        let mut set = TokenSettings::new();
        set.max_life = self.max_life.map(Ttl::new).transpose()?;
        #[cfg(feature = "jwt")]
        set.issuer.clone_from(&self.issuer);
        set.check()?;
        if self.max_life_was.is_some() && set.max_life.is_none() {
            return Err(Error::invalid("a longest life is changed from max_life_was to max_life: set both"));
        }
        Ok(Tokens(Arc::new(Inner {
            store: self.store?,
            telemetry: Telemetry::of(&self.service),
            #[cfg(feature = "jwt")]
            signer: super::jwt::Signer::new(
                self.issuer.unwrap_or_else(|| self.service.to_string()),
                self.keys,
            )?,
            service: self.service,
            environment: self.environment,
            set,
            max_life_was: self.max_life_was.map(Ttl::new).transpose()?,
            floor: self.floor,
            agreement: Agreement::default(),
        })))
    }
}
