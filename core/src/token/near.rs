//! A token store that answers checks from copies of what it answered before.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::cache::{NearEngine, NearEntry, NearValue, Watch};
use crate::changes::{ChangeFeed, ChangeWatcher, Fence, Seen};
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::key::Name;
use crate::telemetry::{Counter, token as metric};
use crate::time::{Ttl, hours};
use crate::token::{
    Epoch, FirstUses, Reason, RefreshFamilies, Scope, TokenCapabilities, TokenFacts, TokenSettings,
    TokenStore, Verdict, revocation_name,
};

/// In front of a store, for one service: all calls pass through, so that what this process revokes is refused by it at once.
pub(super) struct NearVerdicts {
    store: Arc<dyn TokenStore>,
    service: Name,
    engine: Arc<dyn NearEngine>,
    max_age: Duration,
    environment: Environment,
    fence: Arc<Fence>,
    hits: Counter,
    /// `None` where the store notifies of nothing: then copies end by their age alone.
    _watch: Option<Watch>,
}

/// What was asked, and what came of it.
struct Copied {
    facts: TokenFacts,
    verdict: Verdict,
    seen: Seen,
    /// Of whose it is: another façade may have been given the same engine.
    fence: Arc<Fence>,
}

/// Counts a revocation when it is over, also where its caller has left: whether it was done is not known then.
struct Revoking<'a> {
    fence: &'a Fence,
    name: String,
}

impl Drop for Revoking<'_> {
    fn drop(&mut self) {
        self.fence.changed(&self.name);
    }
}

impl fmt::Debug for NearVerdicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NearVerdicts")
            .field("store", &self.store)
            .field("max_age", &self.max_age)
            .finish_non_exhaustive()
    }
}

impl NearVerdicts {
    /// The greatest age.
    pub(super) const OLDEST: Duration = hours(1);

    pub(super) fn new(
        store: Arc<dyn TokenStore>,
        service: &Name,
        engine: Arc<dyn NearEngine>,
        max_age: Duration,
        environment: Environment,
    ) -> Result<Self> {
        if max_age.is_zero() || max_age > Self::OLDEST {
            let oldest = Self::OLDEST;
            return Err(Error::invalid(format!("a verdict is kept for up to {oldest:?}, got {max_age:?}")));
        }
        let fence = Arc::<Fence>::default();
        let watcher = Arc::clone(&fence) as Arc<dyn ChangeWatcher>;
        let watch = store.feed().map(|feed| feed.watch(service, watcher)).transpose()?;
        let hits = Counter::new(&metric::NEAR_HITS, &[service.into()]);
        Ok(Self { store, service: service.clone(), engine, max_age, environment, fence, hits, _watch: watch })
    }

    /// The verdict that was answered to the same question, if that is still known to be right.
    fn copied(&self, token: &TokenFacts) -> Option<Verdict> {
        if self.environment.tasks.is_closing() {
            return None;
        }
        let entry = self.engine.get(&token.jti)?;
        if entry.fresh_until <= self.environment.clock.now() {
            return None;
        }
        let value = entry.value?;
        let copied = value.downcast_ref::<Copied>()?;
        let is_good = Arc::ptr_eq(&copied.fence, &self.fence)
            && copied.facts == *token
            && self.fence.is_unchanged(&copied.seen);
        is_good.then(|| copied.verdict.clone())
    }

    async fn ask(&self, token: &TokenFacts) -> Result<Verdict> {
        let (seen, asked_at) = (self.fence.see(&token.names()?), self.environment.clock.now());
        let verdict = self.store.check(&self.service, token).await?;
        // Whatever is found to be lost is set again, and another verdict follows.
        if verdict != Verdict::Revoked(Reason::Lost) {
            let fence = Arc::clone(&self.fence);
            let copied = Copied { facts: token.clone(), verdict: verdict.clone(), seen, fence };
            let value: NearValue = Arc::new(copied);
            let fresh_until = asked_at.saturating_add(self.max_age);
            // A check that was asked for later may have been answered sooner.
            if self.engine.get(&token.jti).is_none_or(|entry| entry.fresh_until <= fresh_until) {
                self.engine.insert(&token.jti, NearEntry::new(Some(value), fresh_until));
            }
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
        let _revoking = Revoking { fence: &self.fence, name: revocation_name(jti) };
        self.store.revoke(service, jti, ttl).await
    }

    async fn revoke_all(&self, service: &Name, scope: &Scope, ttl: Ttl) -> Result<Epoch> {
        let _revoking = Revoking { fence: &self.fence, name: scope.segment()? };
        self.store.revoke_all(service, scope, ttl).await
    }

    async fn epochs(&self, service: &Name, scopes: &[Scope]) -> Result<Vec<Epoch>> {
        self.store.epochs(service, scopes).await
    }

    async fn check(&self, service: &Name, token: &TokenFacts) -> Result<Verdict> {
        if *service != self.service {
            return self.store.check(service, token).await;
        }
        match self.copied(token) {
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
        let _revoking = Revoking { fence: &self.fence, name: Scope::Service.segment()? };
        self.store.floor(service).await
    }
}
