//! Revocations in the file.

use std::time::Duration;

use async_trait::async_trait;
use stanchion::Result;
use stanchion::contract::Contract;
use stanchion::key::Name;
use stanchion::time::Ttl;
use stanchion::token::{Epoch, Scope, TokenCapabilities, TokenFacts, TokenSettings, TokenStore, Verdict};

use super::state::{Change, Files, State, now};

fn epoch(state: &State, service: &Name, scope: &Scope) -> Epoch {
    Epoch::new(state.epochs.get(&format!("{service} {scope:?}")).copied().unwrap_or_default())
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl TokenStore for Files {
    fn capabilities(&self) -> TokenCapabilities {
        TokenCapabilities::new(Contract::V1)
    }

    async fn revoke(&self, service: &Name, jti: &str, _ttl: Ttl) -> Result<()> {
        self.change(Change::Revocation, |state| {
            state.revoked.insert(format!("{service} {jti}"));
            Ok(())
        })
    }

    async fn revoke_all(&self, service: &Name, scope: &Scope, _ttl: Ttl) -> Result<Epoch> {
        self.change(Change::Epoch, |state| {
            let next = now().max(epoch(state, service, scope).get() + 1);
            state.epochs.insert(format!("{service} {scope:?}"), next);
            Ok(Epoch::new(next))
        })
    }

    async fn epochs(&self, service: &Name, scopes: &[Scope]) -> Result<Vec<Epoch>> {
        self.look(|state| scopes.iter().map(|scope| epoch(state, service, scope)).collect())
    }

    async fn check(&self, service: &Name, token: &TokenFacts) -> Result<Verdict> {
        self.look(|state| {
            let revoked = state.revoked.contains(&format!("{service} {}", token.jti));
            let epochs: Vec<_> = token.marks.iter().map(|(scope, _)| epoch(state, service, scope)).collect();
            token.verdict(revoked, &epochs)
        })
    }

    async fn agree(
        &self,
        service: &Name,
        ours: &TokenSettings,
        before: Option<Ttl>,
    ) -> Result<TokenSettings> {
        ours.check()?;
        self.change(Change::Revocation, |state| {
            let stored = state.token_settings.entry(service.to_string()).or_default();
            let mut recorded = TokenSettings::new();
            if let Some(life) = stored.0 {
                recorded.max_life = Some(Ttl::new(Duration::from_millis(life))?);
            }
            recorded.issuer.clone_from(&stored.1);
            let recorded = recorded.agreed(ours, before);
            *stored = (recorded.max_life.map(Ttl::as_millis), recorded.issuer.clone());
            Ok(recorded)
        })
    }

    async fn floor(&self, service: &Name) -> Result<Epoch> {
        self.change(Change::Epoch, |state| {
            let epoch = match epoch(state, service, &Scope::Service) {
                Epoch::NEVER => now(),
                epoch => epoch.get(),
            };
            state.epochs.insert(format!("{service} {:?}", Scope::Service), epoch);
            Ok(Epoch::new(epoch))
        })
    }
}
