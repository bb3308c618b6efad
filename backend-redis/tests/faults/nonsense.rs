//! Replies that no Redis gives.

use stanchion::{Effect, ErrorKind};
use stanchion_conformance::servers::Scripted;
use stanchion_redis::{RedisBackend, RedisConfig};

use crate::operations::ALL;
use crate::support::{config, connect, key, soon};

const FORMS: &[&[u8]] = &[
    b"_\r\n",
    b"$-1\r\n",
    b"*-1\r\n",
    b"+OK\r\n",
    b"+\r\n",
    b":-1\r\n",
    b":9223372036854775807\r\n",
    b"$3\r\nabc\r\n",
    b"$1\r\n\xFF\r\n",
    b"#t\r\n",
    b",inf\r\n",
    b"(123456789012345678901234567890\r\n",
    b"=7\r\ntxt:abc\r\n",
    b"*0\r\n",
    b"%0\r\n",
    b"~0\r\n",
    b"%1\r\n+a\r\n+b\r\n",
    b"*1\r\n*1\r\n*0\r\n",
    b"*2\r\n:-1\r\n:-1\r\n",
    b"*2\r\n:1\r\n*1\r\n$1\r\na\r\n",
    b"*2\r\n:1\r\n*2\r\n$4\r\nuser\r\n$1\r\n\xFF\r\n",
    b"*4\r\n$7\r\ncreated\r\n:1\r\n:-2\r\n:3\r\n",
    b"*3\r\n$4\r\nused\r\n_\r\n_\r\n",
    b"*7\r\n:1\r\n:1\r\n:-1\r\n:-1\r\n:-1\r\n:-1\r\n:-1\r\n",
    b"*7\r\n:1\r\n:0\r\n:1\r\n:9\r\n:1\r\n:1\r\n:1\r\n",
    b"*2\r\n-NEWCODE inside\r\n_\r\n",
];

/// An answer or an error, never a panic; and an error that leaves no false certainty.
pub(crate) async fn no_reply_is_trusted() {
    let server = Scripted::answering(b"+OK\r\n").await.unwrap();
    let stores = connect(config(&server.url()).deadline(std::time::Duration::from_millis(200))).await;
    for form in FORMS {
        server.set_reply(form);
        let mut errors = 0;
        for operation in ALL {
            // What is nonsense for one operation may be an answer to another.
            let Err(error) = (operation.run)(&stores).await else {
                continue;
            };
            errors += 1;
            let message = format!("{} answered {:?}: {error}", operation.name, String::from_utf8_lossy(form));
            let kinds = [ErrorKind::Internal, ErrorKind::Codec, ErrorKind::Timeout];
            assert!(kinds.contains(&error.kind()), "{message}");
            assert_eq!(error.effect() == Effect::Unknown, operation.writes, "{message}");
        }
        assert!(errors > 0, "everybody took {:?}", String::from_utf8_lossy(form));
    }
    // What is not the protocol at all ends the connection, and another takes its place; so does half a reply, or
    // something that is no reply.
    for garbage in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"\xFF\xFE\r\n",
        b"$99999999999999\r\n",
        b"*2\r\n:1\r\n",
        b">2\r\n+message\r\n+c\r\n",
    ] {
        server.set_reply(garbage);
        for operation in ALL.iter().filter(|operation| operation.name != "event.subscribe") {
            let Err(error) = (operation.run)(&stores).await else {
                panic!("{} took garbage", operation.name)
            };
            assert!(error.effect() == Effect::NotApplied || operation.writes, "{}: {error}", operation.name);
        }
    }
    server.set_reply(b"$1\r\nv\r\n");
    let cache = stores.cache_store().unwrap();
    crate::support::eventually("an answer", || async { cache.get(&key("a")).await }).await;
}

pub(crate) async fn no_slot_map_is_trusted() {
    let server = Scripted::answering(b"+OK\r\n").await.unwrap();
    let url = server.url();
    let config = || RedisConfig::cluster([url.as_str()]).unwrap().connect_attempts(1);
    for map in [
        &b"*0\r\n"[..],
        b"+OK\r\n",
        b"_\r\n",
        b"*1\r\n*0\r\n",
        b"*1\r\n*3\r\n:0\r\n:99999\r\n*2\r\n$9\r\n127.0.0.1\r\n:1\r\n",
        b"*1\r\n*3\r\n:-1\r\n:5\r\n*2\r\n$9\r\n127.0.0.1\r\n:1\r\n",
        b"*1\r\n*3\r\n:0\r\n:5\r\n*2\r\n$1\r\n\xFF\r\n:1\r\n",
        b"*1\r\n*3\r\n:0\r\n:5\r\n*2\r\n$9\r\n127.0.0.1\r\n:-7\r\n",
    ] {
        server.answer("CLUSTER", map);
        let Err(error) = RedisBackend::connect(config()).await else { panic!("it took {map:?}") };
        assert!(matches!(error.kind(), ErrorKind::Internal | ErrorKind::Unavailable), "{error}");
    }
    // A map whose ranges are the wrong way round, or that leaves slots out, serves what it has.
    server.answer("CLUSTER", b"*1\r\n*3\r\n:9\r\n:5\r\n*2\r\n$9\r\n127.0.0.1\r\n:1\r\n");
    assert!(RedisBackend::connect(config()).await.is_err());
    // Later, the map that was good is kept.
    server.forget("CLUSTER");
    let stores = connect(config()).await;
    server.answer("CLUSTER", b"*1\r\n*0\r\n");
    server.set_reply(b"-CLUSTERDOWN Hash slot not served\r\n");
    let before = server.requests("CLUSTER");
    assert!(stores.cache_store().unwrap().get(&key("a")).await.is_err());
    soon("the map is read", || server.requests("CLUSTER") > before).await;
    server.set_reply(b"$1\r\nv\r\n");
    assert!(stores.cache_store().unwrap().get(&key("a")).await.unwrap().is_some());
}
