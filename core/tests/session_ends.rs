//! Ends are final: what is issued, revoked and retried where sessions and tokens meet.
#![cfg(feature = "jwt")]
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use stanchion::clock::{Clock, ManualClock};
use stanchion::environment::Environment;
use stanchion::key::Name;
use stanchion::prelude::*;
use stanchion::session::{OpenedSession, Unrevoked};
use stanchion::time::{Monotonic, Timestamp, Ttl};
use stanchion::token::{
    Epoch, IssuedToken, Mark, Reason, TokenCapabilities, TokenFacts, TokenSettings, TokenStore, TokensBuilder,
};
use stanchion_memory::MemoryBackend;

use support::{manual, settle};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// Tokens whose revocations of scopes fail, or wait, on demand.
#[derive(Debug)]
struct Stubborn {
    inner: Arc<dyn TokenStore>,
    /// After so many of sessions and users,
    sparing: AtomicU32,
    /// so many fail.
    failing: AtomicU32,
    is_waiting: AtomicBool,
    /// How many were asked for.
    revocations: AtomicU32,
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

struct Place {
    clock: ManualClock,
    stores: Stores,
    store: Arc<Stubborn>,
    tokens: Tokens,
    sessions: Sessions,
}

fn place(limit: u32) -> Place {
    let (backend, clock) = manual();
    let right = backend.stores();
    let store = Arc::new(Stubborn {
        inner: right.token_store().unwrap(),
        sparing: AtomicU32::new(0),
        failing: AtomicU32::new(0),
        is_waiting: AtomicBool::new(false),
        revocations: AtomicU32::new(0),
    });
    let stores = Stores::builder(right.environment().clone())
        .backend(Arc::new(backend))
        .tokens(Arc::clone(&store) as _)
        .build();
    let tokens = of_life(&stores, minutes(15));
    let sessions = stores.sessions().limit(SessionLimit::EvictOldest(limit)).revoking_tokens(&tokens);
    Place { clock, store, tokens, sessions: sessions.build().unwrap(), stores }
}

fn of_life(stores: &Stores, life: Duration) -> Tokens {
    stores.tokens().max_life(life).key(JwtKey::hs256("k1", SECRET).unwrap()).build().unwrap()
}

impl Place {
    async fn open(&self) -> OpenedSession {
        self.sessions.create("u1", Patch::new()).await.unwrap().unwrap()
    }

    async fn issue(&self, opened: &OpenedSession) -> IssuedToken {
        let issued = self.sessions.issue(&self.tokens, &opened.session, IssueOptions::new()).await;
        issued.unwrap().issued().unwrap()
    }

    async fn is_revoked(&self, token: &IssuedToken) -> bool {
        match self.tokens.verify(&token.token).await {
            Ok(_) => false,
            Err(VerifyError::Revoked(_)) => true,
            Err(other) => panic!("{other}"),
        }
    }
}

fn scope(opened: &OpenedSession) -> Scope {
    Scope::Session(opened.session.id().to_string())
}

#[tokio::test]
async fn nothing_is_issued_within_a_session_that_has_ended() {
    let place = place(10);
    let opened = place.open().await;
    let session = place.sessions.authenticate(&opened.token.reveal()).await.unwrap().unwrap();
    place.sessions.destroy(&opened.token).await.unwrap();
    let issued = place.sessions.issue(&place.tokens, &session, IssueOptions::new()).await.unwrap();
    assert!(matches!(issued, IssueOutcome::Gone), "{issued:?}");
}

#[tokio::test]
async fn a_token_lives_no_longer_than_its_session_would() {
    let place = place(10);
    let sessions = place.stores.sessions().idle_timeout(minutes(2)).absolute_timeout(minutes(3));
    let sessions = sessions.revoking_tokens(&place.tokens).build().unwrap();
    let opened = sessions.create("u1", Patch::new()).await.unwrap().unwrap();
    let life = async || {
        let issued = sessions.issue(&place.tokens, &opened.session, IssueOptions::new()).await.unwrap();
        let claims = issued.issued().unwrap().claims;
        claims.exp - claims.iat
    };
    // Two minutes, and a tenth of that, in which uses are not recorded.
    assert_eq!(life().await, 132);
    place.clock.advance(Duration::from_millis(500));
    assert_eq!(life().await, 132, "rounded up");
    place.clock.advance(Duration::from_millis(59_500));
    assert_eq!(life().await, 72);
    let _ = sessions.touch(&opened.token).await.unwrap();
    assert_eq!(life().await, 120, "issuing is no use, and touching is");
    place.clock.advance(minutes(1) + Duration::from_millis(59_999));
    assert_eq!(life().await, 1, "a second at least");
}

#[tokio::test]
async fn a_session_of_another_user_gives_no_token_and_is_not_ended() {
    let place = place(10);
    let opened = place.open().await;
    let id = opened.session.id();
    let (sessions, tokens) = (&place.sessions, &place.tokens);
    let refused = sessions.issue_id(tokens, "u2", id, IssueOptions::new()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    // Also of a user whose id falls into the same bucket.
    let bucket = stanchion::key::bucket_of("u1");
    let neighbour = (0..10_000_000)
        .map(|n| format!("n{n}"))
        .find(|user| stanchion::key::bucket_of(user) == bucket)
        .unwrap();
    let refused = sessions.issue_id(tokens, &neighbour, id, IssueOptions::new()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    for stranger in ["u2", &neighbour] {
        assert_eq!(sessions.destroy_id(stranger, id).await.unwrap(), DestroyOutcome::Gone);
    }
    assert_eq!(place.store.revocations.load(SeqCst), 0);
    assert!(sessions.load(&opened.token).await.unwrap().is_some());
    assert_eq!(sessions.destroy_id("", id).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(sessions.destroy_id("u1", id).await.unwrap(), DestroyOutcome::Destroyed);
    assert_eq!(sessions.destroy_id("u1", id).await.unwrap(), DestroyOutcome::Gone);
}

#[tokio::test]
async fn ending_what_is_not_there_writes_nothing() {
    let place = place(10);
    for _ in 0..1_000 {
        let made_up = SessionToken::generate("u1", &*place.stores.environment().random).unwrap();
        assert_eq!(place.sessions.destroy(&made_up).await.unwrap(), DestroyOutcome::Gone);
    }
    assert_eq!(place.store.revocations.load(SeqCst), 0);
}

#[tokio::test]
async fn tokens_that_the_sessions_do_not_revoke_are_not_issued_within_them() {
    let place = place(10);
    let opened = place.open().await;
    let other = of_life(&place.stores.service("other").unwrap(), minutes(15));
    let plain = place.stores.sessions().build().unwrap();
    for (sessions, tokens) in [(&place.sessions, &other), (&plain, &place.tokens)] {
        let refused = sessions.issue(tokens, &opened.session, IssueOptions::new()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Config);
    }
    assert_eq!(plain.begin("u1").await.unwrap_err().kind(), ErrorKind::Config);
    // The same tokens, built once more.
    let same = of_life(&place.stores, minutes(15));
    assert!(place.sessions.issue(&same, &opened.session, IssueOptions::new()).await.is_ok());
}

#[tokio::test]
async fn sessions_of_one_service_revoke_the_tokens_of_another() {
    let place = place(10);
    let tokens = of_life(&place.stores.service("auth").unwrap(), hours(1));
    let sessions = place.stores.service("web").unwrap().sessions().revoking_tokens(&tokens).build().unwrap();
    let opened = sessions.create("u1", Patch::new()).await.unwrap().unwrap();
    let issued =
        sessions.issue(&tokens, &opened.session, IssueOptions::new()).await.unwrap().issued().unwrap();
    tokens.verify(&issued.token).await.unwrap();
    sessions.destroy(&opened.token).await.unwrap();
    assert!(matches!(tokens.verify(&issued.token).await, Err(VerifyError::Revoked(_))));
}

#[tokio::test]
async fn evicted_sessions_lose_their_tokens_also_if_nobody_waits() {
    let place = place(1);
    let opened = place.open().await;
    let issued = place.issue(&opened).await;
    place.store.is_waiting.store(true, SeqCst);
    let sessions = place.sessions.clone();
    let second = tokio::spawn(async move { sessions.create("u1", Patch::new()).await });
    settle().await;
    second.abort();
    assert!(!place.is_revoked(&issued).await, "the revocation is under way");
    place.store.is_waiting.store(false, SeqCst);
    settle().await;
    assert!(place.is_revoked(&issued).await);
    // Nobody has the token of the second session.
    assert!(place.sessions.list("u1").await.unwrap().is_empty());
}

#[tokio::test]
async fn what_could_not_be_revoked_is_in_the_error_and_revoked_later() {
    let place = place(1);
    let opened = place.open().await;
    let issued = place.issue(&opened).await;
    // Once is not noticed; this is the caller's two tries, and two of the task's.
    place.store.failing.store(4, SeqCst);
    let error = place.sessions.create("u1", Patch::new()).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::Unknown));
    let unrevoked = Unrevoked::of(&error).unwrap();
    assert_eq!(unrevoked.scopes, [scope(&opened)]);
    assert!(unrevoked.is_retried);
    assert!(error.to_string().contains(&opened.session.id().to_string()), "{error}");
    assert!(place.sessions.list("u1").await.unwrap().is_empty());
    assert!(!place.is_revoked(&issued).await);
    settle().await;
    for pause in [100, 200] {
        place.clock.advance(Duration::from_millis(pause));
        settle().await;
        assert!(!place.is_revoked(&issued).await);
    }
    place.clock.advance(Duration::from_millis(400));
    settle().await;
    assert!(place.is_revoked(&issued).await);
}

#[tokio::test]
async fn a_revocation_that_fails_once_is_made_again_at_once() {
    let place = place(1);
    let opened = place.open().await;
    let issued = place.issue(&opened).await;
    place.store.failing.store(1, SeqCst);
    assert!(place.sessions.create("u1", Patch::new()).await.unwrap().is_some());
    assert!(place.is_revoked(&issued).await);
}

#[tokio::test]
async fn ending_again_revokes_what_was_left() {
    let place = place(10);
    let opened = place.open().await;
    let issued = place.issue(&opened).await;
    // Before the end it works, and after it fails.
    place.store.sparing.store(1, SeqCst);
    place.store.failing.store(2, SeqCst);
    let error = place.sessions.destroy_all("u1", None).await.unwrap_err();
    assert_eq!(Unrevoked::of(&error).unwrap().scopes, [scope(&opened)]);
    let before = place.store.revocations.load(SeqCst);
    assert!(place.sessions.destroy_all("u1", None).await.unwrap().is_empty());
    let asked = place.store.revocations.load(SeqCst) - before;
    assert_eq!(asked, 2, "the session's tokens again, and not the log-ins alone");
    assert!(place.is_revoked(&issued).await);
    let before = place.store.revocations.load(SeqCst);
    assert_eq!(place.sessions.destroy(&opened.token).await.unwrap(), DestroyOutcome::Gone);
    assert_eq!(place.store.revocations.load(SeqCst), before, "nothing is owed any more");
    // By the session's token, the same.
    let opened = place.open().await;
    place.store.sparing.store(1, SeqCst);
    place.store.failing.store(3, SeqCst);
    place.sessions.destroy(&opened.token).await.unwrap_err();
    assert_eq!(place.sessions.destroy(&opened.token).await.unwrap(), DestroyOutcome::Gone);
    assert_eq!(place.store.failing.load(SeqCst), 0, "tried again, and twice");
}

#[tokio::test]
async fn what_is_owed_is_tried_once_more_when_the_stores_close() {
    let place = place(1);
    let opened = place.open().await;
    let issued = place.issue(&opened).await;
    place.store.failing.store(2, SeqCst);
    place.sessions.create("u1", Patch::new()).await.unwrap_err();
    assert!(!place.is_revoked(&issued).await);
    settle().await;
    place.stores.close(seconds(1)).await.unwrap();
    assert_eq!(place.store.failing.load(SeqCst), 0);
    assert_eq!(place.store.revocations.load(SeqCst), 3, "two tries, and the last");
}

#[tokio::test]
async fn a_log_in_that_began_before_the_end_of_all_is_stale() {
    let place = place(10);
    let (sessions, tokens) = (&place.sessions, &place.tokens);
    let all = async || _ = sessions.destroy_all("u1", None).await.unwrap();
    let user = async || _ = tokens.revoke_user("u1").await.unwrap();
    let service = async || _ = tokens.revoke_scope(&Scope::Service).await.unwrap();
    let too_long = async || place.clock.advance(minutes(10));
    for ending in 0..4 {
        let attempt = sessions.begin("u1").await.unwrap();
        let other = sessions.begin("u2").await.unwrap();
        match ending {
            0 => all().await,
            1 => user().await,
            2 => service().await,
            _ => too_long().await,
        }
        let opened = sessions.create_for(&attempt, Patch::new()).await.unwrap();
        assert!(matches!(opened, OpenOutcome::Stale), "{ending}: {opened:?}");
        let issued = tokens.issue_for(&attempt, IssueOptions::new()).await.unwrap();
        assert!(matches!(issued, IssueOutcome::Stale), "{ending}: {issued:?}");
        assert!(sessions.list("u1").await.unwrap().is_empty());
        let opened = sessions.create_for(&other, Patch::new()).await.unwrap();
        assert_eq!(matches!(opened, OpenOutcome::Opened(_)), ending < 2, "{ending}: {opened:?}");
    }
    // What had not begun then does not end.
    let attempt = sessions.begin("u1").await.unwrap();
    assert!(matches!(sessions.create_for(&attempt, Patch::new()).await.unwrap(), OpenOutcome::Opened(_)));
    assert!(tokens.issue_for(&attempt, IssueOptions::new()).await.unwrap().issued().is_some());
    let elsewhere = of_life(&place.stores.service("other").unwrap(), minutes(15));
    let refused = elsewhere.issue_for(&attempt, IssueOptions::new()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn the_end_of_other_sessions_keeps_this_one_and_its_tokens() {
    let place = place(10);
    let (kept, ended) = (place.open().await, place.open().await);
    let (kept_token, ended_token) = (place.issue(&kept).await, place.issue(&ended).await);
    let attempt = place.sessions.begin("u1").await.unwrap();
    place.sessions.destroy_all("u1", Some(kept.session.id())).await.unwrap();
    assert!(!place.is_revoked(&kept_token).await && place.is_revoked(&ended_token).await);
    let opened = place.sessions.create_for(&attempt, Patch::new()).await.unwrap();
    assert!(matches!(opened, OpenOutcome::Stale), "it began with the old password");
}

#[tokio::test]
async fn services_that_differ_are_refused_with_both_values() {
    let (backend, clock) = manual();
    let stores = backend.stores();
    let issuer = of_life(&stores, hours(24));
    let issued = issuer.issue("u1", IssueOptions::new()).await.unwrap();
    let other = of_life(&backend.handle().stores(), hours(1));
    let calls = [
        other.revoke_user("u1").await.map(drop),
        other.revoke("j1", Timestamp::from_secs(u64::MAX / 2_000_000)).await.map(drop),
        other.issue("u1", IssueOptions::new()).await.map(drop),
        other.check(&TokenFacts::new("j1", Vec::new())).await.map(drop),
        other.begin("u1").await.map(drop),
        other.agree().await,
    ];
    for call in calls {
        let error = call.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("86400s") && error.to_string().contains("3600s"), "{error}");
    }
    match other.verify(&issued.token).await {
        Err(VerifyError::Unchecked(error)) => assert_eq!(error.kind(), ErrorKind::Config),
        other => panic!("{other:?}"),
    }
    let builder = || stores.tokens().max_life(hours(24)).key(JwtKey::hs256("k1", SECRET).unwrap());
    let error = builder().issuer("me").build().unwrap().agree().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("\"app\"") && error.to_string().contains("\"me\""), "{error}");
    // Who has set nothing takes over what is recorded.
    let revoker = stores.tokens().build().unwrap();
    revoker.revoke_user("u1").await.unwrap();
    clock.advance(hours(24) + seconds(29));
    assert!(matches!(issuer.verify(&issued.token).await, Err(VerifyError::Revoked(_))));
    assert!(stores.tokens().key(JwtKey::hs256("k1", SECRET).unwrap()).issuer("").build().is_err());
}

#[tokio::test]
async fn the_longest_life_is_changed_while_services_run() {
    let (backend, clock) = manual();
    let old = of_life(&backend.stores(), hours(1));
    let before = old.issue("u1", IssueOptions::new()).await.unwrap();
    let build = |was: Option<u64>| {
        let builder = backend.handle().stores().tokens().max_life(hours(24));
        let builder = match was {
            Some(was) => builder.max_life_was(hours(was)),
            None => builder,
        };
        builder.key(JwtKey::hs256("k1", SECRET).unwrap()).build().unwrap()
    };
    assert_eq!(build(None).agree().await.unwrap_err().kind(), ErrorKind::Config);
    assert_eq!(build(Some(2)).agree().await.unwrap_err().kind(), ErrorKind::Config);
    let changing = build(Some(1));
    let during = changing.issue("u1", IssueOptions::new()).await.unwrap();
    assert_eq!(during.claims.exp - during.claims.iat, 3_600, "the lesser, since the old one is still there");
    assert!(changing.issue("u1", IssueOptions::new().life(hours(2))).await.is_err());
    for tokens in [&old, &changing] {
        for token in [&before, &during] {
            tokens.verify(&token.token).await.unwrap();
        }
    }
    let new = build(None);
    let after = new.issue("u1", IssueOptions::new()).await.unwrap();
    changing.verify(&after.token).await.unwrap();
    changing.revoke_user("u1").await.unwrap();
    clock.advance(hours(24) + seconds(29));
    assert!(matches!(new.verify(&after.token).await, Err(VerifyError::Revoked(_))), "kept for the greater");
}

#[tokio::test]
async fn a_token_that_lives_for_too_long_is_refused() {
    // Two deployments, so that nobody compares them.
    let (long, _) = manual();
    let (short, clock) = manual();
    let key = || JwtKey::hs256("k1", SECRET).unwrap();
    let issuer = long.stores().tokens().max_life(hours(24)).key(key()).build().unwrap();
    let verifier = short.stores().tokens().max_life(minutes(15)).key(key()).build().unwrap();
    let token = |life| issuer.issue("u1", IssueOptions::new().life(life));
    verifier.verify(&token(minutes(15)).await.unwrap().token).await.unwrap();
    for life in [minutes(15) + seconds(1), hours(24)] {
        let refused = verifier.verify(&token(life).await.unwrap().token).await;
        assert!(matches!(refused, Err(VerifyError::Invalid(_))), "{refused:?}");
    }
    // Issued in the future, it would live on from there.
    let _ = clock;
    let (ahead, ahead_clock) = manual();
    ahead_clock.advance(minutes(1));
    let issuer = ahead.stores().tokens().max_life(minutes(15)).key(key()).build().unwrap();
    let refused = verifier.verify(&issuer.issue("u1", IssueOptions::new()).await.unwrap().token).await;
    assert!(matches!(refused, Err(VerifyError::Invalid(_))), "{refused:?}");
}

#[tokio::test]
async fn a_longest_life_is_set_once_and_taken_over_by_the_others() {
    let (backend, clock) = manual();
    let key = || JwtKey::hs256("k1", SECRET).unwrap();
    // They come before the issuer.
    let revoker = backend.handle().stores().tokens().build().unwrap();
    let verifier = backend.handle().stores().tokens().key(key()).build().unwrap();
    revoker.revoke_user("u1").await.unwrap();
    revoker.agree().await.unwrap();
    let _ = verifier.check(&TokenFacts::new("j1", Vec::new())).await.unwrap();
    let issuer = backend.stores().tokens().max_life(hours(24)).key(key()).build().unwrap();
    let issued = issuer.issue("u1", IssueOptions::new()).await.unwrap();
    revoker.revoke_user("u1").await.unwrap();
    for later in [0, 24 * 3_600] {
        clock.advance(seconds(later));
        assert!(matches!(verifier.verify(&issued.token).await, Err(VerifyError::Revoked(_))), "{later}");
    }
    // Who issues without having set anything does it for the recorded life too.
    let second = backend.handle().stores().tokens().key(key()).build().unwrap();
    let issued = second.issue("u1", IssueOptions::new()).await.unwrap();
    assert_eq!(issued.claims.exp - issued.claims.iat, 24 * 3_600);
    // And where nothing is recorded, its hour is.
    let first = backend.stores().service("other").unwrap().tokens().key(key()).build().unwrap();
    first.issue("u1", IssueOptions::new()).await.unwrap();
    let late = backend.stores().service("other").unwrap().tokens().max_life(hours(2)).build().unwrap();
    assert_eq!(late.revoke_user("u1").await.unwrap_err().kind(), ErrorKind::Config);
    assert!(backend.stores().tokens().max_life_was(hours(1)).build().is_err());
}

#[tokio::test]
async fn a_revocation_that_an_issuer_comes_beside_is_kept_for_its_tokens() {
    let (backend, clock) = manual();
    let key = || JwtKey::hs256("k1", SECRET).unwrap();
    let right = backend.stores();
    let store = Arc::new(Stubborn {
        inner: right.token_store().unwrap(),
        sparing: AtomicU32::new(0),
        failing: AtomicU32::new(0),
        is_waiting: AtomicBool::new(true),
        revocations: AtomicU32::new(0),
    });
    let revoker = TokensBuilder::new(store.clone(), right.environment().clone(), Name::new("app").unwrap());
    let revoker = revoker.build().unwrap();
    let revoking = tokio::spawn(async move { revoker.revoke_user("u1").await });
    settle().await;
    // Its revocation is under way, by the default of an hour.
    let issuer = right.tokens().max_life(hours(24)).key(key()).build().unwrap();
    let issued = issuer.issue("u1", IssueOptions::new()).await.unwrap();
    store.is_waiting.store(false, SeqCst);
    revoking.await.unwrap().unwrap();
    clock.advance(hours(24) + seconds(29));
    assert!(matches!(issuer.verify(&issued.token).await, Err(VerifyError::Revoked(_))));
}

/// A clock that is ahead of another, or behind it.
#[derive(Debug)]
struct Off(ManualClock, i64);

#[async_trait]
impl Clock for Off {
    fn now(&self) -> Monotonic {
        self.0.now()
    }
    fn wall(&self) -> Timestamp {
        let micros = self.0.wall().as_micros();
        Timestamp::from_micros(micros.saturating_add_signed(self.1 * 1_000_000))
    }
    async fn sleep_until(&self, deadline: Monotonic) {
        self.0.sleep_until(deadline).await;
    }
}

#[tokio::test]
async fn a_revoked_token_is_never_accepted_again_by_clocks_within_the_skew() {
    for (issuer, revoker, verifier) in
        [(0, 0, -20), (0, 20, 0), (0, 30, 0), (30, 0, 0), (0, 15, -15), (15, 15, -15)]
    {
        for revoked_after in [0, 3] {
            for is_scope in [false, true] {
                let (backend, clock) = manual();
                let at = |off: i64| {
                    let environment = Environment::system().clock(Arc::new(Off(clock.clone(), off)));
                    let builder = TokensBuilder::new(
                        backend.stores().token_store().unwrap(),
                        environment,
                        Name::new("app").unwrap(),
                    );
                    let key = JwtKey::hs256("k1", SECRET).unwrap();
                    builder.max_life(seconds(2)).key(key).build().unwrap()
                };
                let (issuer, revoker, verifier) = (at(issuer), at(revoker), at(verifier));
                let issued = issuer.issue("u1", IssueOptions::new()).await.unwrap();
                clock.advance(seconds(revoked_after));
                if is_scope {
                    revoker.revoke_user("u1").await.unwrap();
                } else {
                    assert!(revoker.revoke(&issued.claims.jti, issued.claims.expires_at()).await.unwrap());
                }
                for second in 0..120 {
                    let verdict = verifier.verify(&issued.token).await;
                    let is_refused = matches!(verdict, Err(VerifyError::Revoked(_) | VerifyError::Expired));
                    assert!(is_refused, "accepted after {second} s");
                    clock.advance(seconds(1));
                }
            }
        }
    }
}

#[tokio::test]
async fn a_foreign_token_fails_closed_within_the_skew() {
    let place = place(10);
    place.tokens.revoke_user("u1").await.unwrap();
    let now = place.clock.wall().as_secs();
    for (after, is_revoked) in [(0, true), (2, true), (29, true), (30, true), (31, false)] {
        let mark = Mark::IssuedAt(Timestamp::from_secs(now + after));
        let facts = TokenFacts::new("j1", vec![(Scope::User("u1".into()), mark)]);
        let verdict = place.tokens.check(&facts).await.unwrap();
        assert_eq!(verdict != Verdict::Active, is_revoked, "{after} s after");
    }
}

#[tokio::test]
async fn a_floor_refuses_what_was_issued_before_everything_was_lost() {
    // A store that is empty again, as after a flush: another one in its place.
    let (first, second) = (MemoryBackend::new(), MemoryBackend::new());
    let tokens = |backend: &MemoryBackend, floor: bool| {
        let builder = backend.stores().tokens().key(JwtKey::hs256("k1", SECRET).unwrap());
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
        builder.floor().key(JwtKey::hs256("k1", SECRET).unwrap()).build().unwrap()
    };
    let flushed = Arc::new(Flushed { stores: std::sync::Mutex::new(right.token_store().unwrap()) });
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
    MemoryBackend::with(stanchion_memory::MemoryConfig::new().environment(environment))
}

/// A store that can be emptied.
#[derive(Debug)]
struct Flushed {
    stores: std::sync::Mutex<Arc<dyn TokenStore>>,
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
