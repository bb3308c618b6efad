//! The first connection.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use stanchion::clock::ManualClock;
use stanchion::environment::{Environment, Health};
use stanchion::time::seconds;
use stanchion::{Effect, Error, ErrorKind, Result};
use stanchion_conformance::servers::{Link, Proxy, RedisProcess, Scripted, until};
use stanchion_redis::{RedisBackend, RedisConfig};

use crate::support::{TIMEOUT, becomes, cluster_config, config, connect, facts, key, refused, send, soon};

/// Connects on a clock whose pauses take no time; answers what came of it, and after how many pauses.
async fn without_waiting(config: RedisConfig) -> (Result<RedisBackend>, usize) {
    let clock = ManualClock::new();
    let environment = Environment::system().clock(Arc::new(clock.clone()));
    let connecting = tokio::spawn(RedisBackend::connect(config.environment(environment)));
    let mut pauses = 0;
    soon("an end of connecting", || {
        if connecting.is_finished() {
            return true;
        }
        if clock.sleepers() > 0 {
            pauses += 1;
            // No pause is longer.
            clock.advance(seconds(2));
        }
        false
    })
    .await;
    (connecting.await.unwrap(), pauses)
}

/// The error, which must have come after this many attempts.
async fn refused_after(attempts: usize, config: RedisConfig) -> Error {
    let (outcome, pauses) = without_waiting(config).await;
    let Err(error) = outcome else { panic!("it connected") };
    // A connection that was made before the refusal may have gone to sleep until its next ping.
    assert!((attempts..=attempts + 1).contains(&(pauses + 1)), "{pauses} pauses: {error}");
    let times = if attempts == 1 { "1 attempt;".to_owned() } else { format!("{attempts} attempts;") };
    assert!(error.to_string().contains(&times), "{error}");
    assert_eq!((error.operation(), error.backend()), (Some("connect"), Some("redis")));
    assert_eq!(error.effect(), Effect::NotApplied);
    assert!(std::error::Error::source(&error).is_some());
    error
}

pub(crate) async fn nobody_listens() {
    let proxy = Proxy::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 1))).await.unwrap();
    proxy.refuse().await;
    for attempts in [1, 2, 7] {
        let tried = config(&proxy.url()).connect_attempts(attempts);
        let error = refused_after(attempts as usize, tried).await;
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let host = proxy.addr().to_string();
        assert!(error.to_string().contains(&host), "{error}");
        assert!(error.to_string().contains("connection was refused"), "{error}");
    }
    // As a Cluster it names every host.
    let url = proxy.url();
    let cluster = RedisConfig::cluster([url.as_str(), "redis://127.0.0.1:1"]).unwrap().connect_attempts(3);
    let error = refused_after(3, cluster).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    for host in [proxy.addr().to_string().as_str(), "127.0.0.1:1"] {
        assert!(error.to_string().contains(host), "{error}");
    }
    // A server that takes the connection and sends nothing.
    let silent = Scripted::answering(b"").await.unwrap();
    silent.answer("HELLO", b"");
    let short = config(&silent.url()).deadline(std::time::Duration::from_millis(50)).connect_attempts(2);
    let error = refused_after(2, short).await;
    assert!(matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable), "{error}");
}

/// The library would not get any invalidation from it.
pub(crate) async fn a_server_without_resp3_is_refused_at_once() {
    let server = Scripted::answering(b"+OK\r\n").await.unwrap();
    let url = server.url();
    for reply in [
        "-NOPROTO unsupported protocol version\r\n",
        "-NOPROTO sorry, this protocol version is not supported.\r\n",
        "-ERR unknown command `HELLO`, with args beginning with: `3`, `SETNAME`, \r\n",
        "-ERR unknown command 'HELLO', with args beginning with: '3' 'SETNAME' \r\n",
        // It knows the command, and goes on as before.
        "*4\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:2\r\n",
    ] {
        server.answer("HELLO", reply.as_bytes());
        for config in [config(&url), cluster_config(std::slice::from_ref(&url))] {
            let before = server.requests("HELLO");
            let error = refused(config).await;
            assert_eq!(facts(&error), (ErrorKind::Config, Effect::NotApplied), "{reply:?}: {error}");
            for says in ["RESP3", "Redis 6.2", &server.addr().to_string(), "after 1 attempt;"] {
                assert!(error.to_string().contains(says), "{reply:?}: no {says} in {error}");
            }
            assert_eq!(server.requests("HELLO") - before, 1, "{reply:?}");
        }
    }
}

pub(crate) async fn a_server_that_comes_up_is_waited_for() {
    let server = RedisProcess::start().await.unwrap();
    server.kill().unwrap();
    let clock = ManualClock::new();
    let environment = Environment::system().clock(Arc::new(clock.clone()));
    let connecting = tokio::spawn(RedisBackend::connect(config(&server.url()).environment(environment)));
    soon("the first attempt", || clock.sleepers() > 0).await;
    server.restart().await.unwrap();
    clock.advance(seconds(2));
    let stores = connecting.await.unwrap().unwrap().stores();
    assert_eq!(stores.health().current(), Health::Up);
    assert_eq!(stores.cache_store().unwrap().get(&key("a")).await.unwrap(), None);
}

pub(crate) async fn loading_is_tried_again_and_attempts_are_counted() {
    const LOADING: &[u8] = b"-LOADING Redis is loading the dataset in memory\r\n";
    let server = Scripted::answering(b"_\r\n").await.unwrap();
    server.answer("stanchion:meta", LOADING);
    let error = refused_after(4, config(&server.url()).connect_attempts(4)).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("LOADING"), "{error}");
    assert_eq!((server.requests("HELLO"), server.requests("stanchion:meta")), (4, 4));

    let clock = ManualClock::new();
    let environment = Environment::system().clock(Arc::new(clock.clone()));
    let connecting = tokio::spawn(RedisBackend::connect(config(&server.url()).environment(environment)));
    soon("the first attempt", || server.requests("stanchion:meta") == 5 && clock.sleepers() > 0).await;
    server.forget("stanchion:meta");
    soon("a connection", || {
        clock.advance(seconds(2));
        connecting.is_finished()
    })
    .await;
    let stores = connecting.await.unwrap().unwrap().stores();
    assert_eq!(stores.cache_store().unwrap().get(&key("a")).await.unwrap(), None);
}

pub(crate) async fn a_server_that_is_loading_is_waited_for() {
    let server = crate::refused::slow_loader().await;
    let (restarted, connected) =
        tokio::join!(server.restart(), RedisBackend::connect(config(&server.url()).connect_attempts(50)));
    restarted.unwrap();
    let cache = connected.unwrap().stores().cache_store().unwrap();
    assert!(cache.get(&key("0")).await.unwrap().is_some(), "all is loaded");
}

fn with_credentials(server: &RedisProcess, credentials: &str) -> RedisConfig {
    config(&server.url().replace("redis://", &format!("redis://{credentials}@")))
}

pub(crate) async fn wrong_credentials_are_denied_at_once() {
    let server = RedisProcess::start_with(&["--requirepass", "sesame-right"]).await.unwrap();
    let wrong = with_credentials(&server, ":sesame-wrong");
    for config in [config(&server.url()), wrong, with_credentials(&server, "nobody:sesame-wrong")] {
        let error = refused_after(1, config).await;
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        assert!(!format!("{error} {error:?} {error:#?}").contains("sesame"), "{error:?}");
    }
    let stores = connect(with_credentials(&server, ":sesame-right")).await;
    assert!(!format!("{stores:?}").contains("sesame"));
    // So does a Cluster.
    let url = server.url().replace("redis://", "redis://:sesame-wrong@");
    let error = refused_after(1, RedisConfig::cluster([url.as_str()]).unwrap()).await;
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(!format!("{error} {error:?}").contains("sesame"), "{error:?}");
}

pub(crate) async fn missing_rights_are_denied_at_once() {
    let server = RedisProcess::start().await.unwrap();
    for rights in ["~* +hello +client +ping", "~other:* +@all", "~* +@all -hset"] {
        let words: Vec<_> = "ACL SETUSER weak reset on >pw".split(' ').chain(rights.split(' ')).collect();
        send(&server, &words).await;
        let error = refused_after(1, with_credentials(&server, "weak:pw")).await;
        assert_eq!(error.kind(), ErrorKind::Denied, "{rights}: {error}");
        assert!(error.to_string().contains("ACL"), "{rights}: {error}");
    }
    send(&server, &["ACL", "SETUSER", "weak", "reset", "off", ">pw", "~*", "+@all"]).await;
    assert_eq!(refused_after(1, with_credentials(&server, "weak:pw")).await.kind(), ErrorKind::Denied);
}

pub(crate) async fn too_many_clients_are_reported() {
    let server = RedisProcess::start().await.unwrap();
    // Before the door is shut.
    let mut link = Link::connect(server.addr()).await.unwrap();
    let stores = connect(config(&server.url())).await;
    link.ask(&["CONFIG", "SET", "maxclients", "2"]).await.unwrap();
    // The server hangs up without reading, so a client may find the link dead before it has read why.
    let denied = until("the server says why", TIMEOUT, || async {
        let error = refused(config(&server.url()).connect_attempts(1)).await;
        assert!(error.kind().is_transient(), "{error}");
        if error.kind() == ErrorKind::Throttled { Ok(error) } else { Err(error) }
    });
    let error = denied.await.unwrap();
    assert_eq!(facts(&error), (ErrorKind::Throttled, Effect::NotApplied));
    assert!(error.to_string().contains("maxclients"), "{error}");
    assert!(error.retry_after().is_some(), "{error}");
    assert_eq!(stores.health().current(), Health::Up, "who was there first stays");
    assert_eq!(stores.cache_store().unwrap().get(&key("a")).await.unwrap(), None);
    let waiting = tokio::spawn(connect(config(&server.url()).connect_attempts(50)));
    link.ask(&["CONFIG", "SET", "maxclients", "100"]).await.unwrap();
    becomes(&waiting.await.unwrap(), Health::Up).await;
}

/// The record of the layout is written once and compared then, so that connecting again is no harm.
pub(crate) async fn a_lost_reply_while_connecting_is_another_attempt() {
    let server = RedisProcess::start().await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    for lost in ["HELLO", "stanchion:meta"] {
        proxy.drop_next_reply_to(lost);
        let stores = connect(config(&proxy.url())).await;
        assert_eq!(stores.health().current(), Health::Up);
        stores.close(TIMEOUT).await.unwrap();
    }
    assert_eq!(proxy.dropped_replies(), 2);
    soon("no connection is left", || proxy.open_connections() == 0).await;
    // Nor of an attempt that failed for good.
    send(&server, &["HSET", "stanchion:meta", "layout", "0"]).await;
    assert_eq!(refused(config(&proxy.url())).await.kind(), ErrorKind::Config);
    soon("no connection is left", || proxy.open_connections() == 0).await;
}
