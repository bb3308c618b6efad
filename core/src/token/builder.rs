//! How tokens are built.

use std::sync::Arc;
use std::time::Duration;

use super::agree::Agreement;
use super::facade::{Inner, Tokens};
use super::near::NearVerdicts;
use super::publish::Topics;
use super::telemetry::Telemetry;
use super::{TokenSettings, TokenStore};
use crate::cache::NearEngine;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::event::EventBus;
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
    near: Option<(Arc<dyn NearEngine>, Duration)>,
    skew: Duration,
    events: Result<Arc<dyn EventBus>>,
    publish: bool,
    #[cfg(feature = "jwt")]
    pub(super) issuer: Option<String>,
    #[cfg(feature = "jwt")]
    pub(super) jwt: super::jwt::Settings,
    #[cfg(feature = "jwt")]
    pub(super) refreshing: Option<super::RefreshPolicy>,
}

impl TokensBuilder {
    /// The tokens of a service on any backend, without a bundle: it publishes where it is given an
    /// [`event_bus`](Self::event_bus).
    pub fn new(store: Arc<dyn TokenStore>, environment: Environment, service: Name) -> Self {
        let events = Err(Error::unsupported("there are no events"));
        Self::on(Ok(bounded(store, &environment)), events, environment, service)
    }

    pub(crate) fn on(
        store: Result<Arc<dyn TokenStore>>,
        events: Result<Arc<dyn EventBus>>,
        environment: Environment,
        service: Name,
    ) -> Self {
        Self {
            store,
            events,
            publish: false,
            skew: Tokens::SKEW,
            #[cfg(feature = "jwt")]
            jwt: super::jwt::Settings::new(service.as_str()),
            #[cfg(feature = "jwt")]
            refreshing: None,
            service,
            environment,
            max_life: None,
            max_life_was: None,
            floor: false,
            near: None,
            #[cfg(feature = "jwt")]
            issuer: None,
        }
    }

    /// The longest life of any token: tokens are issued for this long, a token that lives longer is refused, and a
    /// revocation is kept until the last token that it revokes has expired by every clock within the
    /// [skew](Tokens::MAX_SKEW).
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

    /// Keeps verdicts in this process for at most `max_age`: a token that was checked within that time is checked without a trip, also
    /// while the store does not answer. Not unless set.
    ///
    /// What is revoked through these `Tokens` they refuse at once. What others revoke, also in this process, is refused as soon as the store's feed of
    /// revocations says so, commonly within milliseconds, and after `max_age` at the latest: where the feed is away, where
    /// the store [has none](super::TokenStore::feed), and where its server forbids it. So `max_age` is what a revocation may be
    /// late by in the worst case: seconds, and at most an hour. Where no [`max_life`](Self::max_life) is recorded, the settings are still compared with the
    /// store's every 10 seconds.
    ///
    /// Each `Tokens` takes an engine of its own, bounded by the number of entries; `stanchion-memory` has two, `MokaNear` and
    /// `QuickNear`.
    pub fn near(mut self, engine: impl NearEngine, max_age: Duration) -> Self {
        self.near = Some((Arc::new(engine), max_age));
        self
    }

    /// How far the clocks of two machines may differ, 30 seconds unless set: a JWT is accepted for this long after its expiry and
    /// before its beginning, and a token that only says when it was issued is revoked up to this long after. At most
    /// [`MAX_SKEW`](Tokens::MAX_SKEW), by which revocations are kept.
    pub fn skew(mut self, skew: Duration) -> Self {
        self.skew = skew;
        self
    }

    /// Where events are published; the bundle's unless set.
    pub fn event_bus(mut self, events: Arc<dyn EventBus>) -> Self {
        self.events = Ok(events);
        self
    }

    /// Publishes `auth.token_issued`, `auth.token_revoked` where the user is known, and `auth.refresh_reused`. An event that can't
    /// be published is logged, and fails nothing.
    pub fn publishing(mut self) -> Self {
        self.publish = true;
        self
    }

    /// The tokens.
    ///
    /// # Errors
    /// `InvalidInput` for a life of zero, a former longest life without a longest life, an issuer without a name, two keys of one id, or
    /// a skew of more than [`MAX_SKEW`](Tokens::MAX_SKEW), or an age of copies of zero or more than an hour; `Unsupported` if the stores have no tokens, or not what is asked for; `Config` if there is no runtime to be notified
    /// in, `Closed` after the stores were closed. Whether
    /// the settings are those of the other services is found out at the first call: see [`Tokens::agree`].
    pub fn build(self) -> Result<Tokens> {
        let mut set = TokenSettings::new();
        set.max_life = self.max_life.map(Ttl::new).transpose()?;
        #[cfg(feature = "jwt")]
        set.issuer.clone_from(&self.issuer);
        set.check()?;
        if self.max_life_was.is_some() && set.max_life.is_none() {
            return Err(Error::invalid("a longest life is changed from max_life_was to max_life: set both"));
        }
        if self.skew > Tokens::MAX_SKEW {
            let (most, skew) = (Tokens::MAX_SKEW, self.skew);
            return Err(Error::invalid(format!("clocks may differ by {most:?}, got {skew:?}")));
        }
        let shared = self.store?;
        #[cfg(feature = "jwt")]
        let refreshing =
            self.refreshing.map(|policy| super::Refreshing::new(policy, &*shared)).transpose()?;
        #[cfg(feature = "jwt")]
        {
            set.family_life = refreshing.as_ref().map(super::Refreshing::life);
        }
        let topics = if self.publish {
            Some(Topics::new(&self.events?, &self.environment, &self.service)?)
        } else {
            None
        };
        let store: Arc<dyn TokenStore> = match self.near {
            None => Arc::clone(&shared),
            Some(near) => {
                let (store, environment) = (Arc::clone(&shared), self.environment.clone());
                Arc::new(NearVerdicts::new(store, &self.service, near, environment)?)
            }
        };
        Ok(Tokens(Arc::new(Inner {
            store,
            #[cfg(feature = "jwt")]
            shared,
            topics,
            telemetry: Telemetry::of(&self.service),
            #[cfg(feature = "jwt")]
            jwt: self.jwt.build(self.issuer, &self.environment)?,
            #[cfg(feature = "jwt")]
            refreshing,
            service: self.service,
            environment: self.environment,
            set,
            max_life_was: self.max_life_was.map(Ttl::new).transpose()?,
            floor: self.floor,
            skew: self.skew,
            agreement: Agreement::default(),
        })))
    }
}
