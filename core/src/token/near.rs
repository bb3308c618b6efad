//! A token store that answers checks from copies of what it answered before.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{
    Epoch, FirstUses, Reason, RefreshFamilies, Scope, TokenCapabilities, TokenFacts, TokenSettings,
    TokenStore, Verdict, revocation_name,
};
use crate::cache::NearEngine;
use crate::changes::ChangeFeed;
use crate::copies::Copies;
use crate::environment::Environment;
use crate::error::Result;
use crate::key::Name;
use crate::telemetry::{Counter, token as metric};
use crate::time::{Ttl, hours};

/// In front of a store, for one service: all calls pass through, so that what is revoked through it, it refuses at once.
#[derive(Debug)]
pub(super) struct NearVerdicts {
    store: Arc<dyn TokenStore>,
    service: Name,
    copies: Copies<(TokenFacts, Verdict)>,
    hits: Counter,
}

impl NearVerdicts {
    /// The greatest age.
    pub(super) const OLDEST: Duration = hours(1);

    pub(super) fn new(
        store: Arc<dyn TokenStore>,
        service: &Name,
        near: (Arc<dyn NearEngine>, Duration),
        environment: Environment,
    ) -> Result<Self> {
        let copies = Copies::new(store.feed(), service, near, Self::OLDEST, environment)?;
        let hits = Counter::new(&metric::NEAR_HITS, &[service.into()]);
        Ok(Self { store, service: service.clone(), copies, hits })
    }

    async fn ask(&self, token: &TokenFacts) -> Result<Verdict> {
        let asked = self.copies.asking(&token.names()?);
        let verdict = self.store.check(&self.service, token).await?;
        // Whatever is found to be lost is set again, and another verdict follows.
        if verdict != Verdict::Revoked(Reason::Lost) {
            self.copies.keep(&token.jti, asked, (token.clone(), verdict.clone()), Duration::MAX);
        }
        Ok(verdict)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl TokenStore for NearVerdicts {
    fn capabilities(&self) -> TokenCapabilities {
        self.store.capabilities()
    }

    fn first_uses(&self) -> Option<&dyn FirstUses> {
        self.store.first_uses()
    }

    fn families(&self) -> Option<&dyn RefreshFamilies> {
        self.store.families()
    }

    fn feed(&self) -> Option<&dyn ChangeFeed> {
        self.store.feed()
    }

    async fn revoke(&self, service: &Name, jti: &str, ttl: Ttl) -> Result<()> {
        let _changing = self.copies.changing().one(revocation_name(jti));
        self.store.revoke(service, jti, ttl).await
    }

    async fn revoke_all(&self, service: &Name, scope: &Scope, ttl: Ttl) -> Result<Epoch> {
        let _changing = self.copies.changing().one(scope.segment()?);
        self.store.revoke_all(service, scope, ttl).await
    }

    async fn epochs(&self, service: &Name, scopes: &[Scope]) -> Result<Vec<Epoch>> {
        self.store.epochs(service, scopes).await
    }

    async fn check(&self, service: &Name, token: &TokenFacts) -> Result<Verdict> {
        if *service != self.service {
            return self.store.check(service, token).await;
        }
        let same = |(facts, verdict): &(TokenFacts, Verdict), _| (facts == token).then(|| verdict.clone());
        match self.copies.get(&token.jti, same) {
            Some(verdict) => {
                self.hits.one();
                Ok(verdict)
            }
            None => self.ask(token).await,
        }
    }

    async fn agree(
        &self,
        service: &Name,
        ours: &TokenSettings,
        before: Option<Ttl>,
    ) -> Result<TokenSettings> {
        self.store.agree(service, ours, before).await
    }

    async fn floor(&self, service: &Name) -> Result<Epoch> {
        let _changing = self.copies.changing().one(Scope::Service.segment()?);
        self.store.floor(service).await
    }
}
