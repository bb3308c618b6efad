//! Revoked tokens and epochs.

mod family;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use sha2::{Digest, Sha256};
use stanchion::Result;
use stanchion::cache::Watch;
use stanchion::changes::{ChangeFeed, ChangeWatcher, ChangedKeys};
use stanchion::key::{Name, Namespace, escape};
use stanchion::time::{Monotonic, Ttl};
use stanchion::token::{
    Epoch, FirstUses, RefreshFamilies, Scope, TokenCapabilities, TokenFacts, TokenSettings, TokenStore,
    Verdict, revocation_name,
};

use crate::expiring::Expiring;

use crate::shared::{CONTRACT, Handle, NEVER_WAITS, locked};
use crate::watchers::Watchers;

/// A token's id as it is stored: hashed.
type Jti = [u8; 32];

fn hash(jti: &str) -> Jti {
    Sha256::digest(jti.as_bytes()).into()
}

#[derive(Debug, Default)]
pub(crate) struct State {
    revoked: Expiring<(Name, Jti), ()>,
    epochs: Expiring<(Name, Scope), Epoch>,
    single: family::State,
    settings: HashMap<Name, TokenSettings>,
    watchers: Watchers,
}

impl State {
    /// What is stored under this name has changed.
    fn changed(&self, service: &Name, name: &str) {
        self.watchers.changed(&format!("{service}:token:{name}"));
    }

    /// Ends the watches of a handle.
    pub(crate) fn end_watches_of(&mut self, handle: u64) {
        self.watchers.end_all_of(handle);
    }

    fn epoch(&self, service: &Name, scope: &Scope, now: Monotonic) -> Epoch {
        self.epochs.get(&(service.clone(), scope.clone()), now).copied().unwrap_or(Epoch::NEVER)
    }
}

#[derive(Debug)]
pub(crate) struct MemoryTokens {
    handle: Arc<Handle>,
    state: Arc<Mutex<State>>,
}

impl MemoryTokens {
    pub(crate) fn new(handle: &Arc<Handle>, state: &Arc<Mutex<State>>) -> Self {
        Self { handle: Arc::clone(handle), state: Arc::clone(state) }
    }
}

#[async_trait]
impl TokenStore for MemoryTokens {
    fn capabilities(&self) -> TokenCapabilities {
        TokenCapabilities::new(CONTRACT).call_deadline(NEVER_WAITS)
    }

    fn first_uses(&self) -> Option<&dyn FirstUses> {
        Some(self)
    }

    fn families(&self) -> Option<&dyn RefreshFamilies> {
        Some(self)
    }

    fn feed(&self) -> Option<&dyn ChangeFeed> {
        Some(self)
    }

    async fn revoke(&self, service: &Name, jti: &str, ttl: Ttl) -> Result<()> {
        self.handle.operate("token.revoke", || {
            escape(jti)?;
            let (mut state, now) = (locked(&self.state), self.handle.now());
            state.revoked.purge(now);
            let key = (service.clone(), hash(jti));
            let until =
                now.saturating_add(ttl.as_duration()).max(state.revoked.deadline(&key, now).unwrap_or(now));
            state.revoked.insert(key, (), until);
            state.changed(service, &revocation_name(jti));
            Ok(())
        })
    }

    async fn revoke_all(&self, service: &Name, scope: &Scope, ttl: Ttl) -> Result<Epoch> {
        self.handle.operate("token.revoke_all", || {
            let name = scope.segment()?;
            let (mut state, now) = (locked(&self.state), self.handle.now());
            state.epochs.purge(now);
            let last = state.epoch(service, scope, now);
            let epoch = Epoch::new(self.handle.wall().as_micros().max(last.get().saturating_add(1)));
            let key = (service.clone(), scope.clone());
            let until =
                now.saturating_add(ttl.as_duration()).max(state.epochs.deadline(&key, now).unwrap_or(now));
            state.epochs.insert(key, epoch, until);
            state.changed(service, &name);
            Ok(epoch)
        })
    }

    async fn epochs(&self, service: &Name, scopes: &[Scope]) -> Result<Vec<Epoch>> {
        self.handle.operate("token.epochs", || {
            scopes.iter().try_for_each(|scope| scope.segment().map(drop))?;
            let (state, now) = (locked(&self.state), self.handle.now());
            Ok(scopes.iter().map(|scope| state.epoch(service, scope, now)).collect())
        })
    }

    async fn check(&self, service: &Name, token: &TokenFacts) -> Result<Verdict> {
        self.handle.operate("token.check", || {
            self.capabilities().check_facts(token)?;
            let (state, now) = (locked(&self.state), self.handle.now());
            let revoked = state.revoked.get(&(service.clone(), hash(&token.jti)), now).is_some();
            let epochs: Vec<_> =
                token.marks.iter().map(|(scope, _)| state.epoch(service, scope, now)).collect();
            Ok(token.verdict(revoked, &epochs))
        })
    }

    async fn agree(
        &self,
        service: &Name,
        ours: &TokenSettings,
        before: Option<Ttl>,
    ) -> Result<TokenSettings> {
        self.handle.operate("token.agree", || {
            ours.check()?;
            let mut state = locked(&self.state);
            let recorded = state.settings.entry(service.clone()).or_default();
            *recorded = std::mem::take(recorded).agreed(ours, before);
            Ok(recorded.clone())
        })
    }

    async fn floor(&self, service: &Name) -> Result<Epoch> {
        self.handle.operate("token.floor", || {
            let (mut state, now) = (locked(&self.state), self.handle.now());
            state.epochs.purge(now);
            let epoch = match state.epoch(service, &Scope::Service, now) {
                Epoch::NEVER => Epoch::new(self.handle.wall().as_micros().max(1)),
                epoch => epoch,
            };
            // At the end of time: it never expires.
            let never = Monotonic::from_origin(Duration::MAX);
            state.epochs.insert((service.clone(), Scope::Service), epoch, never);
            state.changed(service, &Scope::Service.segment()?);
            Ok(epoch)
        })
    }
}

impl ChangeFeed for MemoryTokens {
    fn watch(&self, service: &Name, watcher: Arc<dyn ChangeWatcher>) -> Result<Watch> {
        self.handle.operate("token.watch", || {
            let namespace = Namespace::new(service.as_str(), "token")?;
            let watcher = Arc::new(ChangedKeys::new(watcher, |key| key.splitn(3, ':').nth(2)));
            let mut state = locked(&self.state);
            self.handle.check_open()?;
            let number = state.watchers.begin(self.handle.number, &namespace, watcher);
            let state = Arc::downgrade(&self.state);
            Ok(Watch::new(move || {
                if let Some(state) = state.upgrade() {
                    locked(&state).watchers.end(number);
                }
            }))
        })
    }
}
