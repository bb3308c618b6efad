//! Revoked tokens, and the epochs of scopes: plain keys with an expiry.

mod family;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use stanchion::cache::Watch;
use stanchion::changes::{ChangeFeed, ChangeWatcher, ChangedKeys};
use stanchion::key::{Name, Namespace, escape};
use stanchion::time::Ttl;
use stanchion::token::{
    Epoch, FirstUses, RefreshFamilies, Scope, TokenCapabilities, TokenFacts, TokenSettings, TokenStore,
    Verdict,
};
use stanchion::{Error, ErrorKind, Result};

use crate::command::{Call, Routed};
use crate::config::Invalidation;
use crate::feed::Feed;
use crate::shared::{CONTRACT, Shared};
use crate::{reply, scripts};

#[derive(Debug)]
pub(crate) struct RedisTokens {
    shared: Arc<Shared>,
    /// `None` where the deployment is to have none.
    feed: Option<Feed>,
    invalidation: Invalidation,
}

impl RedisTokens {
    pub(crate) fn new(shared: &Arc<Shared>, feed: Option<&Feed>, invalidation: Invalidation) -> Self {
        Self { shared: Arc::clone(shared), feed: feed.cloned(), invalidation }
    }

    /// The channel on which revocations are published, empty where the server tracks them by itself.
    fn channel(&self, service: &Name) -> String {
        match self.invalidation {
            Invalidation::Tracking => String::new(),
            Invalidation::Bus => self.shared.layout().invalidated(&format!("{service}:token")),
        }
    }
}

/// A stored epoch. What is no number is an error, so that a check fails closed.
fn epoch(call: Call, stored: redis::Value) -> Result<Epoch> {
    let Some(bytes) = reply::maybe_bytes(stored).ok_or_else(|| call.unexpected())? else {
        return Ok(Epoch::NEVER);
    };
    let number = std::str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok());
    number
        .map(Epoch::new)
        .ok_or_else(|| call.named(Error::new(ErrorKind::Codec, "what is stored of the scope is no epoch")))
}

#[async_trait]
impl TokenStore for RedisTokens {
    fn capabilities(&self) -> TokenCapabilities {
        TokenCapabilities::new(CONTRACT).call_deadline(self.shared.deadline)
    }

    fn first_uses(&self) -> Option<&dyn FirstUses> {
        Some(self)
    }

    fn families(&self) -> Option<&dyn RefreshFamilies> {
        Some(self)
    }

    fn feed(&self) -> Option<&dyn ChangeFeed> {
        self.feed.is_some().then_some(self as &dyn ChangeFeed)
    }

    async fn revoke(&self, service: &Name, jti: &str, ttl: Ttl) -> Result<()> {
        let call = Call::write("token.revoke");
        escape(jti).map_err(|error| call.named(error))?;
        let key = self.shared.layout().jti(service, jti);
        let (ttl, channel) = (ttl.as_millis().to_string(), self.channel(service));
        let args = [ttl.as_bytes(), channel.as_bytes()];
        self.shared.client.run(call, scripts::TOKEN_REVOKE.with(&[&key], &args)).await.map(drop)
    }

    async fn revoke_all(&self, service: &Name, scope: &Scope, ttl: Ttl) -> Result<Epoch> {
        let call = Call::write("token.revoke_all");
        let key = self.shared.layout().scope(service, scope).map_err(|error| call.named(error))?;
        let (ttl, channel) = (ttl.as_millis().to_string(), self.channel(service));
        let args = [ttl.as_bytes(), channel.as_bytes()];
        let epoch = self.shared.client.run(call, scripts::TOKEN_REVOKE_ALL.with(&[&key], &args)).await?;
        reply::count(epoch).map(Epoch::new).ok_or_else(|| call.unexpected())
    }

    async fn epochs(&self, service: &Name, scopes: &[Scope]) -> Result<Vec<Epoch>> {
        let call = Call::read("token.epochs");
        let commands = scopes
            .iter()
            .map(|scope| self.shared.layout().scope(service, scope).map(|key| Routed::get(&key)));
        let commands = commands.collect::<Result<_>>().map_err(|error| call.named(error))?;
        let stored = call.all(self.shared.client.batch(call, commands).await?)?;
        stored.into_iter().map(|stored| epoch(call, stored)).collect()
    }

    async fn check(&self, service: &Name, token: &TokenFacts) -> Result<Verdict> {
        let call = Call::read("token.check");
        self.capabilities().check_facts(token).map_err(|error| call.named(error))?;
        let mut commands = vec![Routed::get(&self.shared.layout().jti(service, &token.jti))];
        for (scope, _) in &token.marks {
            commands.push(Routed::get(
                &self.shared.layout().scope(service, scope).map_err(|error| call.named(error))?,
            ));
        }
        let mut stored = call.all(self.shared.client.batch(call, commands).await?)?.into_iter();
        let jti = stored.next().and_then(reply::maybe_bytes).ok_or_else(|| call.unexpected())?;
        let epochs = stored.map(|stored| epoch(call, stored)).collect::<Result<Vec<_>>>()?;
        Ok(token.verdict(jti.is_some(), &epochs))
    }

    async fn agree(
        &self,
        service: &Name,
        ours: &TokenSettings,
        before: Option<Ttl>,
    ) -> Result<TokenSettings> {
        let call = Call::write("token.agree");
        ours.check().map_err(|error| call.named(error))?;
        let key = self.shared.layout().token_settings(service);
        let text = |life: Option<Ttl>| life.map(|life| life.as_millis().to_string()).unwrap_or_default();
        let (life, before, families) = (text(ours.max_life), text(before), text(ours.family_life));
        let issuer = ours.issuer.as_deref().unwrap_or_default();
        let args = [life.as_bytes(), before.as_bytes(), issuer.as_bytes(), families.as_bytes()];
        let recorded = self.shared.client.run(call, scripts::TOKEN_AGREE.with(&[&key], &args)).await?;
        settings(recorded).ok_or_else(|| call.unexpected())
    }

    async fn floor(&self, service: &Name) -> Result<Epoch> {
        let call = Call::write("token.floor");
        let key = self.shared.layout().scope(service, &Scope::Service).map_err(|error| call.named(error))?;
        let floor = self
            .shared
            .client
            .run(call, scripts::TOKEN_FLOOR.with(&[&key], &[self.channel(service).as_bytes()]))
            .await?;
        // The script refuses what is stored if that is no number, so anything else here is no reply of it.
        reply::text(floor).and_then(|text| text.parse().ok()).map(Epoch::new).ok_or_else(|| call.unexpected())
    }
}

impl ChangeFeed for RedisTokens {
    fn watch(&self, service: &Name, watcher: Arc<dyn ChangeWatcher>) -> Result<Watch> {
        let call = Call::read("token.watch");
        let feed = self.feed.as_ref().ok_or_else(|| call.named(Error::unsupported("there is no feed")))?;
        let namespace = Namespace::new(service.as_str(), "token")?;
        let watcher = Arc::new(ChangedKeys::new(watcher, |key| key.splitn(3, ':').nth(2)));
        feed.watch(&namespace, watcher).map_err(|error| call.named(error))
    }
}

/// The reply of what is recorded.
fn settings(reply: redis::Value) -> Option<TokenSettings> {
    let mut items = reply::array(reply)?.into_iter();
    let mut text = || items.next().and_then(reply::text);
    let (life, issuer, families) = (text()?, text()?, text()?);
    let mut recorded = TokenSettings::new();
    if !life.is_empty() {
        recorded.max_life = Some(ttl(&life)?);
    }
    if !families.is_empty() {
        recorded.family_life = Some(ttl(&families)?);
    }
    recorded.issuer = Some(issuer).filter(|issuer| !issuer.is_empty());
    Some(recorded)
}

fn ttl(millis: &str) -> Option<Ttl> {
    Ttl::new(Duration::from_millis(millis.parse().ok()?)).ok()
}
