//! A place with sessions, their tokens, and a store of these that can fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use stanchion::clock::ManualClock;
use stanchion::key::Name;
use stanchion::prelude::*;
use stanchion::session::OpenedSession;
use stanchion::time::Ttl;
use stanchion::token::{Epoch, IssuedToken, TokenCapabilities, TokenFacts, TokenSettings, TokenStore};

use crate::key;
use crate::support::manual;

/// Tokens whose revocations of scopes fail, or wait, on demand.
#[derive(Debug)]
pub(crate) struct Stubborn {
    inner: Arc<dyn TokenStore>,
    /// After so many of sessions and users,
    pub(crate) sparing: AtomicU32,
    /// so many fail.
    pub(crate) failing: AtomicU32,
    pub(crate) is_waiting: AtomicBool,
    /// How many were asked for.
    pub(crate) revocations: AtomicU32,
}

impl Stubborn {
    /// Which fails nothing until that is set.
    pub(crate) fn over(inner: Arc<dyn TokenStore>) -> Arc<Self> {
        let (sparing, failing, revocations) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
        Arc::new(Self { inner, sparing, failing, is_waiting: AtomicBool::new(false), revocations })
    }
}

#[async_trait]
impl TokenStore for Stubborn {
    fn capabilities(&self) -> TokenCapabilities {
        self.inner.capabilities()
    }
    async fn revoke(&self, service: &Name, jti: &str, ttl: Ttl) -> stanchion::Result<()> {
        self.inner.revoke(service, jti, ttl).await
    }
    async fn revoke_all(&self, service: &Name, scope: &Scope, ttl: Ttl) -> stanchion::Result<Epoch> {
        self.revocations.fetch_add(1, SeqCst);
        while self.is_waiting.load(SeqCst) {
            tokio::task::yield_now().await;
        }
        let less = |count: &AtomicU32| count.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
        let counts = matches!(scope, Scope::Session(_) | Scope::User(_));
        if counts && !less(&self.sparing) && less(&self.failing) {
            return Err(Error::new(ErrorKind::Unavailable, "down"));
        }
        self.inner.revoke_all(service, scope, ttl).await
    }
    async fn epochs(&self, service: &Name, scopes: &[Scope]) -> stanchion::Result<Vec<Epoch>> {
        self.inner.epochs(service, scopes).await
    }
    async fn check(&self, service: &Name, token: &TokenFacts) -> stanchion::Result<Verdict> {
        self.inner.check(service, token).await
    }
    async fn agree(
        &self,
        service: &Name,
        ours: &TokenSettings,
        before: Option<Ttl>,
    ) -> stanchion::Result<TokenSettings> {
        self.inner.agree(service, ours, before).await
    }
    async fn floor(&self, service: &Name) -> stanchion::Result<Epoch> {
        self.inner.floor(service).await
    }
}

pub(crate) struct Place {
    pub(crate) clock: ManualClock,
    pub(crate) stores: Stores,
    pub(crate) store: Arc<Stubborn>,
    pub(crate) tokens: Tokens,
    pub(crate) sessions: Sessions,
}

pub(crate) fn place(limit: u32) -> Place {
    let (backend, clock) = manual();
    let right = backend.stores();
    let store = Stubborn::over(right.token_store().unwrap());
    let stores = Stores::builder(right.environment().clone())
        .backend(Arc::new(backend))
        .tokens(Arc::clone(&store) as _)
        .build();
    let tokens = of_life(&stores, minutes(15));
    let sessions = stores.sessions().limit(SessionLimit::EvictOldest(limit)).revoking_tokens(&tokens);
    Place { clock, store, tokens, sessions: sessions.build().unwrap(), stores }
}

pub(crate) fn of_life(stores: &Stores, life: Duration) -> Tokens {
    stores.tokens().max_life(life).key(key()).build().unwrap()
}

impl Place {
    pub(crate) async fn open(&self) -> OpenedSession {
        self.sessions.create("u1", Patch::new()).await.unwrap().unwrap()
    }

    pub(crate) async fn issue(&self, opened: &OpenedSession) -> IssuedToken {
        let issued = self.sessions.issue(&self.tokens, &opened.session, IssueOptions::new()).await;
        issued.unwrap().issued().unwrap()
    }

    pub(crate) async fn is_revoked(&self, token: &IssuedToken) -> bool {
        match self.tokens.verify(&token.token).await {
            Ok(_) => false,
            Err(VerifyError::Revoked(_)) => true,
            Err(other) => panic!("{other}"),
        }
    }
}

pub(crate) fn scope(opened: &OpenedSession) -> Scope {
    Scope::Session(opened.session.id().to_string())
}
