//! What is stored is not what is read. (What the scripts of sessions, tokens, limits and locks refuse is in
//! `tests/scripts/spoilt.rs`.)

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::StreamExt as _;
use redis::cmd;
use stanchion::cache::AllParts as _;
use stanchion::cache::{SetOptions, SetOutcome, When};
use stanchion::event::standard::UserUpdated;
use stanchion::event::{Delivery, Received, SubscribeOptions};
use stanchion::key::Name;
use stanchion::session::{CreateOutcome, Patch, SessionLimit};
use stanchion::{Effect, Error, ErrorKind};
use stanchion_conformance::servers::RedisProcess;

use crate::operations::{new_session, service, value};
use crate::support::{TIMEOUT, config, connect, facts, failed, hour, key, raw, send};

pub(crate) async fn undecodable_values_are_misses() {
    let server = RedisProcess::start().await.unwrap();
    let stores = connect(config(&server.url())).await;
    let mut raw = raw(&server).await;
    let names = stores.cache::<String>("name").build().unwrap();
    names.set("good", &"Ada".to_owned()).await.unwrap();
    // What this program writes, to be spoilt: magic, version, codec, flags, and more. The end is the JSON.
    names.set("bad", &"Ada".to_owned()).await.unwrap();
    let written: Vec<u8> = cmd("GET").arg("cache:name:bad").query_async(&mut raw).await.unwrap();
    let others: Vec<u8> = cmd("GET").arg("cache:name:good").query_async(&mut raw).await.unwrap();
    assert!(written.starts_with(b"\xB5\x02\x01\x00") && written.ends_with(b"\"Ada\""), "{written:?}");
    let with = |at: usize, byte| {
        let mut bytes = written.clone();
        bytes[at] = byte;
        bytes
    };
    let cut = |left: usize| written[..left].to_vec();
    let bad: [Vec<u8>; 18] = [
        b"".into(),
        b"\xB5".into(),
        b"\"plain JSON\"".into(),
        // Of the version before, which is still read.
        b"\xB5\x01\x01".into(),
        b"\xB5\x01\x01\x00".into(),
        b"\xB5\x01\x01\x00\xFF\xFE".into(),
        b"\xB5\x01\x01\x00{\"another\":\"type\"}".into(),
        b"\xB5\x01\x02\x00\x03Ada".into(),
        // Of a later version.
        with(1, 3),
        // Of this one: another codec, an unknown flag, cut short in the header, behind it and in the value, a value of
        // another type, and the value of another key.
        with(2, 2),
        with(3, 0x80),
        cut(4),
        cut(20),
        cut(written.len() - 5),
        cut(written.len() - 1),
        [&cut(written.len() - 5)[..], b"\xFF\xFE"].concat(),
        [&cut(written.len() - 5)[..], b"{\"another\":\"type\"}"].concat(),
        others,
    ];
    for (n, bytes) in bad.iter().enumerate() {
        cmd("SET").arg("cache:name:bad").arg(bytes).exec_async(&mut raw).await.unwrap();
        let before = names.stats();
        assert_eq!(names.get("bad").await.unwrap(), None, "{n}");
        let found = names.get_many(&["good", "bad", "none"]).await.unwrap();
        assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, false]);
        let after = names.stats();
        assert_eq!(after.undecodable - before.undecodable, 2, "{n}");
        assert_eq!((after.misses - before.misses, after.hits - before.hits), (3, 1), "{n}");
        // A load puts it right.
        let loaded = names.get_or_load("bad", || async { Ok::<_, Error>("Eve".to_owned()) }).await.unwrap();
        assert_eq!(*loaded, "Eve");
        assert_eq!(names.get("bad").await.unwrap().as_deref().map(String::as_str), Some("Eve"));
        assert_eq!(names.stats().undecodable - after.undecodable, 1, "{n}");
    }
}

pub(crate) async fn undecodable_fields_and_counters_are_errors() {
    let server = RedisProcess::start().await.unwrap();
    let stores = connect(config(&server.url())).await;
    let sessions = stores.sessions().build().unwrap();
    let opened = sessions.create("u1", Patch::new().set("theme", &b"\xFFdark"[..])).await.unwrap().unwrap();
    let session = sessions.load(&opened.token).await.unwrap().unwrap();
    let error = failed(session.value::<String>("theme"));
    assert_eq!(facts(&error), (ErrorKind::Codec, Effect::NotApplied), "{error}");
    assert!(!error.to_string().contains("dark"), "{error}");

    let counters = stores.counters("hits").build().unwrap();
    for bad in ["", "many", "1.5", "99999999999999999999", " 1"] {
        send(&server, &["SET", "counter:hits:c", bad]).await;
        for error in [failed(counters.add("c", 1).await), failed(counters.get("c").await)] {
            assert_eq!(facts(&error), (ErrorKind::Codec, Effect::NotApplied), "{bad:?}: {error}");
        }
        assert_eq!(send(&server, &["GET", "counter:hits:c"]).await.text(), bad, "left as it was");
    }
    send(&server, &["SET", "counter:hits:c", &i64::MAX.to_string()]).await;
    let error = failed(counters.add("c", 1).await);
    assert_eq!(facts(&error), (ErrorKind::InvalidInput, Effect::NotApplied), "{error}");
    assert_eq!(counters.get("c").await.unwrap(), i64::MAX);
}

pub(crate) async fn another_type_at_a_cache_key_is_left_as_it_is() {
    let server = RedisProcess::start().await.unwrap();
    let stores = connect(config(&server.url())).await;
    let cache = stores.cache_store().unwrap();
    let (a, stored) = (key("a"), key("a").as_str().to_owned());
    let foreign: [&[&str]; 5] = [
        &["RPUSH", &stored, "x"],
        &["HSET", &stored, "f", "x"],
        &["SADD", &stored, "x"],
        &["ZADD", &stored, "1", "x"],
        &["XADD", &stored, "*", "f", "x"],
    ];
    for words in foreign {
        send(&server, words).await;
        let before = send(&server, &["TYPE", &stored]).await;
        let when = |when| SetOptions::new(hour()).when(when);
        for (operation, error) in [
            ("get", cache.get(&a).await.err()),
            ("get_many", cache.get_many(&[key("b"), a.clone()]).await.err()),
            ("set if absent", cache.set(&a, value(), &when(When::Absent)).await.err()),
            ("set if present", cache.set(&a, value(), &when(When::Present)).await.err()),
            ("set if equal", cache.set(&a, value(), &when(When::Equals(value()))).await.err()),
            ("add", cache.add(&a, 1, hour()).await.err()),
            ("touch", cache.touch(&a, hour()).await.err()),
            ("ttl", cache.ttl(&a).await.err()),
        ] {
            let error = error.unwrap_or_else(|| panic!("{operation} took a {}", before.text()));
            assert_eq!(facts(&error), (ErrorKind::Codec, Effect::NotApplied), "{operation}: {error}");
            assert!(error.to_string().contains("WRONGTYPE"), "{operation}: {error}");
        }
        assert_eq!(send(&server, &["TYPE", &stored]).await, before);
        assert_eq!(send(&server, &["TTL", &stored]).await.int(), Some(-1), "not touched");
        assert_eq!(cache.set(&a, value(), &SetOptions::new(hour())).await.unwrap(), SetOutcome::Stored);
        send(&server, &["DEL", &stored]).await;
        send(&server, words).await;
        assert_eq!(cache.remove_many(std::slice::from_ref(&a)).await.unwrap(), 1);
    }
}

pub(crate) async fn bytes_that_are_no_text_are_no_session() {
    let server = RedisProcess::start().await.unwrap();
    let stores = connect(config(&server.url())).await;
    let (sessions, mut raw) = (stores.session_store().unwrap(), raw(&server).await);
    let new = new_session();
    let id = new.id.clone();
    let _ = sessions.create(&service(), new).await.unwrap();
    let stored = send(&server, &["KEYS", "auth:session:*:s:*"]).await.items()[0].text();
    let whole: BTreeMap<Vec<u8>, Vec<u8>> = cmd("HGETALL").arg(&stored).query_async(&mut raw).await.unwrap();
    let spoilings: [(&[u8], &[u8]); 3] = [(b"user", b"\xFF"), (b"d:\xFF", b"x"), (b"created", b"soon")];
    for (field, bytes) in spoilings {
        cmd("HSET").arg(&stored).arg(field).arg(bytes).exec_async(&mut raw).await.unwrap();
        let error = failed(sessions.load(&service(), &id).await);
        assert_eq!(facts(&error), (ErrorKind::Codec, Effect::NotApplied), "{error}");
        // A list shows nothing of the fields.
        let is_listed = field.starts_with(b"d:");
        assert_eq!(sessions.list(&service(), "u1").await.unwrap().len(), usize::from(is_listed));
        cmd("DEL").arg(&stored).exec_async(&mut raw).await.unwrap();
        for (field, bytes) in &whole {
            cmd("HSET").arg(&stored).arg(field).arg(bytes).exec_async(&mut raw).await.unwrap();
        }
    }
    // A member of the index that is no hash of a session.
    let index = send(&server, &["KEYS", "auth:session:*:u:*"]).await.items()[0].text();
    let stem = stored.rsplit_once(':').unwrap().0;
    send(&server, &["ZADD", &index, "1", "short"]).await;
    let copied: bool =
        cmd("COPY").arg(&[&stored, &format!("{stem}:short")]).query_async(&mut raw).await.unwrap();
    assert!(copied);
    let listed = async || {
        let records = sessions.list(&service(), "u1").await.unwrap();
        records.into_iter().map(|record| record.id).collect::<Vec<_>>()
    };
    assert_eq!(listed().await, std::slice::from_ref(&id));
    let mut new = new_session();
    new.limit = SessionLimit::EvictOldest(2);
    let CreateOutcome::Created { record, evicted, .. } = sessions.create(&service(), new).await.unwrap()
    else {
        panic!("others make room");
    };
    assert_eq!((evicted, listed().await), (vec![], vec![record.id.clone(), id.clone()]));
    assert_eq!(sessions.destroy_all(&service(), "u1", None).await.unwrap(), [id, record.id]);
    assert_eq!(listed().await, []);
}

pub(crate) async fn a_message_that_is_no_event_is_reported() {
    let server = RedisProcess::start().await.unwrap();
    let stores = connect(config(&server.url())).await;
    let mut raw = raw(&server).await;
    let options = SubscribeOptions::new(Name::new("user").unwrap());
    let mut subscription = stores.event_bus().unwrap().subscribe(options).await.unwrap();
    let mut events = stores.topic::<UserUpdated>().unwrap().subscribe().await.unwrap();
    for bytes in [&b""[..], b"\xFF\xFE", b"{}", b"top-secret", &Bytes::from(vec![b'['; 100_000])] {
        cmd("PUBLISH").arg("events:user:channel").arg(bytes).exec_async(&mut raw).await.unwrap();
        let received = tokio::time::timeout(TIMEOUT, subscription.next()).await.unwrap();
        let Some(Received::Malformed(error)) = received else { panic!("{received:?}") };
        assert_eq!(error.kind(), ErrorKind::Codec);
        assert!(!format!("{error:?}").contains("top-secret"), "{error:?}");
        let delivered = tokio::time::timeout(TIMEOUT, events.next()).await.unwrap();
        assert!(matches!(delivered, Some(Delivery::Malformed(_))), "{delivered:?}");
    }
    let event = UserUpdated { user_id: "u1".into(), changed: vec![] };
    stores.topic().unwrap().publish(&event).await.unwrap();
    let received = tokio::time::timeout(TIMEOUT, subscription.next()).await.unwrap();
    assert!(matches!(received, Some(Received::Event(_))), "the stream goes on: {received:?}");
}
