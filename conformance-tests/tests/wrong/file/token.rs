//! Revocations in the file.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use stanchion::Result;
use stanchion::changes::ChangeFeed;
use stanchion::contract::Contract;
use stanchion::key::Name;
use stanchion::time::Ttl;
use stanchion::token::{
    Epoch, FamilyId, FirstUses, NewFamily, RefreshFamilies, RotateOutcome, Rotation, Scope,
    TokenCapabilities, TokenFacts, TokenSettings, TokenStore, Verdict,
};

use super::state::{Change, Family, Files, State, now};

fn epoch(state: &State, service: &Name, scope: &Scope) -> Epoch {
    Epoch::new(state.epochs.get(&format!("{service} {scope:?}")).copied().unwrap_or_default())
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl TokenStore for Files {
    fn capabilities(&self) -> TokenCapabilities {
        TokenCapabilities::new(Contract::V1)
    }

    fn first_uses(&self) -> Option<&dyn FirstUses> {
        Some(self)
    }

    fn families(&self) -> Option<&dyn RefreshFamilies> {
        Some(self)
    }

    fn feed(&self) -> Option<&dyn ChangeFeed> {
        None
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
            if let Some(life) = stored.2 {
                recorded.family_life = Some(Ttl::new(Duration::from_millis(life))?);
            }
            let recorded = recorded.agreed(ours, before);
            *stored = (
                recorded.max_life.map(Ttl::as_millis),
                recorded.issuer.clone(),
                recorded.family_life.map(Ttl::as_millis),
            );
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

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl FirstUses for Files {
    async fn claim(&self, service: &Name, name: &str, _ttl: Ttl) -> Result<bool> {
        self.change(Change::Claim, |state| Ok(state.used.insert(format!("{service} {name}"))))
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl RefreshFamilies for Files {
    async fn open_family(&self, service: &Name, family: &NewFamily) -> Result<bool> {
        self.change(Change::Rotation, |state| {
            let key = format!("{service} {}", family.id);
            let (current, data) = (family.current.to_string(), family.data.to_vec());
            let new = Family { current, last: None, salt: String::new(), data };
            let is_new = !state.families.contains_key(&key);
            if is_new {
                state.families.insert(key, new);
            }
            Ok(is_new)
        })
    }

    async fn rotate(&self, service: &Name, rotation: &Rotation) -> Result<RotateOutcome> {
        self.change(Change::Rotation, |state| {
            let key = format!("{service} {}", rotation.id);
            let Some(family) = state.families.get_mut(&key) else { return Ok(RotateOutcome::Gone) };
            let (data, presented) = (Bytes::from(family.data.clone()), rotation.presented.to_string());
            if family.current == presented {
                family.current = rotation.successor.to_string();
                (family.last, family.salt) = (Some(presented), rotation.salt.to_string());
                return Ok(RotateOutcome::Rotated { data, left: rotation.idle });
            }
            if family.last.as_ref() == Some(&presented) {
                let salt = family.salt.parse()?;
                return Ok(RotateOutcome::Repeated { data, salt, left: rotation.idle });
            }
            state.families.remove(&key);
            Ok(RotateOutcome::Reused { data })
        })
    }

    async fn end_family(&self, service: &Name, id: &FamilyId) -> Result<Option<Bytes>> {
        self.change(Change::Rotation, |state| {
            let family = state.families.remove(&format!("{service} {id}"));
            Ok(family.map(|family| Bytes::from(family.data)))
        })
    }
}
