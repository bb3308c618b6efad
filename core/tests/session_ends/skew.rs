//! Clocks that differ by less than the skew.

use std::sync::Arc;

use async_trait::async_trait;
use stanchion::clock::{Clock, ManualClock};
use stanchion::environment::Environment;
use stanchion::key::Name;
use stanchion::prelude::*;
use stanchion::time::{Monotonic, Timestamp};
use stanchion::token::{Mark, TokenFacts, TokensBuilder};

use crate::key;
use crate::place::place;
use crate::support::manual;

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
                    builder.max_life(seconds(2)).key(key()).build().unwrap()
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
