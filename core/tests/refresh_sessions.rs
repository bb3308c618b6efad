//! Refresh tokens within a session: they end with it, whatever is remembered of its end.

#![cfg(feature = "jwt")]
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use stanchion::clock::{Clock, ManualClock};
use stanchion::prelude::*;
use stanchion::session::OpenedSession;
use stanchion::time::{Ttl, days};
use stanchion::token::{IssuedPair, Reason, RefreshPolicy, Refreshed, TokenSettings};

use support::manual;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

struct Scene {
    stores: Stores,
    clock: ManualClock,
    tokens: Tokens,
    sessions: Sessions,
}

fn scene() -> Scene {
    let (backend, clock) = manual();
    let stores = backend.stores().service("auth").unwrap();
    let key = JwtKey::hs256("k1", SECRET).unwrap();
    let tokens = stores.tokens().key(key).max_life(minutes(15)).refreshing(RefreshPolicy::new());
    let tokens = tokens.build().unwrap();
    let sessions =
        stores.sessions().idle_timeout(hours(2)).absolute_timeout(days(20)).revoking_tokens(&tokens);
    Scene { sessions: sessions.build().unwrap(), stores, clock, tokens }
}

impl Scene {
    async fn open(&self, user: &str) -> OpenedSession {
        self.sessions.create(user, Patch::new()).await.unwrap().unwrap()
    }

    async fn pair(&self, opened: &OpenedSession) -> IssuedPair {
        let issued = self.sessions.issue_pair(&self.tokens, &opened.session, IssueOptions::new()).await;
        issued.unwrap().issued().unwrap()
    }

    async fn refresh(&self, pair: &IssuedPair) -> Refreshed {
        self.sessions.refresh(&self.tokens, &pair.refresh.reveal()).await.unwrap()
    }
}

#[tokio::test]
async fn a_family_of_a_session_ends_with_it() {
    let scene = scene();
    let opened = scene.open("u1").await;
    let (one, other) = (scene.pair(&opened).await, scene.pair(&opened).await);
    assert_eq!(one.access.claims.session_id().as_ref(), Some(opened.session.id()));
    // The end of one family revokes the session's access tokens.
    let ended = scene.tokens.end_refresh(&one.refresh.reveal()).await.unwrap().unwrap();
    assert_eq!(ended.session.as_ref(), Some(opened.session.id()));
    assert!(scene.tokens.verify(&other.access.token).await.is_err());
    assert!(scene.tokens.end_refresh(&one.refresh.reveal()).await.unwrap().is_none());
    assert!(matches!(scene.refresh(&one).await, Refreshed::Gone));

    let opened = scene.open("u2").await;
    let pair = scene.pair(&opened).await;
    let _ = scene.sessions.destroy(&opened.token).await.unwrap();
    assert!(matches!(scene.refresh(&pair).await, Refreshed::Revoked(Reason::Scope(Scope::Session(_)))));
    assert!(matches!(scene.refresh(&pair).await, Refreshed::Gone), "the family has ended, too");
}

#[tokio::test]
async fn it_stays_ended_when_the_revocation_is_forgotten() {
    let scene = scene();
    let opened = scene.open("u1").await;
    let pair = scene.pair(&opened).await;
    let _ = scene.sessions.destroy(&opened.token).await.unwrap();
    // Long after the last access token, and sooner than the family.
    scene.clock.advance(days(6));
    assert!(matches!(scene.refresh(&pair).await, Refreshed::Gone));
    assert!(matches!(scene.tokens.refresh(&pair.refresh.reveal()).await.unwrap(), Refreshed::Gone));
}

#[tokio::test]
async fn a_session_that_times_out_takes_its_family_with_it_and_a_refresh_is_a_use() {
    let scene = scene();
    let opened = scene.open("u1").await;
    let mut pair = scene.pair(&opened).await;
    assert!(pair.refresh_expires_in <= hours(3), "no longer than the session: {:?}", pair.refresh_expires_in);
    for _ in 0..4 {
        scene.clock.advance(hours(1) + minutes(30));
        pair = scene.refresh(&pair).await.pair().unwrap();
        assert!(scene.tokens.verify(&pair.access.token).await.is_ok());
    }
    assert!(scene.sessions.load(&opened.token).await.unwrap().is_some(), "it was used by refreshing");
    scene.clock.advance(hours(3));
    assert!(matches!(scene.refresh(&pair).await, Refreshed::Gone));
}

#[tokio::test]
async fn an_access_token_lives_no_longer_than_the_session_would() {
    let scene = scene();
    let opened = scene.open("u1").await;
    let mut pair = scene.pair(&opened).await;
    for _ in 0..20 * 24 {
        scene.clock.advance(hours(1));
        let Some(next) = scene.refresh(&pair).await.pair() else { break };
        pair = next;
    }
    // The last one was given within an hour of the absolute end.
    let ends = opened.session.record().created_at.saturating_add(days(20));
    assert!(pair.access.claims.expires_at() <= ends.saturating_add(seconds(1)));
    assert!(scene.clock.wall() >= ends);
}

#[tokio::test]
async fn one_that_was_rotated_or_is_refreshed_elsewhere_is_refused() {
    let scene = scene();
    let opened = scene.open("u1").await;
    let pair = scene.pair(&opened).await;
    let elsewhere = scene.tokens.refresh(&pair.refresh.reveal()).await.unwrap_err();
    assert_eq!(elsewhere.kind(), ErrorKind::Config);
    // It is no rotation: within the grace the right call goes on.
    assert!(matches!(scene.refresh(&pair).await, Refreshed::Repeated(_)));
    let _ = scene.sessions.rotate(&opened.token, Patch::new(), minutes(1)).await.unwrap();
    assert!(scene.refresh(&pair).await.pair().is_none());
    let others = scene.stores.sessions().build().unwrap();
    let config = others.refresh(&scene.tokens, &pair.refresh.reveal()).await.unwrap_err();
    assert_eq!(config.kind(), ErrorKind::Config);
    let config = others.issue_pair(&scene.tokens, &opened.session, IssueOptions::new()).await.unwrap_err();
    assert_eq!(config.kind(), ErrorKind::Config);
    let gone = scene.sessions.issue_pair(&scene.tokens, &opened.session, IssueOptions::new()).await.unwrap();
    assert!(matches!(gone, IssueOutcome::Gone));
    // Those of no session go either way.
    let pair = scene.tokens.issue_pair("u1", IssueOptions::new()).await.unwrap();
    let pair = scene.refresh(&pair).await.pair().unwrap();
    assert!(scene.tokens.refresh(&pair.refresh.reveal()).await.unwrap().pair().is_some());
}

#[tokio::test]
async fn a_log_in_that_began_before_the_end_of_all_gets_no_pair() {
    let scene = scene();
    let attempt = scene.sessions.begin("u1").await.unwrap();
    let pair = scene.tokens.issue_pair_for(&attempt, IssueOptions::new()).await.unwrap();
    assert!(pair.issued().is_some());
    scene.tokens.revoke_user("u1").await.unwrap();
    let pair = scene.tokens.issue_pair_for(&attempt, IssueOptions::new()).await.unwrap();
    assert!(matches!(pair, IssueOutcome::Stale));
}

#[tokio::test]
async fn who_knows_nothing_of_refresh_tokens_revokes_for_as_long_as_they_live() {
    let scene = scene();
    // Another service of the same tokens, which was running before there were any.
    let other = scene.stores.tokens().build().unwrap();
    other.agree().await.unwrap();
    other.revoke_user("u2").await.unwrap();
    let pair = scene.tokens.issue_pair("u1", IssueOptions::new()).await.unwrap();
    other.revoke_user("u1").await.unwrap();
    scene.clock.advance(days(6));
    let refreshed = scene.tokens.refresh(&pair.refresh.reveal()).await.unwrap();
    assert!(matches!(refreshed, Refreshed::Revoked(Reason::Scope(Scope::User(_)))), "{refreshed:?}");
    let store = scene.stores.token_store().unwrap();
    let recorded =
        store.agree(&stanchion::key::Name::new("auth").unwrap(), &TokenSettings::new(), None).await.unwrap();
    assert_eq!(recorded.family_life, Some(Ttl::new(days(30)).unwrap()));
}
