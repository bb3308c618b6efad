//! Foreign values: refused, and left as they are.

use std::time::Duration;

use bytes::Bytes;
use redis::{Value, cmd};
use stanchion::cache::AllParts as _;
use stanchion::cache::{
    Fill, LeaseRequest, LeaseToken, Release, SetEntry, SetOptions, SetOutcome, Tag, Want, When,
};
use stanchion::key::Key;
use stanchion::limit::{AttemptRequest, LeaseRequest as PlaceRequest, Lockout, Settlement, Tier};
use stanchion::lock::{Fence, Lease, LockRequest, LockToken};
use stanchion::session::{CreateOutcome, Patch, SessionId, SessionLimit};
use stanchion::time::Timestamp;
use stanchion::token::{
    FamilyId, Mark, NewFamily, RefreshHash, Rotation, Salt, Scope, TokenFacts, TokenSettings,
};
use stanchion::{Effect, Error, ErrorKind};

use crate::place::{
    Place, cache_key, cache_keys, index_key, lock_key, new_session, service, session_id, session_key,
    stored_lock, ttl,
};

type Refusals = Vec<(&'static str, Option<Error>)>;

async fn spoilt_entry(place: &Place) -> Refusals {
    let cache = place.stores.cache_store().unwrap();
    let (key, value) = (cache_key("u1"), Bytes::from_static(b"v"));
    let set = |when| {
        let (cache, key, value) = (&cache, &key, value.clone());
        async move { cache.set(key, value, &SetOptions::new(ttl(9)).when(when)).await.err() }
    };
    let token = LeaseToken::new([1; 16]);
    let fetch = |want| {
        let (cache, request) = (&cache, LeaseRequest::new(key.clone(), token, ttl(9), want));
        async move { cache.fetch(&[request]).await.err() }
    };
    let entry = SetEntry::new(key.clone(), value.clone(), SetOptions::new(ttl(9)).when(When::Present));
    vec![
        ("get", cache.get(&key).await.err()),
        ("get_many", cache.get_many(std::slice::from_ref(&key)).await.err()),
        ("get_many_with_ttl", cache.get_many_with_ttl(std::slice::from_ref(&key)).await.err()),
        ("set absent", set(When::Absent).await),
        ("set present", set(When::Present).await),
        ("set equals", set(When::Equals(value.clone())).await),
        ("set_many", cache.set_many(&[entry]).await.err()),
        ("add", cache.add(&key, 1, ttl(9)).await.err()),
        ("touch", cache.touch(&key, ttl(9)).await.err()),
        ("ttl", cache.ttl(&key).await.err()),
        ("fetch", fetch(Want::IfAbsent).await),
        ("fetch anyway", fetch(Want::Anyway).await),
    ]
}

async fn spoilt_lease(place: &Place) -> Refusals {
    let cache = place.stores.cache_store().unwrap();
    let (key, token) = (cache_key("u1"), LeaseToken::new([1; 16]));
    let request = LeaseRequest::new(key.clone(), token, ttl(9), Want::Anyway);
    vec![
        ("fetch", cache.fetch(&[request]).await.err()),
        ("fill", cache.fill(&[Fill::new(key.clone(), token, "v".into(), ttl(9))]).await.err()),
        ("abandon", cache.release(&[Release::new(key, token)]).await.err()),
    ]
}

async fn spoilt_generation(place: &Place) -> Refusals {
    let cache = place.stores.cache_store().unwrap();
    let tags = [Tag::new("t1").unwrap()];
    vec![("generations", cache.generations(&tags).await.err()), ("bump", cache.bump(&tags).await.err())]
}

fn new_family() -> NewFamily {
    NewFamily::new(FamilyId::new([1; 32]), RefreshHash::new([1; 32]), "kept".into(), ttl(60), ttl(60))
}

fn rotation(now: u8, next: u8) -> Rotation {
    let (now, salt) = (RefreshHash::new([now; 32]), Salt::new([next; 32]));
    Rotation::new(new_family().id, now, RefreshHash::new([next; 32]), salt, Duration::from_secs(10), ttl(60))
}

fn lockout() -> Lockout {
    let minute = Duration::from_mins(1);
    Lockout::new(5, minute, minute, minute, minute).unwrap()
}

/// Runs every operation that touches what is spoilt; each must say so and change nothing.
async fn everything_refuses(place: &mut Place, spoilt: &str, id: &SessionId) {
    let (sessions, tokens) = (place.stores.session_store().unwrap(), place.stores.token_store().unwrap());
    let (limits, locks) = (place.stores.rate_limiter().unwrap(), place.stores.locker().unwrap());
    let families = tokens.families().unwrap();
    let before = place.everything().await;
    let user = Scope::User("u1".into());
    let facts = TokenFacts::new("j1", vec![]);
    let marked = TokenFacts::new("j2", vec![(user.clone(), Mark::IssuedAt(Timestamp::from_secs(1)))]);
    let key = Key::new("rate_limit", "login", "u1").unwrap();
    let tiers = [Tier::new(2, Duration::from_mins(1)).unwrap()];
    let failed = Key::new("attempts", "login", "u1").unwrap();
    let lease = Lease::new(lock_key(), LockToken::new([1; 16]), Fence::new(1), ttl(30));
    let request = LockRequest::new(lock_key(), LockToken::new([1; 16]), ttl(30));
    let other = session_id("u1");
    let patch = Patch::new().set("a", "1");
    let fresh = new_session(&other, SessionLimit::EvictOldest(1));
    let all: Refusals = match spoilt {
        "session" => vec![
            (
                "create again",
                sessions.create(&service(), new_session(id, SessionLimit::Reject(9))).await.err(),
            ),
            ("load", sessions.load(&service(), id).await.err()),
            ("use", sessions.use_session(&service(), id).await.err()),
            ("patch", sessions.patch(&service(), id, &patch).await.err()),
            ("touch", sessions.touch(&service(), id).await.err()),
            ("destroy", sessions.destroy(&service(), id).await.err()),
        ],
        "unlisted session" => vec![(
            "create again",
            sessions.create(&service(), new_session(id, SessionLimit::Reject(9))).await.err(),
        )],
        "version" => vec![
            ("load", sessions.load(&service(), id).await.err()),
            ("patch", sessions.patch(&service(), id, &patch).await.err()),
            ("destroy", sessions.destroy(&service(), id).await.err()),
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
        "name" => vec![("claim", tokens.first_uses().unwrap().claim(&service(), "j1", ttl(9)).await.err())],
        "family" => vec![
            ("open_family", families.open_family(&service(), &new_family()).await.err()),
            ("rotate", families.rotate(&service(), &rotation(1, 2)).await.err()),
            ("end_family", families.end_family(&service(), &new_family().id).await.err()),
        ],
        "family form" => vec![("rotate", families.rotate(&service(), &rotation(1, 2)).await.err())],
        "service scope" => vec![
            ("floor", tokens.floor(&service()).await.err()),
            ("revoke_all", tokens.revoke_all(&service(), &Scope::Service, ttl(9)).await.err()),
        ],
        "settings" => {
            let ours = TokenSettings::new().max_life(ttl(60)).issuer("you");
            vec![
                ("agree", tokens.agree(&service(), &ours, None).await.err()),
                ("agree to a change", tokens.agree(&service(), &ours, Some(ttl(30))).await.err()),
            ]
        }
        "limit" => vec![
            ("check", limits.check(&key, &tiers, 1).await.err()),
            ("peek", limits.peek(&key, &tiers).await.err()),
            ("refund", limits.refund(&key, &tiers, 1).await.err()),
            ("take_up_to", limits.take_up_to(&key, &tiers, 1).await.err()),
        ],
        "limit's type" => vec![
            ("check", limits.check(&key, &tiers, 1).await.err()),
            ("add", limits.add(&key, 1, ttl(60)).await.err()),
            ("lease", limits.lease(&key, &PlaceRequest::new("h", 1, ttl(60))).await.err()),
            ("give_back", limits.give_back(&key, "h").await.err()),
            ("attempt", limits.attempt(&key, &AttemptRequest::new(lockout())).await.err()),
            ("settle", limits.settle(&key, &Settlement::Unlocked).await.err()),
        ],
        "attempts" => vec![
            ("attempt", limits.attempt(&failed, &AttemptRequest::new(lockout())).await.err()),
            ("settle", limits.settle(&failed, &Settlement::Unlocked).await.err()),
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
        "entry" => spoilt_entry(place).await,
        "spoilt lease" => spoilt_lease(place).await,
        "generation" => spoilt_generation(place).await,
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
    let (name, family) = {
        let tokens = place.stores.token_store().unwrap();
        tokens.first_uses().unwrap().claim(&service(), "j1", ttl(60)).await.unwrap();
        let families = tokens.families().unwrap();
        families.open_family(&service(), &new_family()).await.unwrap();
        families.rotate(&service(), &rotation(1, 2)).await.unwrap();
        families.rotate(&service(), &rotation(2, 3)).await.unwrap();
        let keys = place.keys().await;
        let find = |part: &str| keys.iter().find(|key| key.contains(part)).unwrap().clone();
        (find(":auth:once:"), find(":auth:refresh:"))
    };
    let id = session_id("u1");
    let live = session_id("u1");
    for live in [&id, &live] {
        let created = sessions.create(&service(), new_session(live, SessionLimit::Reject(9))).await.unwrap();
        assert!(matches!(created, CreateOutcome::Created { .. }));
    }
    let (session, index, lock) = (session_key(&place, &id), index_key(&place), stored_lock(&place));
    let (scope, limit) = (place.key("auth:token:user:u1"), place.key("rate_limit:login:u1"));
    let (service_scope, settings) = (place.key("auth:token:service"), place.key("auth:token:settings"));
    let cache = place.stores.cache_store().unwrap();
    let (entry, lease) = cache_keys(&place, "u1");
    let generation = place.key("tags:tag:t1");
    cache.bump(&[Tag::new("t1").unwrap()]).await.unwrap();
    let token = LeaseToken::new([1; 16]);
    cache.fetch(&[LeaseRequest::new(cache_key("u1"), token, ttl(60), Want::IfAbsent)]).await.unwrap();
    // Another type.
    for (spoilt, key) in [
        ("entry", &entry),
        ("spoilt lease", &lease),
        ("generation", &generation),
        ("index", &index),
        ("session", &session),
        ("jti", &jti),
        ("scope", &scope),
        ("name", &name),
        ("family", &family),
        ("service scope", &service_scope),
        ("settings", &settings),
        ("limit", &limit),
        ("limit's type", &limit),
        ("lock", &lock),
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
    // A list in place of an entry whose lease is live is no place for its value; to set and to remove is allowed.
    place.run::<()>("RPUSH", &[&entry, "not this"]).await;
    let before = place.everything().await;
    let fill = Fill::new(cache_key("u1"), token, "v".into(), ttl(9));
    assert_eq!(cache.fill(&[fill]).await.unwrap_err().kind(), ErrorKind::Codec);
    assert_eq!(place.everything().await, before);
    let set = cache.set(&cache_key("u1"), "v".into(), &SetOptions::new(ttl(9)).schema(7)).await.unwrap();
    assert_eq!(set, SetOutcome::Stored);
    place.run::<()>("DEL", &[&entry]).await;
    for key in [&entry, &lease] {
        place.run::<()>("RPUSH", &[key, "not this"]).await;
    }
    assert_eq!(cache.remove_many(&[cache_key("u1")]).await.unwrap(), 1);
    assert!(!place.keys().await.iter().any(|key| *key == entry || *key == lease));
    // The right type with something else in it.
    for nonsense in ["", "soon", "-7", "1.5", "99999999999999999"] {
        place.run::<()>("SET", &[&generation, nonsense]).await;
        everything_refuses(&mut place, "generation", &id).await;
    }
    for field in ["until", "at"] {
        let kept: String = place.run("HGET", &[&family, field]).await;
        for nonsense in ["", "soon", "-7", "1.5", "99999999999999999"] {
            place.run::<()>("HSET", &[&family, field, nonsense]).await;
            everything_refuses(&mut place, "family form", &id).await;
        }
        place.run::<()>("HDEL", &[&family, field]).await;
        everything_refuses(&mut place, "family form", &id).await;
        place.run::<()>("HSET", &[&family, field, &kept]).await;
    }
    place.run::<()>("SET", &[&scope, "soon"]).await;
    everything_refuses(&mut place, "scope", &id).await;
    place.run::<()>("SET", &[&service_scope, "soon"]).await;
    everything_refuses(&mut place, "service scope", &id).await;
    place.run::<()>("DEL", &[&service_scope]).await;
    for nonsense in ["", "soon", "-7", "1.5", "99999999999999999"] {
        for field in ["max_life", "family_life"] {
            place.run::<()>("HSET", &[&settings, field, nonsense]).await;
            everything_refuses(&mut place, "settings", &id).await;
            place.run::<()>("HDEL", &[&settings, field]).await;
        }
    }
    for nonsense in ["", "soon", "1:2:3", "-1:0", "99999999999999999999:0"] {
        place.run::<()>("HSET", &[&limit, "2/60000000/2", nonsense]).await;
        everything_refuses(&mut place, "limit", &id).await;
    }
    let attempts = place.key("attempts:login:u1");
    for nonsense in ["", "soon", "1:2:3:4:5", "1:2:3:4:5:6:7", "-1:2:3:4:5:6", "1:2:3:4:5:x"] {
        place.run::<()>("HSET", &[&attempts, "*", nonsense]).await;
        everything_refuses(&mut place, "attempts", &id).await;
    }
    // The token is the one that asks: its holder can't read either until when it holds the lock.
    place.run::<()>("HSET", &[&lock, "token", &"01".repeat(16), "fence", "7", "until", "9"]).await;
    for (field, spoilt) in [("until", "lock"), ("fence", "lock form")] {
        for nonsense in ["", "soon", "-7", "1.5", "99999999999999999"] {
            place.run::<()>("HSET", &[&lock, field, nonsense]).await;
            everything_refuses(&mut place, spoilt, &id).await;
        }
        place.run::<()>("HSET", &[&lock, field, "9"]).await;
    }
    place.run::<()>("HDEL", &[&lock, "token"]).await;
    everything_refuses(&mut place, "lock form", &id).await;
    for field in ["version", "used", "idle", "deadline", "created", "every"] {
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

/// What can't be read of one session: it does not count, it does not block its user, and it ends with the others.
pub(crate) async fn a_spoilt_session_blocks_nobody(mut place: Place) {
    let sessions = place.stores.session_store().unwrap();
    let ways: [(&str, &[&str]); 5] = [
        ("HDEL", &["idle"]),
        ("HDEL", &["version"]),
        ("HDEL", &["user"]),
        ("HSET", &["used", "soon"]),
        ("RPUSH", &["not this"]),
    ];
    for (command, args) in ways {
        let create = async |limit| sessions.create(&service(), new_session(&session_id("u1"), limit)).await;
        let made = async |limit| match create(limit).await.unwrap() {
            CreateOutcome::Created { record, evicted, .. } => (record.id, evicted),
            other => panic!("{other:?} beside one that has lost: {command} {args:?}"),
        };
        let (old, spoilt) = (made(SessionLimit::Reject(2)).await.0, made(SessionLimit::Reject(2)).await.0);
        let key = session_key(&place, &spoilt);
        if command == "RPUSH" {
            place.run::<()>("DEL", &[&key]).await;
        }
        let words: Vec<_> = std::iter::once(key.as_str()).chain(args.iter().copied()).collect();
        place.run::<()>(command, &words).await;
        let listed = async || {
            let records = sessions.list(&service(), "u1").await.unwrap();
            records.into_iter().map(|record| record.id).collect::<Vec<_>>()
        };
        assert_eq!(listed().await, std::slice::from_ref(&old), "{command} {args:?}");
        // Where its times can be read, it counts as the session that it was.
        let counts = args == ["version"] || args == ["user"];
        let (new, evicted) = made(SessionLimit::EvictOldest(if counts { 3 } else { 2 })).await;
        assert_eq!((listed().await, evicted), (vec![new.clone(), old.clone()], vec![]), "{command} {args:?}");
        let full = create(SessionLimit::Reject(2)).await.unwrap();
        assert_eq!(full, CreateOutcome::LimitReached);
        assert!(place.keys().await.contains(&key), "it is nobody's to be removed yet");
        let ended = sessions.destroy_all(&service(), "u1", Some(&new)).await.unwrap();
        assert_eq!(ended, [old, spoilt], "{command} {args:?}");
        assert!(!place.keys().await.contains(&key));
        assert_eq!(sessions.destroy_all(&service(), "u1", None).await.unwrap(), [new]);
    }
}
