//! The session and token façades, and how ending a session revokes its tokens.

#![cfg(feature = "jwt")]
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::sync::Arc;

use async_trait::async_trait;
use stanchion::event::standard::{SessionCreated, SessionEnd, SessionExpired};
use stanchion::key::Name;
use stanchion::prelude::*;
use stanchion::time::{Timestamp, Ttl};
use stanchion::token::{
    Epoch, IssueOptions, Mark, Reason, TokenCapabilities, TokenFacts, TokenSettings, TokenStore, Verdict,
};

use support::{manual, settle};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn tokens(stores: &Stores) -> Tokens {
    stores.tokens().max_life(minutes(30)).key(JwtKey::hs256("k1", SECRET).unwrap()).build().unwrap()
}

async fn issue(
    sessions: &Sessions,
    tokens: &Tokens,
    opened: &stanchion::session::OpenedSession,
) -> stanchion::token::IssuedToken {
    sessions.issue(tokens, &opened.session, IssueOptions::new()).await.unwrap().issued().unwrap()
}

async fn open(sessions: &Sessions, user: &str) -> stanchion::session::OpenedSession {
    sessions.create(user, Patch::new()).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_session_lives_by_use_and_dies_by_age() {
    let (backend, clock) = manual();
    let sessions =
        backend.stores().sessions().idle_timeout(minutes(30)).absolute_timeout(hours(2)).build().unwrap();
    let cookie = open(&sessions, "u1").await.token.reveal();
    for _ in 0..5 {
        clock.advance(minutes(20));
        assert_eq!(sessions.authenticate(&cookie).await.unwrap().unwrap().user(), "u1");
    }
    clock.advance(minutes(20));
    assert!(sessions.authenticate(&cookie).await.unwrap().is_none(), "two hours are over");
    let cookie = open(&sessions, "u1").await.token.reveal();
    // A minute more than half an hour, since a use within that minute would not have been recorded.
    clock.advance(minutes(31));
    assert!(sessions.authenticate(&cookie).await.unwrap().is_none(), "half an hour without use");
    assert!(sessions.authenticate("no token at all").await.unwrap().is_none());
}

#[tokio::test]
async fn fields_are_typed_and_patches_do_not_undo_each_other() {
    let (backend, _) = manual();
    let sessions = backend.stores().sessions().build().unwrap();
    let fields = Patch::new().value("cart", &vec![1_u32]).unwrap().value("theme", "dark").unwrap();
    let opened = sessions.create("u1", fields).await.unwrap().unwrap();
    let patch = Patch::new().value("cart", &vec![1_u32, 2]).unwrap();
    assert_eq!(sessions.patch(&opened.token, &patch).await.unwrap(), PatchOutcome::Saved { version: 2 });
    let stale = Patch::new().remove("theme").expecting(1);
    assert_eq!(sessions.patch(&opened.token, &stale).await.unwrap(), PatchOutcome::Conflict { version: 2 });
    let session = sessions.load(&opened.token).await.unwrap().unwrap();
    assert_eq!(session.value::<Vec<u32>>("cart").unwrap(), Some(vec![1, 2]));
    assert_eq!(session.value::<String>("theme").unwrap().as_deref(), Some("dark"));
    assert_eq!(session.value::<u32>("none").unwrap(), None);
    assert_eq!(session.value::<u32>("theme").unwrap_err().kind(), ErrorKind::Codec);
    assert_eq!(sessions.destroy(&opened.token).await.unwrap(), DestroyOutcome::Destroyed);
    assert_eq!(sessions.destroy(&opened.token).await.unwrap(), DestroyOutcome::Gone);
    assert_eq!(sessions.patch(&opened.token, &patch).await.unwrap(), PatchOutcome::Gone);
}

#[tokio::test]
async fn ending_a_session_revokes_its_tokens_however_it_ends() {
    let (backend, _) = manual();
    let stores = backend.stores().service("auth").unwrap();
    let tokens = tokens(&stores);
    let sessions =
        stores.sessions().limit(SessionLimit::EvictOldest(2)).revoking_tokens(&tokens).build().unwrap();
    let mut issued = Vec::new();
    for _ in 0..2 {
        let opened = open(&sessions, "u1").await;
        let token = issue(&sessions, &tokens, &opened).await.token;
        issued.push((opened, token));
    }
    for (_, token) in &issued {
        assert_eq!(tokens.verify(token).await.unwrap().sub, "u1");
    }
    let third = open(&sessions, "u1").await;
    assert_eq!(third.evicted, [issued[0].0.session.id().clone()]);
    assert!(matches!(
        tokens.verify(&issued[0].1).await,
        Err(VerifyError::Revoked(Reason::Scope(Scope::Session(_))))
    ));
    assert!(tokens.verify(&issued[1].1).await.is_ok());

    let ended = sessions.destroy_all("u1", Some(third.session.id())).await.unwrap();
    assert_eq!(ended, [issued[1].0.session.id().clone()]);
    assert!(tokens.verify(&issued[1].1).await.is_err());

    let token = issue(&sessions, &tokens, &third).await.token;
    assert_eq!(sessions.destroy(&third.token).await.unwrap(), DestroyOutcome::Destroyed);
    assert!(tokens.verify(&token).await.is_err());
}

/// Tokens that can't be revoked.
#[derive(Debug)]
struct Stubborn(Arc<dyn TokenStore>);

#[async_trait]
impl TokenStore for Stubborn {
    fn capabilities(&self) -> TokenCapabilities {
        self.0.capabilities()
    }

    async fn revoke(&self, service: &Name, jti: &str, ttl: Ttl) -> stanchion::Result<()> {
        self.0.revoke(service, jti, ttl).await
    }

    async fn revoke_all(&self, _: &Name, _: &Scope, _: Ttl) -> stanchion::Result<Epoch> {
        Err(Error::new(ErrorKind::Unavailable, "down"))
    }

    async fn epochs(&self, service: &Name, scopes: &[Scope]) -> stanchion::Result<Vec<Epoch>> {
        self.0.epochs(service, scopes).await
    }

    async fn check(&self, service: &Name, token: &TokenFacts) -> stanchion::Result<Verdict> {
        self.0.check(service, token).await
    }

    async fn agree(
        &self,
        service: &Name,
        ours: &TokenSettings,
        before: Option<Ttl>,
    ) -> stanchion::Result<TokenSettings> {
        self.0.agree(service, ours, before).await
    }

    async fn floor(&self, service: &Name) -> stanchion::Result<Epoch> {
        self.0.floor(service).await
    }
}

#[tokio::test]
async fn a_session_whose_opening_failed_is_not_left_there() {
    let (backend, _) = manual();
    let right = backend.stores();
    let stores = Stores::builder(right.environment().clone())
        .backend(Arc::new(backend.clone()))
        .tokens(Arc::new(Stubborn(right.token_store().unwrap())))
        .build();
    let sessions = stores
        .sessions()
        .limit(SessionLimit::EvictOldest(1))
        .revoking_tokens(&tokens(&stores))
        .build()
        .unwrap();
    open(&sessions, "u1").await;
    let error = sessions.create("u1", Patch::new()).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::Unknown));
    assert!(!error.is_retryable(false), "the first session has ended");
    assert!(sessions.list("u1").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_revocation_by_session_outlives_the_skew_its_tokens_are_accepted_for() {
    let (backend, clock) = manual();
    let stores = backend.stores().service("auth").unwrap();
    let tokens = tokens(&stores);
    let sessions = stores.sessions().revoking_tokens(&tokens).build().unwrap();
    let opened = open(&sessions, "u1").await;
    let issued = issue(&sessions, &tokens, &opened).await;
    let session = issued.claims.session_id().expect("issued within one");
    assert_eq!(&session, opened.session.id());
    assert_eq!(sessions.destroy_id("u1", &session).await.unwrap(), DestroyOutcome::Destroyed);
    clock.advance(minutes(30) + seconds(1));
    assert!(matches!(tokens.verify(&issued.token).await, Err(VerifyError::Revoked(_))));
    assert!(stores.tokens().max_life(seconds(0)).build().is_err());
}

#[tokio::test]
async fn every_call_can_be_made_from_a_task() {
    // What a web framework demands of a handler's future; checked by the compiler, and run for good measure.
    let (backend, _) = manual();
    let stores = backend.stores().service("auth").unwrap();
    let tokens = tokens(&stores);
    let sessions = stores.sessions().revoking_tokens(&tokens).build().unwrap();
    let task = async move {
        let opened = open(&sessions, "u1").await;
        let (token, id) = (&opened.token, opened.session.id());
        assert_eq!(sessions.patch(token, &Patch::new()).await.unwrap(), PatchOutcome::Saved { version: 2 });
        assert!(matches!(sessions.touch(token).await.unwrap(), TouchOutcome::Touched { .. }));
        let text = token.reveal();
        sessions.load(token).await.unwrap().unwrap();
        sessions.authenticate(&text).await.unwrap().unwrap();
        sessions.list("u1").await.unwrap();
        let attempt = sessions.begin("u1").await.unwrap();
        assert!(matches!(sessions.create_for(&attempt, Patch::new()).await.unwrap(), OpenOutcome::Opened(_)));
        tokens.issue_for(&attempt, IssueOptions::new()).await.unwrap().issued().unwrap();
        let issued = issue(&sessions, &tokens, &opened).await;
        tokens.verify(&issued.token).await.unwrap();
        tokens.revoke(&issued.claims.jti, issued.claims.expires_at()).await.unwrap();
        tokens.revoke_user("u1").await.unwrap();
        sessions.destroy_all("u1", Some(id)).await.unwrap();
        sessions.destroy_id("u1", id).await.unwrap();
        sessions.destroy(token).await.unwrap();
    };
    tokio::spawn(task).await.unwrap();
}

#[tokio::test]
async fn sessions_announce_their_beginning_and_end() {
    let (backend, _) = manual();
    let stores = backend.stores().service("auth").unwrap();
    let sessions = stores.sessions().publishing().build().unwrap();
    let mut created = stores.topic::<SessionCreated>().unwrap().subscribe().await.unwrap();
    let mut expired = stores.topic::<SessionExpired>().unwrap().subscribe().await.unwrap();
    let opened = open(&sessions, "u1").await;
    sessions.destroy(&opened.token).await.unwrap();
    settle().await;
    match created.next().await {
        Some(Delivery::Event { data, envelope }) => {
            assert_eq!(data.session_id, opened.session.id().to_string());
            assert_eq!((envelope.source.as_str(), envelope.subject.as_deref()), ("auth", Some("u1")));
        }
        other => panic!("{other:?}"),
    }
    match expired.next().await {
        Some(Delivery::Event { data, .. }) => assert_eq!(data.reason, SessionEnd::Destroyed),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_token_is_verified_by_key_issuer_age_and_revocation() {
    let (backend, clock) = manual();
    let stores = backend.stores().service("auth").unwrap();
    let tokens = tokens(&stores);
    let issued = tokens.issue("u1", IssueOptions::new().client("web").claim("role", "admin")).await.unwrap();
    let claims = tokens.verify(&issued.token).await.unwrap();
    assert_eq!(claims, issued.claims);
    assert_eq!(claims.extra["role"], "admin");
    assert!(!format!("{issued:?}").contains(&issued.token));

    // Another key of the same id, another issuer, a changed character, no token.
    let forged = stores.tokens().key(JwtKey::hs256("k1", &[9; 32]).unwrap()).build().unwrap();
    assert!(matches!(forged.verify(&issued.token).await, Err(VerifyError::Invalid(_))));
    let stranger = backend.stores().service("other").unwrap();
    assert!(matches!(self::tokens(&stranger).verify(&issued.token).await, Err(VerifyError::Invalid(_))));
    let changed = issued.token.replace('.', ".A");
    for bad in ["", "a.b.c", changed.as_str(), "eyJhbGciOiJub25lIn0.e30."] {
        assert!(matches!(tokens.verify(bad).await, Err(VerifyError::Invalid(_))), "{bad}");
    }

    assert!(tokens.revoke(&claims.jti, claims.expires_at()).await.unwrap());
    assert!(matches!(tokens.verify(&issued.token).await, Err(VerifyError::Revoked(Reason::Token))));

    let issued = tokens.issue("u1", IssueOptions::new()).await.unwrap();
    clock.advance(minutes(30));
    assert!(tokens.verify(&issued.token).await.is_ok(), "within the skew");
    clock.advance(Tokens::SKEW);
    assert!(matches!(tokens.verify(&issued.token).await, Err(VerifyError::Expired)));
    assert!(
        tokens.revoke(&issued.claims.jti, issued.claims.expires_at()).await.unwrap(),
        "by a clock behind"
    );
    // Whoever verifies may allow for the greatest skew, by a clock that is behind by as much.
    clock.advance((2 * Tokens::MAX_SKEW).saturating_sub(Tokens::SKEW + seconds(1)));
    assert!(tokens.revoke(&issued.claims.jti, issued.claims.expires_at()).await.unwrap(), "still");
    clock.advance(seconds(1));
    assert!(!tokens.revoke(&issued.claims.jti, issued.claims.expires_at()).await.unwrap());
}

#[tokio::test]
async fn revoking_a_user_spares_what_is_issued_right_after() {
    let (backend, _) = manual();
    let stores = backend.stores().service("auth").unwrap();
    let tokens = tokens(&stores);
    let before = tokens.issue("u1", IssueOptions::new()).await.unwrap().token;
    let other = tokens.issue("u2", IssueOptions::new()).await.unwrap().token;
    tokens.revoke_user("u1").await.unwrap();
    // The clock has not moved: the same microsecond.
    let after = tokens.issue("u1", IssueOptions::new()).await.unwrap().token;
    assert!(matches!(tokens.verify(&before).await, Err(VerifyError::Revoked(_))));
    assert!(tokens.verify(&after).await.is_ok());
    assert!(tokens.verify(&other).await.is_ok());
    tokens.revoke_scope(&Scope::Service).await.unwrap();
    assert!(tokens.verify(&after).await.is_err() && tokens.verify(&other).await.is_err());
}

#[tokio::test]
async fn a_foreign_token_without_epochs_goes_by_its_time() {
    let (backend, clock) = manual();
    let stores = backend.stores().service("auth").unwrap();
    let tokens = tokens(&stores);
    let at = |secs| vec![(Scope::User("u1".into()), Mark::IssuedAt(Timestamp::from_secs(secs)))];
    let now = 1_750_000_000;
    assert_eq!(tokens.check(&TokenFacts::new("j", at(now))).await.unwrap(), Verdict::Active);
    tokens.revoke_user("u1").await.unwrap();
    assert_ne!(tokens.check(&TokenFacts::new("j", at(now))).await.unwrap(), Verdict::Active);
    // By a clock that is ahead by the skew, so long after the revocation may be before it.
    clock.advance(seconds(30));
    for after in 1..=30 {
        assert_ne!(tokens.check(&TokenFacts::new("j", at(now + after))).await.unwrap(), Verdict::Active);
    }
    assert_eq!(tokens.check(&TokenFacts::new("j", at(now + 31))).await.unwrap(), Verdict::Active);
}

#[tokio::test]
async fn keys_are_rotated_by_their_ids() {
    let (backend, _) = manual();
    let stores = backend.stores().service("auth").unwrap();
    let key = |id: &str, byte: u8| JwtKey::hs256(id, &[byte; 32]).unwrap();
    let old = stores.tokens().key(key("k1", 1)).build().unwrap();
    let new = stores.tokens().key(key("k2", 2)).key(key("k1", 1)).build().unwrap();
    let by_old = old.issue("u1", IssueOptions::new()).await.unwrap().token;
    let by_new = new.issue("u1", IssueOptions::new()).await.unwrap().token;
    assert!(new.verify(&by_old).await.is_ok() && new.verify(&by_new).await.is_ok());
    assert!(matches!(old.verify(&by_new).await, Err(VerifyError::Invalid(_))));
    assert!(stores.tokens().key(key("k1", 1)).key(key("k1", 2)).build().is_err());
    assert!(JwtKey::hs256("k", &[1; 31]).is_err());
    let error = stores.tokens().build().unwrap().issue("u1", IssueOptions::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[tokio::test]
async fn what_can_not_be_checked_is_not_accepted() {
    let (backend, _) = manual();
    let stores = backend.stores().service("auth").unwrap();
    let tokens = tokens(&stores);
    let token = tokens.issue("u1", IssueOptions::new()).await.unwrap().token;
    stores.close(seconds(1)).await.unwrap();
    assert!(matches!(tokens.verify(&token).await, Err(VerifyError::Unchecked(_))));
}

#[tokio::test]
async fn services_keep_their_sessions_and_tokens_apart() {
    let (backend, _) = manual();
    let stores = backend.stores();
    let (a, b) = (stores.service("a").unwrap(), stores.service("b").unwrap());
    let opened = open(&a.sessions().build().unwrap(), "u1").await;
    assert!(b.sessions().build().unwrap().load(&opened.token).await.unwrap().is_none());
    assert_eq!(b.sessions().build().unwrap().list("u1").await.unwrap().len(), 0);
    let facts = TokenFacts::new("j", vec![]);
    a.token_store().unwrap().revoke(&Name::new("a").unwrap(), "j", Ttl::MAX).await.unwrap();
    assert_ne!(a.tokens().build().unwrap().check(&facts).await.unwrap(), Verdict::Active);
    assert_eq!(b.tokens().build().unwrap().check(&facts).await.unwrap(), Verdict::Active);
}

#[tokio::test]
async fn a_new_session_has_nothing_to_be_removed_or_expected() {
    let (backend, _) = manual();
    let sessions = backend.stores().sessions().build().unwrap();
    for patch in [Patch::new().remove("theme"), Patch::new().expecting(1)] {
        let error = sessions.create("u1", patch).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::InvalidInput, Effect::NotApplied));
    }
    assert!(sessions.list("u1").await.unwrap().is_empty());
}
