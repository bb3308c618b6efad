//! Every error that a server can answer, through whole operations: kind, effect, when to try again, which operation
//! on which backend, and sent no more often than that is safe.

use std::time::Duration;

use stanchion::cache::AllParts as _;
use stanchion::environment::Health;
use stanchion::{Effect, ErrorKind};
use stanchion_conformance::servers::Scripted;
use stanchion_redis::RedisConfig;

use crate::operations::ALL;
use crate::support::{becomes, config, connect, facts, failed, hour, key, refused};

use ErrorKind::{Codec, Config, Denied, Internal, InvalidInput, Throttled, Unavailable, Unsupported};

/// What a server answers, the kind of the error, and whether it says when to try again.
const CODES: &[(&str, ErrorKind, bool)] = &[
    ("NOAUTH Authentication required.", Denied, false),
    ("WRONGPASS invalid username-password pair or user is disabled.", Denied, false),
    ("NOPERM this user has no permissions to run the 'get' command", Denied, false),
    ("NOPERM No permissions to access a key", Denied, false),
    ("NOPERM No permissions to access a channel", Denied, false),
    ("DENIED Redis is running in protected mode because protected mode is enabled", Denied, false),
    ("OOM command not allowed when used memory > 'maxmemory'.", Throttled, true),
    ("ERR max number of clients reached", Throttled, true),
    ("LOADING Redis is loading the dataset in memory", Unavailable, true),
    (
        "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
        Unavailable,
        true,
    ),
    ("READONLY You can't write against a read only replica.", Unavailable, true),
    ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", Unavailable, true),
    ("CLUSTERDOWN The cluster is down", Unavailable, true),
    ("CLUSTERDOWN Hash slot not served", Unavailable, true),
    ("TRYAGAIN Multiple keys request during rehashing of slot", Unavailable, true),
    ("MOVED 866 127.0.0.1:1", Unavailable, true),
    ("ASK 866 127.0.0.1:1", Unavailable, true),
    ("MOVED nonsense", Unavailable, true),
    (
        "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist",
        Unavailable,
        false,
    ),
    ("NOREPLICAS Not enough good replicas to write.", Unavailable, true),
    ("WRONGTYPE Operation against a key holding the wrong kind of value", Codec, false),
    ("NOTANUMBER the key holds something that is no number", Codec, false),
    ("OVERFLOW the counter would leave the range of i64", InvalidInput, false),
    ("CROSSSLOT Keys in request don't hash to the same slot", Internal, false),
    ("EXECABORT Transaction discarded because of previous errors.", Internal, false),
    ("NOSCRIPT No matching script. Please use EVAL.", Internal, false),
    ("NOPROTO unsupported protocol version", Config, false),
    ("ERR unknown command 'EVALSHA', with args beginning with: 'top-secret'", Unsupported, false),
    ("ERR something new about 'top-secret'", Internal, false),
    ("NEWCODE top-secret", Internal, false),
    ("top-secret", Internal, false),
    ("", Internal, false),
];

pub(crate) async fn every_code_on_every_operation() {
    let server = Scripted::answering(b"+OK\r\n").await.unwrap();
    let stores = connect(config(&server.url())).await;
    for (line, kind, says_when) in CODES {
        server.set_reply(format!("-{line}\r\n").as_bytes());
        // The reply of a replica gives the connection up.
        becomes(&stores, Health::Up).await;
        for operation in ALL {
            let error = failed((operation.run)(&stores).await);
            let message = format!("{} answered {line:?}: {error}", operation.name);
            assert_eq!(facts(&error), (*kind, Effect::NotApplied), "{message}");
            assert_eq!(error.retry_after().is_some(), *says_when, "{message}");
            assert_eq!(
                (error.operation(), error.backend()),
                (Some(operation.name), Some("redis")),
                "{message}"
            );
            assert!(!format!("{error} {error:?}").contains("top-secret"), "{message}");
        }
    }
}

/// Nothing is sent twice, but for a script that the server does not know.
pub(crate) async fn nothing_is_sent_twice() {
    let server = Scripted::answering(b"+OK\r\n").await.unwrap();
    let stores = connect(config(&server.url())).await;
    for (line, times) in
        [("LOADING wait", 1), ("OOM no", 1), ("MOVED 866 127.0.0.1:1", 1), ("NOSCRIPT who?", 2)]
    {
        server.set_reply(format!("-{line}\r\n").as_bytes());
        let before = server.requests("EVAL");
        let cache = stores.cache_store().unwrap();
        failed(cache.add(&key("counted"), 1, hour()).await);
        assert_eq!(server.requests("EVAL") - before, times, "{line}");
        let before = server.requests("counted");
        failed(cache.get(&key("counted")).await);
        assert_eq!(server.requests("counted") - before, 1, "{line}");
    }
}

pub(crate) async fn no_answer_is_a_timeout() {
    let server = Scripted::answering(b"").await.unwrap();
    // Else its answer would be taken for that of the silent command before it.
    server.answer("PING", b"");
    let short = Duration::from_millis(200);
    for operation in ALL {
        // A link that was silent once is soon found dead: each has its own.
        let stores = connect(config(&server.url()).deadline(short).cache_deadline(short)).await;
        let error = failed((operation.run)(&stores).await);
        let effect = if operation.writes { Effect::Unknown } else { Effect::NotApplied };
        assert_eq!(facts(&error), (ErrorKind::Timeout, effect), "{}: {error}", operation.name);
        assert_eq!((error.operation(), error.backend()), (Some(operation.name), Some("redis")));
    }
}

pub(crate) async fn the_handshake_is_refused() {
    let server = Scripted::answering(b"+OK\r\n").await.unwrap();
    for (line, kind) in [
        ("NOPROTO unsupported protocol version", Config),
        ("ERR unknown command `HELLO`, with args beginning with: `3`, ", Config),
        ("NOAUTH HELLO must be called with the client already authenticated", Denied),
        ("WRONGPASS invalid username-password pair or user is disabled.", Denied),
        ("NOPERM this user has no permissions to run the 'hello' command", Denied),
        ("DENIED Redis is running in protected mode because protected mode is enabled", Denied),
        ("LOADING Redis is loading the dataset in memory", Unavailable),
        ("MASTERDOWN Link with MASTER is down", Unavailable),
        ("ERR max number of clients reached", Throttled),
        ("ERR something new", Internal),
    ] {
        server.answer("HELLO", format!("-{line}\r\n").as_bytes());
        let before = server.requests("HELLO");
        let url = server.url();
        for config in [config(&url), RedisConfig::cluster([url.as_str()]).unwrap()] {
            let error = refused(config.connect_attempts(2)).await;
            assert_eq!(facts(&error), (kind, Effect::NotApplied), "{line:?}: {error}");
        }
        let tried = if kind.is_transient() { 4 } else { 2 };
        assert_eq!(server.requests("HELLO") - before, tried, "{line:?}");
    }
}
