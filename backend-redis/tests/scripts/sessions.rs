//! What the sessions' scripts write, and when.

use std::time::Duration;

use stanchion::random::SystemRandom;
use stanchion::session::{
    CreateOutcome, HashingKey, NewSession, Patch, RotateOutcome, Rotation, SessionId, SessionLimit,
    SessionToken,
};

use crate::place::{Place, index_key, new_session, service, session_id, session_key, ttl};

async fn created(place: &Place, session: NewSession) {
    let sessions = place.stores.session_store().unwrap();
    let outcome = sessions.create(&service(), session).await.unwrap();
    assert!(matches!(outcome, CreateOutcome::Created { .. }), "{outcome:?}");
}

fn beside(id: &SessionId) -> SessionId {
    HashingKey::unkeyed().session_id(&SessionToken::beside(id, &SystemRandom).unwrap())
}

/// A use that is not due changes nothing, not even when the key expires; one that is due changes both.
pub(crate) async fn a_use_writes_only_where_it_is_due(mut place: Place) {
    let sessions = place.stores.session_store().unwrap();
    let id = session_id("u1");
    let session = new_session(&id, SessionLimit::Reject(1)).touch_every(Duration::from_mins(1));
    created(&place, session).await;
    let key = session_key(&place, &id);
    // As if some of its life were over.
    place.run::<()>("PEXPIRE", &[&key, "50000"]).await;
    let before = place.everything().await;
    for _ in 0..100 {
        assert!(sessions.use_session(&service(), &id).await.unwrap().is_some());
    }
    assert_eq!(place.everything().await, before);
    let left: u64 = place.run("PTTL", &[&key]).await;
    assert!(left <= 50_000, "{left} ms");
    // A minute ago, so that the next use is due.
    let used: u64 = place.run("HGET", &[&key, "used"]).await;
    place.run::<()>("HSET", &[&key, "used", &(used - 60_000_000).to_string()]).await;
    let record = sessions.use_session(&service(), &id).await.unwrap().unwrap();
    let stored: u64 = place.run("HGET", &[&key, "used"]).await;
    assert_eq!(record.last_used_at.as_micros(), stored);
    assert!(stored > used, "{used}, then {stored}");
    let left: u64 = place.run("PTTL", &[&key]).await;
    // The idle timeout and the interval.
    assert!((110_000..=120_000).contains(&left), "{left} ms");
    let recorded = place.everything().await;
    assert!(sessions.use_session(&service(), &id).await.unwrap().is_some());
    assert_eq!(place.everything().await, recorded);
}

/// What has ended is taken out of the index by whoever lists it, and so is what was only reserved.
pub(crate) async fn a_list_clears_away_what_has_ended(mut place: Place) {
    let sessions = place.stores.session_store().unwrap();
    let ids: Vec<_> = (0..4).map(|_| session_id("u1")).collect();
    for id in &ids {
        created(&place, new_session(id, SessionLimit::Reject(9))).await;
    }
    sessions.destroy(&service(), &ids[0]).await.unwrap();
    // One that is over, and one whose key is late to expire.
    let late = session_key(&place, &ids[1]);
    place.run::<()>("HSET", &[&late, "used", "1"]).await;
    let spoilt = session_key(&place, &ids[2]);
    place.run::<()>("HSET", &[&spoilt, "used", "soon"]).await;
    let listed = sessions.list(&service(), "u1").await.unwrap();
    assert_eq!(listed.iter().map(|session| &session.id).collect::<Vec<_>>(), [&ids[3]]);
    let members: Vec<String> = place.run("ZRANGE", &[&index_key(&place), "0", "-1"]).await;
    assert_eq!(members, [&ids[2], &ids[3]].map(SessionId::hash_text), "what can't be read stays");
    assert!(!place.keys().await.contains(&late));
    assert!(place.keys().await.contains(&spoilt));
    place.assert_all_expire("session.list").await;
}

/// The hash goes on under the new key; under the old one there is a pointer for the grace, or nothing.
pub(crate) async fn a_rotated_session_is_renamed(mut place: Place) {
    let sessions = place.stores.session_store().unwrap();
    let id = session_id("u1");
    created(&place, new_session(&id, SessionLimit::Reject(1))).await;
    let score: u64 = place.run("ZSCORE", &[&index_key(&place), &id.hash_text()]).await;
    let mut last = id;
    for grace in [Duration::from_secs(10), Duration::ZERO] {
        let to = beside(&last);
        let rotation = Rotation::to(to.clone()).patch(Patch::new().set("a", "1")).grace(grace);
        let outcome = sessions.rotate(&service(), "u1", &last, &rotation).await.unwrap();
        assert!(matches!(outcome, RotateOutcome::Rotated { .. }), "{outcome:?}");
        place.assert_all_expire("session.rotate").await;
        let old = session_key(&place, &last);
        let next: Option<String> = place.run("HGET", &[&old, "next"]).await;
        assert_eq!(next, (!grace.is_zero()).then(|| to.to_string()));
        if !grace.is_zero() {
            let fields: u64 = place.run("HLEN", &[&old]).await;
            assert_eq!(fields, 8, "a pointer holds no data");
            let left: u64 = place.run("PTTL", &[&old]).await;
            assert!(left <= 10_000, "{left} ms");
        }
        let members: Vec<String> = place.run("ZRANGE", &[&index_key(&place), "0", "-1"]).await;
        assert_eq!(members, [to.hash_text()]);
        assert_eq!(place.run::<u64>("ZSCORE", &[&index_key(&place), &to.hash_text()]).await, score);
        last = to;
    }
    // An index that is lost is made anew, with an expiry.
    place.run::<()>("DEL", &[&index_key(&place)]).await;
    let rotation = Rotation::to(beside(&last));
    let outcome = sessions.rotate(&service(), "u1", &last, &rotation).await.unwrap();
    assert!(matches!(outcome, RotateOutcome::Rotated { .. }), "{outcome:?}");
    place.assert_all_expire("session.rotate").await;
    assert_eq!(sessions.list(&service(), "u1").await.unwrap().len(), 1);
    // A pointer that was tampered with leads nowhere.
    let (id, to) = (session_id("u1"), session_id("u2"));
    created(&place, new_session(&id, SessionLimit::EvictOldest(1))).await;
    let rotation = Rotation::to(beside(&id)).grace(Duration::from_mins(1));
    let _ = sessions.rotate(&service(), "u1", &id, &rotation).await.unwrap();
    let old = session_key(&place, &id);
    for next in ["", "nonsense", &to.to_string(), &id.to_string()] {
        place.run::<()>("HSET", &[&old, "next", next]).await;
        assert_eq!(sessions.load(&service(), &id).await.unwrap(), None, "{next:?}");
        assert_eq!(sessions.destroy(&service(), &id).await.unwrap(), None, "{next:?}");
    }
}

/// What was stored before there were intervals, bounds and devices: every use is recorded.
pub(crate) async fn what_was_stored_before_is_read(mut place: Place) {
    let sessions = place.stores.session_store().unwrap();
    let id = session_id("u1");
    created(&place, new_session(&id, SessionLimit::Reject(1))).await;
    let key = session_key(&place, &id);
    assert_eq!(place.run::<u64>("HDEL", &[&key, "every", "own"]).await, 1);
    let before = sessions.load(&service(), &id).await.unwrap().unwrap();
    let used = sessions.use_session(&service(), &id).await.unwrap().unwrap();
    assert!(used.last_used_at > before.last_used_at);
    assert!(used.expires_in <= ttl(60).as_duration());
    assert_eq!(sessions.list(&service(), "u1").await.unwrap().len(), 1);
}
