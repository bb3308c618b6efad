//! What is stored on the server, and how it gets there.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use redis::cmd;
use stanchion::key::Key;
use stanchion::lock::{AcquireOutcome, LockRequest, LockToken, ReleaseOutcome, RenewOutcome};
use stanchion::session::{CreateOutcome, NewSession, Patch, SessionId, SessionLimit};
use stanchion::token::{FamilyId, NewFamily, RefreshHash, Rotation, Salt, Scope};

use crate::place::{
    Place, index_key, lock_key, new_session, service, session_id, session_key, stored_lock, ttl,
};

pub(crate) async fn what_is_stored_is_the_wire_format(mut place: Place) {
    let sessions = place.stores.session_store().unwrap();
    let id = session_id("u1");
    // Names that would be the record's own fields, if they were stored as they are.
    let data: BTreeMap<_, _> = ["user", "version", "", "d:", "é {x}"]
        .map(|name| (name.to_owned(), Bytes::from_static(&[0, 0xFF, b'\r', b'\n'])))
        .into();
    let new = new_session(&id, SessionLimit::Reject(1)).data(data.clone());
    let CreateOutcome::Created { record, .. } = sessions.create(&service(), new).await.unwrap() else {
        panic!("there is room");
    };
    assert_eq!(sessions.load(&service(), &id).await.unwrap().unwrap().data, data);
    let stored: BTreeMap<String, Vec<u8>> = place.run("HGETALL", &[&session_key(&place, &id)]).await;
    let text = |name: &str| String::from_utf8(stored[name].clone()).unwrap();
    let created = record.created_at.as_micros();
    assert_eq!(text("user"), "u1");
    assert_eq!([text("created"), text("used")], [created.to_string(), created.to_string()]);
    assert_eq!([text("idle"), text("version"), text("every")], ["60000", "1", "0"]);
    assert_eq!(text("deadline"), record.absolute_deadline.as_micros().to_string());
    assert_eq!(stored["d:user"], [0, 0xFF, b'\r', b'\n']);
    assert_eq!(stored.len(), 7 + data.len());
    let index: Vec<(String, u64)> = cmd("ZRANGE")
        .arg(&[&index_key(&place), "0", "-1", "WITHSCORES"])
        .query_async(&mut place.server)
        .await
        .unwrap();
    assert_eq!(index, [(id.hash_text(), created)]);

    let locks = place.stores.locker().unwrap();
    let request = LockRequest::new(lock_key(), LockToken::new([0xAB; 16]), ttl(30));
    let AcquireOutcome::Acquired(lease) = locks.acquire(&request).await.unwrap() else {
        panic!("the lock is free");
    };
    let lock = stored_lock(&place);
    let held: BTreeMap<String, String> = place.run("HGETALL", &[&lock]).await;
    assert_eq!([&held["token"], &held["fence"]], [&"ab".repeat(16), &lease.fence.to_string()]);
    // A new fence is the time at which the lock was taken.
    let until: u64 = held["until"].parse().unwrap();
    assert_eq!((until, held.len()), (lease.fence.get() + 30_000_000, 3));
    let kept: u64 = place.run("PTTL", &[&lock]).await;
    assert!((86_400_000..=86_430_000).contains(&kept), "the fence is kept {kept} ms");
    assert_eq!(locks.release(&lease).await.unwrap(), ReleaseOutcome::Released);
    let released: BTreeMap<String, String> = place.run("HGETALL", &[&lock]).await;
    assert_eq!([&released["fence"], &released["until"]], [&lease.fence.to_string(), "0"]);

    let tokens = place.stores.token_store().unwrap();
    tokens.revoke(&service(), "j1", ttl(60)).await.unwrap();
    let epoch = tokens.revoke_all(&service(), &Scope::Client("a:b".into()), ttl(60)).await.unwrap();
    // SHA-256 of "j1".
    let jti = place.key("auth:token:jti:CCQ2Zvkmqk5biEuO8fw7k9GeGRp5NYFTBha9LgMsR2E");
    assert_eq!(place.keys().await.iter().find(|key| key.contains("jti")), Some(&jti));
    let scope = place.key("auth:token:client:a%3Ab");
    assert_eq!(place.run::<u64>("GET", &[&scope]).await, epoch.get());
    families_are_stored_as_documented(&mut place).await;
}

async fn families_are_stored_as_documented(place: &mut Place) {
    let tokens = place.stores.token_store().unwrap();
    tokens.first_uses().unwrap().claim(&service(), "j1", ttl(60)).await.unwrap();
    let name = place.key("auth:once:CCQ2Zvkmqk5biEuO8fw7k9GeGRp5NYFTBha9LgMsR2E");
    assert_eq!(place.run::<String>("GET", &[&name]).await, "1");

    let families = tokens.families().unwrap();
    let new =
        NewFamily::new(FamilyId::new([0; 32]), RefreshHash::new([1; 32]), "kept".into(), ttl(60), ttl(600));
    families.open_family(&service(), &new).await.unwrap();
    let key = place.key(&format!("auth:refresh:{}", "A".repeat(43)));
    let opened: BTreeMap<String, String> = place.run("HGETALL", &[&key]).await;
    assert_eq!(opened.keys().collect::<Vec<_>>(), ["current", "data", "until"]);
    assert_eq!((opened["current"].as_str(), opened["data"].as_str()), (&*new.current.to_string(), "kept"));
    let (next, salt) = (RefreshHash::new([2; 32]), Salt::new([3; 32]));
    let attempt = Rotation::new(new.id, new.current, next, salt, Duration::from_secs(10), ttl(60));
    families.rotate(&service(), &attempt).await.unwrap();
    let rotated: BTreeMap<String, String> = place.run("HGETALL", &[&key]).await;
    assert_eq!(rotated.keys().collect::<Vec<_>>(), ["at", "current", "data", "last", "salt", "until"]);
    assert_eq!([&rotated["current"], &rotated["last"]], [&next.to_string(), &new.current.to_string()]);
    let (until, at) = (rotated["until"].parse::<u64>().unwrap(), rotated["at"].parse::<u64>().unwrap());
    assert!((590_000_000..=600_000_000).contains(&(until - at)), "{until} {at}");
}

/// Destroyed and expired sessions leave the index with the next create; its expiry is that of the last member.
pub(crate) async fn the_index_follows_its_sessions(mut place: Place) {
    let (sessions, index) = (place.stores.session_store().unwrap(), index_key(&place));
    let with_life = |id: &SessionId, secs| {
        NewSession::new(id.clone(), "u1", ttl(5), ttl(secs), SessionLimit::EvictOldest(3))
    };
    let ids: Vec<_> = (0..5).map(|_| session_id("u1")).collect();
    for (id, secs) in ids.iter().zip([900, 100, 100]) {
        let _ = sessions.create(&service(), with_life(id, secs)).await.unwrap();
    }
    let life = |left: u64, secs: u64| (secs * 1_000 - 5_000..=secs * 1_000 + 1).contains(&left);
    let left: u64 = place.run("PTTL", &[&index]).await;
    assert!(life(left, 900), "the index lives {left} ms");
    sessions.destroy(&service(), &ids[0]).await.unwrap();
    let _ = sessions.create(&service(), with_life(&ids[3], 100)).await.unwrap();
    let listed: Vec<String> = place.run("ZRANGE", &[&index, "0", "-1"]).await;
    assert_eq!(listed, [&ids[1], &ids[2], &ids[3]].map(SessionId::hash_text));
    let left: u64 = place.run("PTTL", &[&index]).await;
    assert!(life(left, 100), "the index lives {left} ms");

    // The newest comes after all others even if the server's clock went back.
    let ahead: u64 = 9_000_000_000_000_000;
    place.run::<()>("ZADD", &[&index, &ahead.to_string(), &ids[3].hash_text()]).await;
    let CreateOutcome::Created { record, evicted, .. } =
        sessions.create(&service(), with_life(&ids[4], 100)).await.unwrap()
    else {
        panic!("the oldest makes room");
    };
    assert_eq!(evicted, [ids[1].clone()]);
    assert_eq!(record.created_at.as_micros(), ahead + 1);
    let newest_first: Vec<_> =
        sessions.list(&service(), "u1").await.unwrap().into_iter().map(|s| s.id).collect();
    assert_eq!(newest_first, [ids[4].clone(), ids[3].clone(), ids[2].clone()]);
}

/// Lua refuses to unpack more than some 8,000 values; with names and values these are more.
pub(crate) async fn thousands_of_fields_are_written_in_pieces(mut place: Place) {
    let (sessions, id) = (place.stores.session_store().unwrap(), session_id("u1"));
    let names: Vec<_> = (0..4_096).map(|n| format!("f{n}")).collect();
    let data: BTreeMap<_, _> = names.iter().map(|name| (name.clone(), Bytes::from_static(b"v"))).collect();
    let new = new_session(&id, SessionLimit::Reject(1)).data(data.clone());
    let _ = sessions.create(&service(), new).await.unwrap();
    assert_eq!(sessions.load(&service(), &id).await.unwrap().unwrap().data, data);
    let mut patch = Patch::new();
    patch.set = data.keys().map(|name| (format!("g{name}"), Bytes::from_static(b"w"))).collect();
    patch.remove = names;
    let set = patch.set.clone();
    let _ = sessions.patch(&service(), &id, &patch).await.unwrap();
    assert_eq!(sessions.load(&service(), &id).await.unwrap().unwrap().data, set);
    place.assert_all_expire("session.patch").await;
}

/// A batch of renewals goes out by hash, and again by source where the server forgot the script.
pub(crate) async fn a_forgotten_script_is_sent_again(mut place: Place) {
    let locks = place.stores.locker().unwrap();
    let mut leases = Vec::new();
    for n in 0..3_u8 {
        let key = Key::new("locks", "lock", n).unwrap();
        let request = LockRequest::new(key, LockToken::new([n; 16]), ttl(30));
        let AcquireOutcome::Acquired(lease) = locks.acquire(&request).await.unwrap() else {
            panic!("the lock is free");
        };
        leases.push(lease);
    }
    locks.release(&leases[1]).await.unwrap();
    for _ in 0..2 {
        cmd("SCRIPT").arg("FLUSH").exec_async(&mut place.server).await.unwrap();
        let renewed = locks.renew(&leases).await.unwrap();
        assert_eq!(renewed, [RenewOutcome::Held, RenewOutcome::Lost, RenewOutcome::Held]);
        assert_eq!(locks.renew(&leases).await.unwrap(), renewed);
    }
    assert_eq!(locks.renew(&[]).await.unwrap(), []);
}
