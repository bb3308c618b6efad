//! Log-ins that are under way while all is ended.

use stanchion::prelude::*;
use stanchion::token::Scope;

use crate::place::{of_life, place};

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
