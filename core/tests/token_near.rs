//! Verdicts that are kept in this process: no trip within their age, refused at once where the feed says so.

#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use stanchion::cache::Watch;
use stanchion::changes::{ChangeFeed, ChangeWatcher};
use stanchion::clock::ManualClock;
use stanchion::environment::Environment;
use stanchion::key::Name;
use stanchion::prelude::*;
use stanchion::time::{Timestamp, Ttl};
use stanchion::token::{
    Epoch, FirstUses, Mark, Reason, RefreshFamilies, Scope, TokenCapabilities, TokenFacts, TokenSettings,
    TokenStore, TokensBuilder, Verdict, revocation_name,
};
use stanchion::{Error, ErrorKind, Result};
use stanchion_memory::{MemoryBackend, MemoryConfig, MokaNear};

const AGE: Duration = seconds(10);
/// A moment before a copy is too old.
const NEARLY: Duration = Duration::from_millis(9_999);

/// A store whose checks are counted, whose feed says what the test says, and that may fail.
#[derive(Debug)]
struct Watched {
    right: Arc<dyn TokenStore>,
    checks: AtomicUsize,
    fails: AtomicBool,
    has_feed: bool,
    watchers: Mutex<Vec<Arc<dyn ChangeWatcher>>>,
    /// What is revoked once the next check was answered, before its caller has the answer.
    revoked_beside: Mutex<Option<Scope>>,
}

impl Watched {
    fn notify(&self, notify: impl Fn(&dyn ChangeWatcher)) {
        self.watchers.lock().unwrap().iter().for_each(|watcher| notify(&**watcher));
    }

    fn checks(&self) -> usize {
        self.checks.load(Ordering::Relaxed)
    }
}

impl ChangeFeed for Watched {
    fn watch(&self, _: &Name, watcher: Arc<dyn ChangeWatcher>) -> Result<Watch> {
        watcher.restored();
        self.watchers.lock().unwrap().push(watcher);
        Ok(Watch::new(|| {}))
    }
}

#[async_trait]
impl TokenStore for Watched {
    fn capabilities(&self) -> TokenCapabilities {
        self.right.capabilities()
    }
    fn first_uses(&self) -> Option<&dyn FirstUses> {
        self.right.first_uses()
    }
    fn families(&self) -> Option<&dyn RefreshFamilies> {
        self.right.families()
    }
    fn feed(&self) -> Option<&dyn ChangeFeed> {
        self.has_feed.then_some(self as &dyn ChangeFeed)
    }
    async fn revoke(&self, service: &Name, jti: &str, ttl: Ttl) -> Result<()> {
        self.right.revoke(service, jti, ttl).await
    }
    async fn revoke_all(&self, service: &Name, scope: &Scope, ttl: Ttl) -> Result<Epoch> {
        self.right.revoke_all(service, scope, ttl).await
    }
    async fn epochs(&self, service: &Name, scopes: &[Scope]) -> Result<Vec<Epoch>> {
        self.right.epochs(service, scopes).await
    }
    async fn check(&self, service: &Name, token: &TokenFacts) -> Result<Verdict> {
        self.checks.fetch_add(1, Ordering::Relaxed);
        if self.fails.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Unavailable, "away"));
        }
        let verdict = self.right.check(service, token).await;
        let beside = self.revoked_beside.lock().unwrap().take();
        if let Some(scope) = beside {
            self.right.revoke_all(service, &scope, Ttl::MAX).await?;
            let name = scope.segment()?;
            self.notify(|watcher| watcher.changed(&name));
        }
        verdict
    }
    async fn agree(
        &self,
        service: &Name,
        ours: &TokenSettings,
        before: Option<Ttl>,
    ) -> Result<TokenSettings> {
        self.right.agree(service, ours, before).await
    }
    async fn floor(&self, service: &Name) -> Result<Epoch> {
        self.right.floor(service).await
    }
}

struct World {
    backend: MemoryBackend,
    clock: ManualClock,
    store: Arc<Watched>,
    tokens: Tokens,
}

fn world_with(has_feed: bool, build: impl Fn(TokensBuilder) -> TokensBuilder) -> World {
    let clock = ManualClock::new();
    let environment = Environment::system().clock(Arc::new(clock.clone()));
    let backend = MemoryBackend::with(MemoryConfig::new().environment(environment.clone()));
    let store = Arc::new(Watched {
        right: backend.stores().token_store().unwrap(),
        checks: AtomicUsize::new(0),
        fails: AtomicBool::new(false),
        has_feed,
        watchers: Mutex::default(),
        revoked_beside: Mutex::default(),
    });
    let builder = TokensBuilder::new(Arc::clone(&store) as Arc<dyn TokenStore>, environment, auth());
    let tokens = build(builder.near(MokaNear::entries(100), AGE)).build().unwrap();
    World { backend, clock, store, tokens }
}

fn world() -> World {
    world_with(true, |builder| builder)
}

fn auth() -> Name {
    Name::new("auth").unwrap()
}

fn user() -> Scope {
    Scope::User("u1".to_owned())
}

fn facts(jti: &str) -> TokenFacts {
    TokenFacts::new(
        jti,
        vec![(Scope::Service, Mark::Epoch(Epoch::NEVER)), (user(), Mark::Epoch(Epoch::NEVER))],
    )
}

#[tokio::test]
async fn a_token_is_checked_once_within_the_age() {
    let World { clock, store, tokens, .. } = world();
    for _ in 0..100 {
        assert_eq!(tokens.check(&facts("j1")).await.unwrap(), Verdict::Active);
    }
    assert_eq!(store.checks(), 1);
    clock.advance(NEARLY);
    let _ = tokens.check(&facts("j1")).await.unwrap();
    assert_eq!(store.checks(), 1);
    clock.advance(Duration::from_millis(1));
    let _ = tokens.check(&facts("j1")).await.unwrap();
    assert_eq!(store.checks(), 2);
}

#[tokio::test]
async fn a_token_that_says_something_else_is_another() {
    let World { store, tokens, .. } = world();
    let _ = tokens.check(&facts("j1")).await.unwrap();
    let _ = tokens.check(&facts("j2")).await.unwrap();
    let _ = tokens.check(&TokenFacts::new("j1", Vec::new())).await.unwrap();
    let _ = tokens.check(&facts("j1").skew(seconds(1))).await.unwrap();
    assert_eq!(store.checks(), 4);
}

#[tokio::test]
async fn what_this_process_revokes_it_refuses_at_once_also_without_a_feed() {
    for has_feed in [true, false] {
        let World { tokens, .. } = world_with(has_feed, |builder| builder);
        for jti in ["j1", "j2"] {
            assert_eq!(tokens.check(&facts(jti)).await.unwrap(), Verdict::Active);
        }
        assert!(tokens.revoke("j1", Timestamp::from_secs(4_000_000_000)).await.unwrap());
        assert_eq!(tokens.check(&facts("j1")).await.unwrap(), Verdict::Revoked(Reason::Token));
        assert_eq!(tokens.check(&facts("j2")).await.unwrap(), Verdict::Active);
        tokens.revoke_user("u1").await.unwrap();
        assert_eq!(tokens.check(&facts("j2")).await.unwrap(), Verdict::Revoked(Reason::Scope(user())));
    }
}

#[tokio::test]
async fn what_another_process_revokes_is_refused_when_the_feed_says_so_and_after_the_age_at_the_latest() {
    let World { backend, clock, store, tokens } = world();
    let other = backend.handle().stores().token_store().unwrap();
    let changed = |name: String| move |watcher: &dyn ChangeWatcher| watcher.changed(&name);
    for jti in ["j1", "j2", "j3"] {
        let _ = tokens.check(&facts(jti)).await.unwrap();
    }
    other.revoke(&auth(), "j1", Ttl::MAX).await.unwrap();
    store.notify(changed(revocation_name("j1")));
    assert_eq!(tokens.check(&facts("j1")).await.unwrap(), Verdict::Revoked(Reason::Token));
    other.revoke(&auth(), "j3", Ttl::MAX).await.unwrap();
    assert_eq!(tokens.check(&facts("j3")).await.unwrap(), Verdict::Active, "nobody has said so");
    clock.advance(AGE);
    assert_eq!(tokens.check(&facts("j3")).await.unwrap(), Verdict::Revoked(Reason::Token));
    let _ = tokens.check(&facts("j2")).await.unwrap();
    other.revoke_all(&auth(), &user(), Ttl::MAX).await.unwrap();
    store.notify(changed(user().segment().unwrap()));
    assert_eq!(tokens.check(&facts("j2")).await.unwrap(), Verdict::Revoked(Reason::Scope(user())));
}

#[tokio::test]
async fn a_feed_that_comes_back_ends_what_was_copied_while_it_was_away() {
    let World { backend, store, tokens, .. } = world();
    let other = backend.handle().stores().token_store().unwrap();
    store.notify(ChangeWatcher::lost);
    assert_eq!(tokens.check(&facts("j1")).await.unwrap(), Verdict::Active);
    other.revoke(&auth(), "j1", Ttl::MAX).await.unwrap();
    assert_eq!(tokens.check(&facts("j1")).await.unwrap(), Verdict::Active, "within the age");
    store.notify(ChangeWatcher::restored);
    assert_eq!(tokens.check(&facts("j1")).await.unwrap(), Verdict::Revoked(Reason::Token));
}

#[tokio::test]
async fn a_revocation_beside_a_check_is_not_undone_by_its_reply() {
    let World { store, tokens, .. } = world();
    *store.revoked_beside.lock().unwrap() = Some(user());
    assert_eq!(tokens.check(&facts("j1")).await.unwrap(), Verdict::Active, "as it was when it was read");
    assert_eq!(tokens.check(&facts("j1")).await.unwrap(), Verdict::Revoked(Reason::Scope(user())));
}

#[tokio::test]
async fn an_outage_is_bridged_for_the_age_and_no_longer() {
    let World { clock, store, tokens, .. } = world();
    let _ = tokens.check(&facts("j1")).await.unwrap();
    // The server is gone, and so is its feed.
    store.fails.store(true, Ordering::Relaxed);
    store.notify(ChangeWatcher::lost);
    clock.advance(NEARLY);
    assert_eq!(tokens.check(&facts("j1")).await.unwrap(), Verdict::Active);
    assert!(tokens.check(&facts("j2")).await.is_err());
    clock.advance(Duration::from_millis(1));
    assert_eq!(tokens.check(&facts("j1")).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn what_the_store_has_lost_is_not_kept() {
    let World { store, tokens, .. } = world_with(true, TokensBuilder::floor);
    assert_eq!(tokens.check(&facts("j1")).await.unwrap(), Verdict::Revoked(Reason::Lost));
    assert_eq!(tokens.check(&facts("j1")).await.unwrap(), Verdict::Revoked(Reason::Scope(Scope::Service)));
    assert_eq!(tokens.check(&facts("j1")).await.unwrap(), Verdict::Revoked(Reason::Scope(Scope::Service)));
    assert_eq!(store.checks(), 2);
}

#[tokio::test]
async fn an_age_of_nothing_or_of_more_than_an_hour_is_refused() {
    let stores = MemoryBackend::new().stores();
    for age in [Duration::ZERO, hours(1) + Duration::from_millis(1), Duration::MAX] {
        let refused = stores.tokens().near(MokaNear::entries(10), age).build().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{refused}");
    }
    stores.tokens().near(MokaNear::entries(10), hours(1)).build().unwrap();
}

#[tokio::test]
async fn two_handles_of_the_memory_backend_are_notified_of_each_other() {
    let backend = MemoryBackend::new();
    let near = |stores: Stores| {
        stores.service("auth").unwrap().tokens().near(MokaNear::entries(10), hours(1)).build().unwrap()
    };
    let (here, there) = (near(backend.stores()), near(backend.handle().stores()));
    assert_eq!(there.check(&facts("j1")).await.unwrap(), Verdict::Active);
    here.revoke_user("u1").await.unwrap();
    assert_eq!(there.check(&facts("j1")).await.unwrap(), Verdict::Revoked(Reason::Scope(user())));
}

/// Each has a fence of its own, so what one keeps is nothing to the other.
#[tokio::test]
async fn an_engine_that_two_are_given_answers_neither_with_what_is_the_others() {
    #[derive(Debug, Clone)]
    struct Shared(Arc<MokaNear>);
    impl stanchion::cache::NearEngine for Shared {
        fn get(&self, key: &str) -> Option<stanchion::cache::NearEntry> {
            self.0.get(key)
        }
        fn insert(&self, key: &str, entry: stanchion::cache::NearEntry) {
            self.0.insert(key, entry);
        }
        fn remove(&self, key: &str) {
            self.0.remove(key);
        }
        fn clear(&self) {
            self.0.clear();
        }
        fn len(&self) -> u64 {
            self.0.len()
        }
    }
    let (engine, backend) = (Shared(Arc::new(MokaNear::entries(10))), MemoryBackend::new());
    let of = |service: &str| {
        backend.stores().service(service).unwrap().tokens().near(engine.clone(), AGE).build().unwrap()
    };
    let (one, other) = (of("one"), of("other"));
    other.revoke("j1", Timestamp::from_secs(4_000_000_000)).await.unwrap();
    assert_eq!(one.check(&facts("j1")).await.unwrap(), Verdict::Active);
    assert_eq!(other.check(&facts("j1")).await.unwrap(), Verdict::Revoked(Reason::Token));
}
