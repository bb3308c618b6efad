//! Foreign values: refused, and left as they are.

use std::time::Duration;

use redis::{Value, cmd};
use stanchion::key::Key;
use stanchion::limit::Tier;
use stanchion::lock::{Fence, Lease, LockRequest, LockToken};
use stanchion::session::{CreateOutcome, Patch, SessionId, SessionLimit};
use stanchion::time::Timestamp;
use stanchion::token::{Mark, Scope, TokenFacts};
use stanchion::{Effect, Error, ErrorKind};

use crate::place::{
    Place, index_key, lock_key, lock_keys, new_session, service, session_id, session_key, ttl,
};

/// Runs every operation that touches what is spoilt; each must say so and change nothing.
async fn everything_refuses(place: &mut Place, spoilt: &str, id: &SessionId) {
    let (sessions, tokens) = (place.stores.session_store().unwrap(), place.stores.token_store().unwrap());
    let (limits, locks) = (place.stores.rate_limiter().unwrap(), place.stores.locker().unwrap());
    let before = place.everything().await;
    let user = Scope::User("u1".into());
    let facts = TokenFacts::new("j1", vec![]);
    let marked = TokenFacts::new("j2", vec![(user.clone(), Mark::IssuedAt(Timestamp::from_secs(1)))]);
    let key = Key::new("rate_limit", "login", "u1").unwrap();
    let tiers = [Tier::new(2, Duration::from_mins(1)).unwrap()];
    let lease = Lease::new(lock_key(), LockToken::new([1; 16]), Fence::new(1), ttl(30));
    let request = LockRequest::new(lock_key(), LockToken::new([1; 16]), ttl(30));
    let other = session_id("u1");
    let patch = Patch::new().set("a", "1");
    let fresh = new_session(&other, SessionLimit::EvictOldest(1));
    let all: Vec<(&str, Option<Error>)> = match spoilt {
        "session" => vec![
            ("create", sessions.create(&service(), fresh).await.err()),
            (
                "create again",
                sessions.create(&service(), new_session(id, SessionLimit::Reject(9))).await.err(),
            ),
            ("load", sessions.load(&service(), id).await.err()),
            ("patch", sessions.patch(&service(), id, &patch).await.err()),
            ("touch", sessions.touch(&service(), id).await.err()),
            ("destroy", sessions.destroy(&service(), id).await.err()),
            ("list", sessions.list(&service(), "u1").await.err()),
            ("destroy_all", sessions.destroy_all(&service(), "u1", None).await.err()),
        ],
        "unlisted session" => vec![(
            "create again",
            sessions.create(&service(), new_session(id, SessionLimit::Reject(9))).await.err(),
        )],
        "version" => vec![
            ("load", sessions.load(&service(), id).await.err()),
            ("patch", sessions.patch(&service(), id, &patch).await.err()),
            ("destroy", sessions.destroy(&service(), id).await.err()),
            ("list", sessions.list(&service(), "u1").await.err()),
        ],
        "index" => vec![
            ("create", sessions.create(&service(), fresh).await.err()),
            ("list", sessions.list(&service(), "u1").await.err()),
            ("destroy_all", sessions.destroy_all(&service(), "u1", None).await.err()),
        ],
        "jti" => vec![
            ("revoke", tokens.revoke(&service(), "j1", ttl(9)).await.err()),
            ("check", tokens.check(&service(), &facts).await.err()),
        ],
        "scope" => vec![
            ("revoke_all", tokens.revoke_all(&service(), &user, ttl(9)).await.err()),
            ("epochs", tokens.epochs(&service(), &[Scope::Service, user.clone()]).await.err()),
            ("check", tokens.check(&service(), &marked).await.err()),
        ],
        "limit" => vec![
            ("check", limits.check(&key, &tiers, 1).await.err()),
            ("peek", limits.peek(&key, &tiers).await.err()),
            ("refund", limits.refund(&key, &tiers, 1).await.err()),
        ],
        "lock" => vec![
            ("acquire", locks.acquire(&request).await.err()),
            ("renew", locks.renew(std::slice::from_ref(&lease)).await.err()),
            ("release", locks.release(&lease).await.err()),
            ("inspect", locks.inspect(&lock_key()).await.err()),
        ],
        "lock form" => vec![
            ("acquire", locks.acquire(&request).await.err()),
            ("inspect", locks.inspect(&lock_key()).await.err()),
        ],
        "fence" => vec![("acquire", locks.acquire(&request).await.err())],
        other => panic!("nothing touches {other}"),
    };
    for (operation, error) in all {
        let error = error.unwrap_or_else(|| panic!("{operation} took a spoilt {spoilt}"));
        assert_eq!(
            (error.kind(), error.effect()),
            (ErrorKind::Codec, Effect::NotApplied),
            "{operation}: {error}"
        );
        assert!(error.operation().is_some() && error.backend() == Some("redis"), "{error}");
    }
    assert_eq!(place.everything().await, before, "a spoilt {spoilt} was changed");
}

pub(crate) async fn a_spoilt_key_is_refused_and_left_alone(mut place: Place) {
    let sessions = place.stores.session_store().unwrap();
    let jti = {
        place.stores.token_store().unwrap().revoke(&service(), "j1", ttl(60)).await.unwrap();
        let keys = place.keys().await;
        keys.into_iter().find(|key| key.contains(":token:jti:")).unwrap()
    };
    let id = session_id("u1");
    let live = session_id("u1");
    for live in [&id, &live] {
        let created = sessions.create(&service(), new_session(live, SessionLimit::Reject(9))).await.unwrap();
        assert!(matches!(created, CreateOutcome::Created { .. }));
    }
    let (session, index, (lock, fence)) = (session_key(&place, &id), index_key(&place), lock_keys(&place));
    let (scope, limit) = (place.key("auth:token:user:u1"), place.key("rate_limit:login:u1"));
    // Another type.
    for (spoilt, key) in [
        ("index", &index),
        ("session", &session),
        ("jti", &jti),
        ("scope", &scope),
        ("limit", &limit),
        ("lock", &lock),
        ("fence", &fence),
    ] {
        let spare = place.key("spare");
        let _: Value = cmd("COPY").arg(&[key, &spare]).query_async(&mut place.server).await.unwrap();
        place.run::<()>("DEL", &[key]).await;
        place.run::<()>("RPUSH", &[key, "not this"]).await;
        everything_refuses(&mut place, spoilt, &id).await;
        place.run::<()>("DEL", &[key]).await;
        let _: Value = cmd("COPY").arg(&[&spare, key]).query_async(&mut place.server).await.unwrap();
        place.run::<()>("DEL", &[&spare]).await;
    }
    // The right type with something else in it.
    place.run::<()>("SET", &[&scope, "soon"]).await;
    everything_refuses(&mut place, "scope", &id).await;
    for nonsense in ["", "soon", "1:2:3", "-1:0", "99999999999999999999:0"] {
        place.run::<()>("HSET", &[&limit, "2/60000000/2", nonsense]).await;
        everything_refuses(&mut place, "limit", &id).await;
    }
    place.run::<()>("SET", &[&fence, "-7"]).await;
    everything_refuses(&mut place, "fence", &id).await;
    for nonsense in ["", "mine", "0123:abc", "0123:99999999999999999"] {
        place.run::<()>("SET", &[&lock, nonsense]).await;
        everything_refuses(&mut place, "lock form", &id).await;
    }
    for field in ["version", "used", "idle", "deadline"] {
        let kept: String = place.run("HGET", &[&session, field]).await;
        for nonsense in ["", "soon", "-1", "inf"] {
            place.run::<()>("HSET", &[&session, field, nonsense]).await;
            let spoilt = if field == "version" { "version" } else { "session" };
            everything_refuses(&mut place, spoilt, &id).await;
        }
        place.run::<()>("HSET", &[&session, field, &kept]).await;
    }
    place.run::<()>("HDEL", &[&session, "used"]).await;
    everything_refuses(&mut place, "session", &id).await;
    place.run::<()>("ZREM", &[&index, &id.hash_text()]).await;
    everything_refuses(&mut place, "unlisted session", &id).await;
}
