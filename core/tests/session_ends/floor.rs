//! After a loss of all revocations.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use stanchion::clock::ManualClock;
use stanchion::environment::Environment;
use stanchion::key::Name;
use stanchion::prelude::*;
use stanchion::time::Ttl;
use stanchion::token::{
    Epoch, Reason, TokenCapabilities, TokenFacts, TokenSettings, TokenStore, TokensBuilder,
};
use stanchion_memory::{MemoryBackend, MemoryConfig};

use crate::key;
use crate::support::manual;

#[tokio::test]
async fn a_floor_refuses_what_was_issued_before_everything_was_lost() {
    // A store that is empty again, as after a flush: another one in its place.
    let (first, second) = (MemoryBackend::new(), MemoryBackend::new());
    let tokens = |backend: &MemoryBackend, floor: bool| {
        let builder = backend.stores().tokens().key(key());
        if floor { builder.floor() } else { builder }.build().unwrap()
    };
    let issuer = tokens(&first, true);
    let issued = issuer.issue("u1", IssueOptions::new()).await.unwrap();
    issuer.verify(&issued.token).await.unwrap();
    issuer.revoke_user("u1").await.unwrap();
    assert!(tokens(&second, false).verify(&issued.token).await.is_ok(), "the contract without a floor");
    let after = tokens(&second, true);
    assert!(matches!(after.verify(&issued.token).await, Err(VerifyError::Revoked(_))));
    let again = after.issue("u1", IssueOptions::new()).await.unwrap();
    after.verify(&again.token).await.unwrap();
    // A token without a mark of its service can't be checked.
    let facts = TokenFacts::new("j1", Vec::new());
    assert_eq!(after.check(&facts).await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_floor_that_is_lost_while_services_run_is_set_anew() {
    let (backend, clock) = manual();
    let right = backend.stores();
    let build = |store: Arc<dyn TokenStore>| {
        let builder = TokensBuilder::new(store, right.environment().clone(), Name::new("app").unwrap());
        builder.floor().key(key()).build().unwrap()
    };
    let flushed = Arc::new(Flushed { stores: Mutex::new(right.token_store().unwrap()) });
    let tokens = build(flushed.clone());
    let issued = tokens.issue("u1", IssueOptions::new()).await.unwrap();
    tokens.verify(&issued.token).await.unwrap();
    clock.advance(seconds(1));
    *flushed.stores.lock().unwrap() = manual_at(&clock).stores().token_store().unwrap();
    assert!(matches!(tokens.verify(&issued.token).await, Err(VerifyError::Revoked(Reason::Lost))));
    assert!(matches!(
        tokens.verify(&issued.token).await,
        Err(VerifyError::Revoked(Reason::Scope(Scope::Service)))
    ));
    let again = tokens.issue("u1", IssueOptions::new()).await.unwrap();
    tokens.verify(&again.token).await.unwrap();
}

fn manual_at(clock: &ManualClock) -> MemoryBackend {
    let environment = Environment::system().clock(Arc::new(clock.clone()));
    MemoryBackend::with(MemoryConfig::new().environment(environment))
}

/// A store that can be emptied.
#[derive(Debug)]
struct Flushed {
    stores: Mutex<Arc<dyn TokenStore>>,
}

impl Flushed {
    fn now(&self) -> Arc<dyn TokenStore> {
        Arc::clone(&self.stores.lock().unwrap())
    }
}

#[async_trait]
impl TokenStore for Flushed {
    fn capabilities(&self) -> TokenCapabilities {
        self.now().capabilities()
    }
    async fn revoke(&self, service: &Name, jti: &str, ttl: Ttl) -> stanchion::Result<()> {
        self.now().revoke(service, jti, ttl).await
    }
    async fn revoke_all(&self, service: &Name, scope: &Scope, ttl: Ttl) -> stanchion::Result<Epoch> {
        self.now().revoke_all(service, scope, ttl).await
    }
    async fn epochs(&self, service: &Name, scopes: &[Scope]) -> stanchion::Result<Vec<Epoch>> {
        self.now().epochs(service, scopes).await
    }
    async fn check(&self, service: &Name, token: &TokenFacts) -> stanchion::Result<Verdict> {
        self.now().check(service, token).await
    }
    async fn agree(
        &self,
        service: &Name,
        ours: &TokenSettings,
        before: Option<Ttl>,
    ) -> stanchion::Result<TokenSettings> {
        self.now().agree(service, ours, before).await
    }
    async fn floor(&self, service: &Name) -> stanchion::Result<Epoch> {
        self.now().floor(service).await
    }
}
