//! Refresh tokens: one winner, a grace, and the end of a family when an old token is used.

#![cfg(feature = "jwt")]
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use stanchion::clock::{Clock, ManualClock};
use stanchion::event::standard::{RefreshReused, TokenIssued, TokenRevoked};
use stanchion::key::Name;
use stanchion::prelude::*;
use stanchion::time::{Timestamp, Ttl, days};
use stanchion::token::{
    Epoch, FamilyId, FirstUses, IssuedPair, NewFamily, Reason, RefreshFamilies, RefreshPolicy, RefreshToken,
    Refreshed, RotateOutcome, Rotation, TokenCapabilities, TokenFacts, TokenSettings, TokenStore,
    TokensBuilder, Verdict,
};
use stanchion_memory::MemoryBackend;

use support::{manual, settle};

fn builder(stores: &Stores) -> TokensBuilder {
    let key = JwtKey::hs256("k1", b"0123456789abcdef0123456789abcdef").unwrap();
    stores.tokens().key(key).max_life(minutes(15)).refreshing(RefreshPolicy::new())
}

struct Scene {
    stores: Stores,
    clock: ManualClock,
    tokens: Tokens,
}

fn scene() -> Scene {
    let (backend, clock) = manual();
    let stores = backend.stores().service("auth").unwrap();
    let tokens = builder(&stores).build().unwrap();
    Scene { stores, clock, tokens }
}

async fn log_in(tokens: &Tokens) -> IssuedPair {
    tokens.issue_pair("u1", IssueOptions::new().client("web").claim("role", "editor")).await.unwrap()
}

async fn refresh(tokens: &Tokens, token: &RefreshToken) -> Refreshed {
    tokens.refresh(&token.reveal()).await.unwrap()
}

fn rotated(refreshed: Refreshed) -> IssuedPair {
    match refreshed {
        Refreshed::Rotated(pair) => pair,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_refresh_token_gives_the_next_pair_and_says_the_same() {
    let Scene { clock, tokens, .. } = scene();
    let first = log_in(&tokens).await;
    assert_eq!(first.refresh_expires_in, days(7));
    clock.advance(minutes(15));
    let second = rotated(refresh(&tokens, &first.refresh).await);
    let claims = tokens.verify(&second.access.token).await.unwrap();
    let before = &first.access.claims;
    assert_eq!((&claims.sub, &claims.sid, &claims.client_id), (&before.sub, &before.sid, &before.client_id));
    assert_eq!(claims.extra["role"], "editor");
    assert_ne!(claims.jti, before.jti);
    assert_eq!(claims.exp - claims.iat, 15 * 60);
    assert_eq!(claims.session_id(), None, "it belongs to its family, which is no session");
    assert_eq!(second.refresh.family(), first.refresh.family());
    for secret in [format!("{first:?}"), format!("{second:?}")] {
        assert!(!secret.contains(&first.refresh.reveal()) && !secret.contains(&second.refresh.reveal()));
    }
    for stranger in ["", "no token", &RefreshToken::parse(&"A".repeat(64)).unwrap().reveal()] {
        assert!(matches!(tokens.refresh(stranger).await.unwrap(), Refreshed::Gone));
    }
}

#[tokio::test]
async fn of_fifty_uses_at_once_one_rotates_and_all_have_the_same_successor() {
    let Scene { tokens, .. } = scene();
    let first = log_in(&tokens).await;
    let uses: Vec<_> = (0..50)
        .map(|_| {
            let (tokens, token) = (tokens.clone(), first.refresh.reveal());
            tokio::spawn(async move { tokens.refresh(&token).await.unwrap() })
        })
        .collect();
    let (mut won, mut successors) = (0, Vec::new());
    for one in uses {
        let outcome = one.await.unwrap();
        won += u32::from(matches!(outcome, Refreshed::Rotated(_)));
        successors.push(outcome.pair().unwrap().refresh.reveal());
    }
    assert_eq!(won, 1);
    successors.dedup();
    assert_eq!(successors.len(), 1, "one successor, and not fifty");
    rotated(tokens.refresh(&successors[0]).await.unwrap());
}

#[tokio::test]
async fn two_tabs_may_refresh_at_once_and_later_it_is_a_theft() {
    let Scene { stores, clock, tokens } = scene();
    let mut events = stores.topic::<RefreshReused>().unwrap().subscribe().await.unwrap();
    let publishing = builder(&stores).publishing().build().unwrap();
    let first = log_in(&tokens).await;
    let second = rotated(refresh(&tokens, &first.refresh).await);
    clock.advance(seconds(9));
    match refresh(&tokens, &first.refresh).await {
        Refreshed::Repeated(pair) => {
            assert_eq!(pair.refresh, second.refresh);
            tokens.verify(&pair.access.token).await.unwrap();
        }
        other => panic!("{other:?}"),
    }
    clock.advance(seconds(1));
    match refresh(&publishing, &first.refresh).await {
        Refreshed::Reused(ended) => {
            assert_eq!((ended.user.as_str(), ended.family), ("u1", first.refresh.family()));
            assert!(ended.session.is_none() && ended.unrevoked.is_none());
        }
        other => panic!("{other:?}"),
    }
    // For both, and all that they have got.
    assert!(matches!(refresh(&tokens, &second.refresh).await, Refreshed::Gone));
    assert!(matches!(refresh(&tokens, &first.refresh).await, Refreshed::Gone));
    for access in [&first.access, &second.access] {
        let outcome = tokens.verify(&access.token).await;
        assert!(
            matches!(outcome, Err(VerifyError::Revoked(Reason::Scope(Scope::Session(_))))),
            "{outcome:?}"
        );
    }
    settle().await;
    match events.next().await {
        Some(Delivery::Event { data, .. }) => {
            assert_eq!((data.user_id.as_str(), data.family_id), ("u1", first.refresh.family().to_string()));
        }
        other => panic!("{other:?}"),
    }
    // Others of the user go on.
    let other = log_in(&tokens).await;
    rotated(refresh(&tokens, &other.refresh).await);
}

#[tokio::test]
async fn a_token_from_before_the_last_ends_the_family_within_the_grace_too() {
    let Scene { tokens, .. } = scene();
    let first = log_in(&tokens).await;
    let second = rotated(refresh(&tokens, &first.refresh).await);
    let third = rotated(refresh(&tokens, &second.refresh).await);
    assert!(matches!(refresh(&tokens, &first.refresh).await, Refreshed::Reused(_)));
    assert!(matches!(refresh(&tokens, &third.refresh).await, Refreshed::Gone));

    // And so does one that was made up by somebody who has seen one.
    let first = log_in(&tokens).await;
    let mut made_up = first.refresh.reveal();
    made_up.replace_range(40..44, "AAAA");
    assert!(matches!(tokens.refresh(&made_up).await.unwrap(), Refreshed::Reused(_)));
}

#[tokio::test]
async fn without_a_grace_every_second_use_is_a_theft() {
    let Scene { stores, .. } = scene();
    let tokens = builder(&stores).refreshing(RefreshPolicy::new().grace(seconds(0))).build().unwrap();
    let first = log_in(&tokens).await;
    rotated(refresh(&tokens, &first.refresh).await);
    assert!(matches!(refresh(&tokens, &first.refresh).await, Refreshed::Reused(_)));
    let too_long = RefreshPolicy::new().grace(seconds(61));
    assert_eq!(builder(&stores).refreshing(too_long).build().unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_family_ends_unused_and_with_age() {
    let Scene { clock, tokens, .. } = scene();
    let mut last = log_in(&tokens).await;
    for _ in 0..4 {
        clock.advance(days(6));
        last = rotated(refresh(&tokens, &last.refresh).await);
    }
    assert_eq!(last.refresh_expires_in, days(6), "what is left of 30 days");
    clock.advance(days(6));
    assert!(matches!(refresh(&tokens, &last.refresh).await, Refreshed::Gone), "30 days");
    let idle = log_in(&tokens).await;
    clock.advance(days(7));
    assert!(matches!(refresh(&tokens, &idle.refresh).await, Refreshed::Gone), "7 days without use");
}

#[tokio::test]
async fn what_is_revoked_after_the_log_in_ends_the_family() {
    let scopes = [Scope::Service, Scope::User("u1".to_owned()), Scope::Client("web".to_owned())];
    for scope in scopes {
        let Scene { clock, tokens, .. } = scene();
        let first = log_in(&tokens).await;
        tokens.revoke_scope(&scope).await.unwrap();
        // Long after every access token has expired.
        clock.advance(days(6));
        match refresh(&tokens, &first.refresh).await {
            Refreshed::Revoked(Reason::Scope(by)) => assert_eq!(by, scope),
            other => panic!("{other:?}"),
        }
        assert!(matches!(refresh(&tokens, &first.refresh).await, Refreshed::Gone));
        rotated(refresh(&tokens, &log_in(&tokens).await.refresh).await);
    }
}

#[tokio::test]
async fn an_access_token_that_is_given_beside_a_revocation_is_revoked_by_it() {
    // The family's epochs are those of the log-in, however late its tokens are made.
    let Scene { tokens, clock, .. } = scene();
    let first = log_in(&tokens).await;
    clock.advance(minutes(1));
    let second = rotated(refresh(&tokens, &first.refresh).await);
    assert_eq!(second.access.claims.epochs, first.access.claims.epochs);
    tokens.revoke_user("u1").await.unwrap();
    assert!(matches!(tokens.verify(&second.access.token).await, Err(VerifyError::Revoked(_))));
}

#[tokio::test]
async fn what_is_asked_for_is_announced() {
    let Scene { stores, .. } = scene();
    let tokens = builder(&stores).publishing().build().unwrap();
    let mut issued = stores.topic::<TokenIssued>().unwrap().subscribe().await.unwrap();
    let mut revoked = stores.topic::<TokenRevoked>().unwrap().subscribe().await.unwrap();
    let pair = log_in(&tokens).await;
    tokens.revoke_user("u1").await.unwrap();
    settle().await;
    match issued.next().await {
        Some(Delivery::Event { data, .. }) => assert_eq!(data.jti, pair.access.claims.jti),
        other => panic!("{other:?}"),
    }
    match revoked.next().await {
        Some(Delivery::Event { data, .. }) => assert_eq!((data.user_id.as_str(), data.jti), ("u1", None)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_claim_is_won_once() {
    let Scene { tokens, clock, .. } = scene();
    let expires = clock.wall().saturating_add(minutes(5));
    let claims: Vec<_> = (0..50)
        .map(|_| {
            let tokens = tokens.clone();
            tokio::spawn(async move { tokens.claim("j1", expires).await.unwrap() })
        })
        .collect();
    let mut won = 0;
    for claim in claims {
        won += u32::from(claim.await.unwrap());
    }
    assert_eq!(won, 1);
    assert!(tokens.claim("j2", expires).await.unwrap());
    assert_eq!(
        tokens.check(&TokenFacts::new("j1", vec![])).await.unwrap(),
        Verdict::Active,
        "it is not revoked"
    );
    // As long as anybody may take it for valid.
    clock.advance(minutes(5) + seconds(29));
    assert!(!tokens.claim("j1", expires).await.unwrap());
    clock.advance(seconds(1));
    assert!(!tokens.claim("j1", expires).await.unwrap(), "what has expired is used by nobody");
    assert!(!tokens.claim("j3", Timestamp::from_secs(0)).await.unwrap());
    assert!(tokens.claim("", clock.wall().saturating_add(minutes(1))).await.is_err());
}

/// A store whose replies to rotations are lost: the first this many of them.
#[derive(Debug)]
struct Lossy {
    right: Arc<dyn TokenStore>,
    lost: AtomicU32,
    bare: bool,
}

impl Lossy {
    fn over(stores: &Stores, lost: u32) -> Arc<Self> {
        Arc::new(Self { right: stores.token_store().unwrap(), lost: lost.into(), bare: false })
    }

    fn reply<T>(&self, answer: stanchion::Result<T>) -> stanchion::Result<T> {
        match self.lost.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |lost| lost.checked_sub(1)) {
            Ok(_) => Err(Error::new(ErrorKind::Timeout, "no reply").with_effect(Effect::Unknown)),
            Err(_) => answer,
        }
    }
}

#[async_trait]
impl TokenStore for Lossy {
    fn capabilities(&self) -> TokenCapabilities {
        self.right.capabilities()
    }

    fn first_uses(&self) -> Option<&dyn FirstUses> {
        if self.bare { None } else { Some(self) }
    }

    fn families(&self) -> Option<&dyn RefreshFamilies> {
        if self.bare { None } else { Some(self) }
    }

    async fn revoke(&self, service: &Name, jti: &str, ttl: Ttl) -> stanchion::Result<()> {
        self.right.revoke(service, jti, ttl).await
    }

    async fn revoke_all(&self, service: &Name, scope: &Scope, ttl: Ttl) -> stanchion::Result<Epoch> {
        self.right.revoke_all(service, scope, ttl).await
    }

    async fn epochs(&self, service: &Name, scopes: &[Scope]) -> stanchion::Result<Vec<Epoch>> {
        self.right.epochs(service, scopes).await
    }

    async fn check(&self, service: &Name, token: &TokenFacts) -> stanchion::Result<Verdict> {
        self.right.check(service, token).await
    }

    async fn agree(
        &self,
        service: &Name,
        ours: &TokenSettings,
        before: Option<Ttl>,
    ) -> stanchion::Result<TokenSettings> {
        self.right.agree(service, ours, before).await
    }

    async fn floor(&self, service: &Name) -> stanchion::Result<Epoch> {
        self.right.floor(service).await
    }
}

#[async_trait]
impl FirstUses for Lossy {
    async fn claim(&self, service: &Name, name: &str, ttl: Ttl) -> stanchion::Result<bool> {
        self.reply(self.right.first_uses().unwrap().claim(service, name, ttl).await)
    }
}

#[async_trait]
impl RefreshFamilies for Lossy {
    async fn open_family(&self, service: &Name, family: &NewFamily) -> stanchion::Result<bool> {
        self.right.families().unwrap().open_family(service, family).await
    }

    async fn rotate(&self, service: &Name, rotation: &Rotation) -> stanchion::Result<RotateOutcome> {
        self.reply(self.right.families().unwrap().rotate(service, rotation).await)
    }

    async fn end_family(&self, service: &Name, id: &FamilyId) -> stanchion::Result<Option<Bytes>> {
        self.right.families().unwrap().end_family(service, id).await
    }
}

fn on(store: Arc<Lossy>, backend: &MemoryBackend) -> TokensBuilder {
    let environment = backend.stores().environment().clone();
    let key = JwtKey::hs256("k1", b"0123456789abcdef0123456789abcdef").unwrap();
    TokensBuilder::new(store, environment, Name::new("auth").unwrap()).key(key)
}

#[tokio::test]
async fn a_lost_reply_is_no_win_and_costs_nobody_the_family() {
    let (backend, clock) = manual();
    let store = Lossy::over(&backend.stores(), 0);
    let tokens = on(store.clone(), &backend).refreshing(RefreshPolicy::new()).build().unwrap();
    let expires = clock.wall().saturating_add(minutes(5));

    store.lost.store(1, Ordering::SeqCst);
    let lost = tokens.claim("j1", expires).await.unwrap_err();
    assert_eq!(lost.effect(), Effect::Unknown);
    assert!(!tokens.claim("j1", expires).await.unwrap(), "used up, and nobody has won");

    // One reply is lost: the same attempt asks once more, and has won.
    let first = log_in(&tokens).await;
    store.lost.store(1, Ordering::SeqCst);
    let second = rotated(refresh(&tokens, &first.refresh).await);
    // Both are: an error; and the client, which has only the old one, comes again.
    store.lost.store(2, Ordering::SeqCst);
    let lost = tokens.refresh(&second.refresh.reveal()).await.unwrap_err();
    assert_eq!(lost.effect(), Effect::Unknown);
    let third = match refresh(&tokens, &second.refresh).await {
        Refreshed::Repeated(pair) => pair,
        other => panic!("{other:?}"),
    };
    rotated(refresh(&tokens, &third.refresh).await);
    // The news of a reuse is not lost with one reply.
    store.lost.store(1, Ordering::SeqCst);
    assert!(matches!(refresh(&tokens, &first.refresh).await, Refreshed::Reused(_)));
}

#[tokio::test]
async fn a_caller_that_gives_up_does_not_stop_what_follows_from_a_reuse() {
    let Scene { stores, tokens, clock } = scene();
    let mut events = stores.topic::<RefreshReused>().unwrap().subscribe().await.unwrap();
    let publishing = builder(&stores).publishing().build().unwrap();
    let first = log_in(&tokens).await;
    let second = rotated(refresh(&tokens, &first.refresh).await);
    clock.advance(minutes(1));
    let text = first.refresh.reveal();
    let mut call = Box::pin(publishing.refresh(&text));
    assert!(futures_util::poll!(&mut call).is_pending());
    drop(call);
    settle().await;
    assert!(matches!(events.next().await, Some(Delivery::Event { .. })));
    assert!(tokens.verify(&second.access.token).await.is_err());
}

#[tokio::test]
async fn what_is_not_offered_is_said_when_it_is_built() {
    let (backend, clock) = manual();
    let right = backend.stores().token_store().unwrap();
    let bare = Arc::new(Lossy { right, lost: 0.into(), bare: true });
    let refused = on(bare.clone(), &backend).refreshing(RefreshPolicy::new()).build().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    let tokens = on(bare, &backend).build().unwrap();
    let claimed = tokens.claim("j1", clock.wall().saturating_add(minutes(1))).await.unwrap_err();
    assert_eq!(claimed.kind(), ErrorKind::Unsupported);
    assert_eq!(log_in_refused(&tokens).await, ErrorKind::Config);
    assert_eq!(tokens.refresh("x").await.unwrap_err().kind(), ErrorKind::Config);
    let publishing = on(Lossy::over(&backend.stores(), 0), &backend).publishing().build().unwrap_err();
    assert_eq!(publishing.kind(), ErrorKind::Unsupported);
    let Scene { tokens, .. } = scene();
    let large = IssueOptions::new().claim("x", "x".repeat(5_000));
    assert_eq!(tokens.issue_pair("u1", large).await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

async fn log_in_refused(tokens: &Tokens) -> ErrorKind {
    tokens.issue_pair("u1", IssueOptions::new()).await.unwrap_err().kind()
}
