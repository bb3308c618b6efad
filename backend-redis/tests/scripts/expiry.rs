//! Never a key without an expiry.

use std::time::Duration;

use bytes::Bytes;
use stanchion::cache::AllParts as _;
use stanchion::cache::{
    Fetched, Fill, FillOutcome, LeaseRequest, LeaseToken, SetOptions, SetOutcome, Tag, Want, When,
};
use stanchion::key::Key;
use stanchion::limit::{
    AttemptOutcome, AttemptRequest, AttemptTicket, Calendar, LeaseRequest as PlaceRequest, Lockout,
    Settlement, Tier,
};
use stanchion::lock::{AcquireOutcome, LockRequest, LockToken, RenewOutcome};
use stanchion::session::{CreateOutcome, Patch, PatchOutcome, SessionLimit, TouchOutcome};
use stanchion::token::{FamilyId, NewFamily, RefreshHash, Rotation, Salt, Scope};

use crate::place::{
    Place, cache_key, index_key, lock_key, new_session, service, session_id, session_key, ttl,
};

async fn cached_values_expire(place: &mut Place) {
    let cache = place.stores.cache_store().unwrap();
    let (key, value) = (cache_key("u1"), Bytes::from_static(b"v"));
    let token = LeaseToken::new([1; 16]);
    for want in [Want::IfAbsent, Want::Anyway] {
        for _ in 0..2 {
            let request = LeaseRequest::new(key.clone(), token, ttl(30), want);
            assert!(matches!(cache.fetch(&[request]).await.unwrap()[0], Fetched::Leased { .. }));
            place.assert_all_expire("cache.fetch").await;
        }
        let fill = Fill::new(key.clone(), token, value.clone(), ttl(60));
        assert_eq!(cache.fill(&[fill]).await.unwrap(), [FillOutcome::Filled]);
        place.assert_all_expire("cache.fill").await;
    }
    let options = SetOptions::new(ttl(60));
    for when in [When::Always, When::Present, When::Equals(value.clone())] {
        let set = cache.set(&key, value.clone(), &options.clone().when(when).schema(1)).await.unwrap();
        assert_eq!(set, SetOutcome::Stored);
        place.assert_all_expire("cache.set").await;
    }
    cache.touch(&key, ttl(90)).await.unwrap();
    place.assert_all_expire("cache.touch").await;
    for _ in 0..2 {
        cache.add(&cache_key("n"), 1, ttl(60)).await.unwrap();
        place.assert_all_expire("cache.add").await;
    }
    let tags = [Tag::new("t1").unwrap(), Tag::new("t2").unwrap()];
    cache.bump(&tags[..1]).await.unwrap();
    place.assert_all_expire("cache.bump").await;
    cache.generations(&tags).await.unwrap();
    place.assert_all_expire("cache.generations").await;
}

/// What is stored of a session that is being created step by step, as while its slot is being moved: it expires, and is no
/// session for anybody.
pub(crate) async fn a_reservation_expires_and_is_no_session(mut place: Place) {
    macro_rules! script {
        ($file:literal) => {
            concat!(
                include_str!("../../src/scripts/session_life.lua"),
                "\n",
                include_str!(concat!("../../src/scripts/", $file))
            )
        };
    }
    const RESERVE: &str = script!("session_reserve.lua");
    const ENTER: &str = script!("session_enter.lua");
    const CONFIRM: &str = script!("session_confirm.lua");
    const BOUNDS: &str = "90000 90000 90000 90000";
    let (id, other) = (session_id("u1"), session_id("u1"));
    let (key, index, hash) = (session_key(&place, &id), index_key(&place), id.hash_text());
    let reserved: u64 =
        place.run("EVAL", &[RESERVE, "1", &key, BOUNDS, "token", "u1", "3000", "", "d:a", "1"]).await;
    assert_eq!(reserved, 1);
    place.assert_all_expire("reserve").await;
    let created: Option<u64> = place.run("EVAL", &[ENTER, "1", &index, BOUNDS, &hash, "60000", "0"]).await;
    place.assert_all_expire("enter").await;
    let created = created.unwrap().to_string();

    let sessions = place.stores.session_store().unwrap();
    let service = service();
    assert_eq!(sessions.load(&service, &id).await.unwrap(), None);
    assert_eq!(sessions.touch(&service, &id).await.unwrap(), TouchOutcome::Gone);
    let patch = Patch::new().set("a", "2");
    assert_eq!(sessions.patch(&service, &id, &patch).await.unwrap(), PatchOutcome::Gone);
    assert_eq!(sessions.list(&service, "u1").await.unwrap(), []);
    // It takes no place, and whoever comes in front of it ends it.
    let outcome = sessions.create(&service, new_session(&other, SessionLimit::Reject(1))).await.unwrap();
    assert!(matches!(outcome, CreateOutcome::Created { .. }), "{outcome:?}");
    let confirmed: Option<Vec<u64>> = place
        .run("EVAL", &[CONFIRM, "1", &key, BOUNDS, "token", &created, "60000", "60000", "0", "", "", "1"])
        .await;
    assert_eq!(confirmed, None);
    place.assert_all_expire("confirm").await;
}

async fn every_family_expires(place: &mut Place) {
    let tokens = place.stores.token_store().unwrap();
    for secs in [60, 30] {
        tokens.first_uses().unwrap().claim(&service(), "j1", ttl(secs)).await.unwrap();
        place.assert_all_expire("token.claim").await;
    }
    let families = tokens.families().unwrap();
    let hash = |n: u8| RefreshHash::new([n; 32]);
    let new = NewFamily::new(FamilyId::new([1; 32]), hash(1), "kept".into(), ttl(60), ttl(600));
    for _ in 0..2 {
        families.open_family(&service(), &new).await.unwrap();
        place.assert_all_expire("token.open_family").await;
    }
    // Rotated, repeated, used a second time, and gone.
    for (presented, next) in [(1, 2), (1, 3), (2, 4), (1, 5), (4, 6)] {
        let salt = Salt::new([next; 32]);
        let attempt =
            Rotation::new(new.id, hash(presented), hash(next), salt, Duration::from_secs(10), ttl(60));
        families.rotate(&service(), &attempt).await.unwrap();
        place.assert_all_expire("token.rotate").await;
    }
    assert_eq!(families.end_family(&service(), &new.id).await.unwrap(), None);
}

pub(crate) async fn every_key_expires(mut place: Place) {
    cached_values_expire(&mut place).await;
    let (sessions, tokens) = (place.stores.session_store().unwrap(), place.stores.token_store().unwrap());
    let (limits, locks) = (place.stores.rate_limiter().unwrap(), place.stores.locker().unwrap());
    let ids: Vec<_> = (0..4).map(|_| session_id("u1")).collect();
    for (id, limit) in ids.iter().zip([
        SessionLimit::Reject(2),
        SessionLimit::Reject(2),
        SessionLimit::EvictOldest(2),
        SessionLimit::EvictLeastRecent(2),
    ]) {
        let outcome = sessions.create(&service(), new_session(id, limit)).await.unwrap();
        assert!(matches!(outcome, CreateOutcome::Created { .. }), "{outcome:?}");
        place.assert_all_expire("session.create").await;
    }
    let patch = Patch::new().set("a", "1");
    let _ = sessions.patch(&service(), &ids[3], &patch).await.unwrap();
    let _ = sessions.patch(&service(), &ids[0], &patch).await.unwrap();
    place.assert_all_expire("session.patch").await;
    for id in &ids {
        let _ = sessions.touch(&service(), id).await.unwrap();
    }
    place.assert_all_expire("session.touch").await;
    for id in &ids {
        let _ = sessions.use_session(&service(), id).await.unwrap();
    }
    place.assert_all_expire("session.use").await;
    assert!(sessions.destroy(&service(), &ids[2]).await.unwrap().is_some());
    place.assert_all_expire("session.destroy").await;
    sessions.destroy_all(&service(), "u1", Some(&ids[3])).await.unwrap();
    place.assert_all_expire("session.destroy_all").await;

    for secs in [60, 30, 90] {
        tokens.revoke(&service(), "j1", ttl(secs)).await.unwrap();
        tokens.revoke_all(&service(), &Scope::Service, ttl(secs)).await.unwrap();
        place.assert_all_expire("token.revoke").await;
    }
    every_family_expires(&mut place).await;

    let key = Key::new("rate_limit", "login", "u1").unwrap();
    let tiers =
        [Tier::new(2, Duration::from_mins(1)).unwrap(), Tier::new(9, Duration::from_secs(5)).unwrap()];
    for _ in 0..3 {
        let _ = limits.check(&key, &tiers, 1).await.unwrap();
        place.assert_all_expire("limit.check").await;
    }
    limits.peek(&key, &tiers).await.unwrap();
    limits.refund(&key, &tiers[..1], 1).await.unwrap();
    place.assert_all_expire("limit.refund").await;
    limits.refund(&key, &tiers, 9).await.unwrap();
    limits.refund(&Key::new("rate_limit", "login", "u2").unwrap(), &tiers, 1).await.unwrap();
    place.assert_all_expire("limit.refund of all").await;
    assert!(!place.keys().await.contains(&place.key("rate_limit:login:u1")), "a full limit needs no key");
    let month = Tier::quota(5, Calendar::monthly()).unwrap();
    let _ = limits.take_up_to(&key, &[month, tiers[0]], 3).await.unwrap();
    place.assert_all_expire("limit.take_up_to").await;
    limits.reset(&key).await.unwrap();
    limits.add(&key, 3, ttl(60)).await.unwrap();
    place.assert_all_expire("limit.add").await;
    let _ = limits.check(&key, &tiers, 2).await.unwrap();
    let _ = limits.check(&key, &tiers, 2).await.unwrap();
    place.assert_all_expire("limit.check of added permits").await;
    // A denied tier that starts from another of its period is stored.
    let other = [Tier::new(1, Duration::from_mins(1)).unwrap()];
    assert!(limits.check(&key, &other, 1).await.unwrap().is_allowed(), "the last that was added");
    assert!(!limits.check(&key, &other, 1).await.unwrap().is_allowed());
    place.assert_all_expire("limit.check that is denied").await;
    let places = key.subkey("in_flight").unwrap();
    for holder in ["a", "b", "a"] {
        limits.lease(&places, &PlaceRequest::new(holder, 2, ttl(60))).await.unwrap();
        place.assert_all_expire("limit.lease").await;
    }
    assert!(limits.give_back(&places, "a").await.unwrap());
    place.assert_all_expire("limit.give_back").await;
    assert!(limits.give_back(&places, "b").await.unwrap());
    assert!(!place.keys().await.contains(&place.key("rate_limit:login:u1:in_flight")), "with the last place");
    let minute = Duration::from_mins(1);
    let rule = Lockout::new(2, minute, minute, minute, minute).unwrap();
    let failed = Key::new("attempts", "login", "u1").unwrap();
    let mut ticket = AttemptTicket::default();
    for _ in 0..3 {
        let request = AttemptRequest::new(rule).from_source("a", rule);
        if let AttemptOutcome::Admitted(admitted) = limits.attempt(&failed, &request).await.unwrap() {
            ticket = admitted;
        }
        place.assert_all_expire("limit.attempt").await;
    }
    let source = || "a".to_owned();
    limits.settle(&failed, &Settlement::Withdrawn { source: Some(source()), ticket }).await.unwrap();
    place.assert_all_expire("limit.settle of a withdrawal").await;
    limits.settle(&failed, &Settlement::Unlocked).await.unwrap();
    assert!(!place.keys().await.contains(&place.key("attempts:login:u1")));
    // Nothing is made of what is not there, but by a success.
    limits.settle(&failed, &Settlement::Withdrawn { source: Some(source()), ticket }).await.unwrap();
    assert!(!place.keys().await.contains(&place.key("attempts:login:u1")));
    let known_for = ttl(60);
    limits.settle(&failed, &Settlement::Succeeded { source: source(), ticket, known_for }).await.unwrap();
    place.assert_all_expire("limit.settle of a success").await;

    let request = LockRequest::new(lock_key(), LockToken::new([1; 16]), ttl(30));
    for _ in 0..2 {
        let AcquireOutcome::Acquired(lease) = locks.acquire(&request).await.unwrap() else {
            panic!("the lock is free");
        };
        place.assert_all_expire("lock.acquire").await;
        assert_eq!(locks.renew(std::slice::from_ref(&lease)).await.unwrap(), [RenewOutcome::Held]);
        place.assert_all_expire("lock.renew").await;
        locks.release(&lease).await.unwrap();
        place.assert_all_expire("lock.release").await;
    }
}
