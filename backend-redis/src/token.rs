//! Revoked tokens, and the epochs of scopes: plain keys with an expiry.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use stanchion::key::{Name, escape};
use stanchion::time::Ttl;
use stanchion::token::{Epoch, Scope, TokenCapabilities, TokenFacts, TokenSettings, TokenStore, Verdict};
use stanchion::{Error, ErrorKind, Result};

use crate::command::{Call, Routed};
use crate::shared::{CONTRACT, Shared};
use crate::{reply, scripts};

#[derive(Debug)]
pub(crate) struct RedisTokens(pub(crate) Arc<Shared>);

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
        TokenCapabilities::new(CONTRACT).call_deadline(self.0.deadline)
    }

    async fn revoke(&self, service: &Name, jti: &str, ttl: Ttl) -> Result<()> {
        let call = Call::write("token.revoke");
        escape(jti).map_err(|error| call.named(error))?;
        let key = self.0.layout().jti(service, jti);
        let ttl = ttl.as_millis().to_string();
        self.0.client.run(call, scripts::TOKEN_REVOKE.with(&[&key], &[ttl.as_bytes()])).await.map(drop)
    }

    async fn revoke_all(&self, service: &Name, scope: &Scope, ttl: Ttl) -> Result<Epoch> {
        let call = Call::write("token.revoke_all");
        let key = self.0.layout().scope(service, scope).map_err(|error| call.named(error))?;
        let ttl = ttl.as_millis().to_string();
        let epoch =
            self.0.client.run(call, scripts::TOKEN_REVOKE_ALL.with(&[&key], &[ttl.as_bytes()])).await?;
        reply::count(epoch).map(Epoch::new).ok_or_else(|| call.unexpected())
    }

    async fn epochs(&self, service: &Name, scopes: &[Scope]) -> Result<Vec<Epoch>> {
        let call = Call::read("token.epochs");
        let commands =
            scopes.iter().map(|scope| self.0.layout().scope(service, scope).map(|key| Routed::get(&key)));
        let commands = commands.collect::<Result<_>>().map_err(|error| call.named(error))?;
        let stored = call.all(self.0.client.batch(call, commands).await?)?;
        stored.into_iter().map(|stored| epoch(call, stored)).collect()
    }

    async fn check(&self, service: &Name, token: &TokenFacts) -> Result<Verdict> {
        let call = Call::read("token.check");
        self.capabilities().check_facts(token).map_err(|error| call.named(error))?;
        let mut commands = vec![Routed::get(&self.0.layout().jti(service, &token.jti))];
        for (scope, _) in &token.marks {
            commands.push(Routed::get(
                &self.0.layout().scope(service, scope).map_err(|error| call.named(error))?,
            ));
        }
        let mut stored = call.all(self.0.client.batch(call, commands).await?)?.into_iter();
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
        let key = self.0.layout().token_settings(service);
        let text = |life: Option<Ttl>| life.map(|life| life.as_millis().to_string()).unwrap_or_default();
        let (life, before) = (text(ours.max_life), text(before));
        let issuer = ours.issuer.as_deref().unwrap_or_default();
        let args = [life.as_bytes(), before.as_bytes(), issuer.as_bytes()];
        let recorded = self.0.client.run(call, scripts::TOKEN_AGREE.with(&[&key], &args)).await?;
        settings(recorded).ok_or_else(|| call.unexpected())
    }

    async fn floor(&self, service: &Name) -> Result<Epoch> {
        let call = Call::write("token.floor");
        let key = self.0.layout().scope(service, &Scope::Service).map_err(|error| call.named(error))?;
        let floor = self.0.client.run(call, scripts::TOKEN_FLOOR.with(&[&key], &[])).await?;
        // The script refuses what is stored if that is no number, so anything else here is no reply of it.
        reply::text(floor).and_then(|text| text.parse().ok()).map(Epoch::new).ok_or_else(|| call.unexpected())
    }
}

/// The reply of what is recorded.
fn settings(reply: redis::Value) -> Option<TokenSettings> {
    let mut items = reply::array(reply)?.into_iter();
    let (life, issuer) = (reply::text(items.next()?)?, reply::text(items.next()?)?);
    let mut recorded = TokenSettings::new();
    if !life.is_empty() {
        recorded.max_life = Some(Ttl::new(Duration::from_millis(life.parse().ok()?)).ok()?);
    }
    recorded.issuer = Some(issuer).filter(|issuer| !issuer.is_empty());
    Some(recorded)
}
