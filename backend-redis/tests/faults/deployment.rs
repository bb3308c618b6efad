//! A server of another kind than the settings are for, or one that hides what it is.

use std::sync::Arc;
use std::time::Duration;

use stanchion::cache::AllParts as _;
use stanchion::clock::ManualClock;
use stanchion::environment::{Environment, Health};
use stanchion::time::seconds;
use stanchion::{Effect, Error, ErrorKind};
use stanchion_conformance::servers::{Cluster, RedisProcess, Scripted};
use stanchion_redis::RedisConfig;

use crate::support::{config, connect, facts, failed, hour, key, refused, soon};

fn names(error: &Error, form: &str) {
    assert_eq!(facts(error), (ErrorKind::Config, Effect::NotApplied), "{error}");
    assert!(error.to_string().contains(form) && error.to_string().contains("1 attempt;"), "{form}: {error}");
}

pub(crate) async fn a_node_of_a_cluster_is_no_standalone_server() {
    let cluster = Cluster::start().await.unwrap();
    for node in cluster.nodes() {
        let error = refused(config(&node.url())).await;
        names(&error, &format!("redis+cluster://{}", node.addr()));
    }
}

pub(crate) async fn a_standalone_server_is_no_node_of_a_cluster() {
    let server = RedisProcess::start().await.unwrap();
    let url = server.url();
    names(&refused(RedisConfig::cluster([url.as_str()]).unwrap()).await, "redis://");
}

/// As Redis 7.0 says it.
const OF_A_SENTINEL: &[u8] = b"%5\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:7\r\n\
    $4\r\nmode\r\n$8\r\nsentinel\r\n$7\r\nmodules\r\n*0\r\n";

pub(crate) async fn a_sentinel_is_neither() {
    let server = Scripted::answering(b"-ERR unknown command\r\n").await.unwrap();
    server.answer("HELLO", OF_A_SENTINEL);
    let form = format!("redis+sentinel://{}/", server.addr());
    names(&refused(config(&server.url())).await, &form);
    let url = server.url();
    names(&refused(RedisConfig::cluster([url.as_str()]).unwrap()).await, &form);
}

const WITHOUT_ROLE: &[u8] = b"%1\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n";
const REPLICA: &[u8] = b"*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:1\r\n$7\r\nconnect\r\n:-1\r\n";

/// `ROLE` is asked where `HELLO` does not say it; where neither does, the server is used.
pub(crate) async fn a_role_that_hello_does_not_say() {
    let server = Scripted::answering(b"_\r\n").await.unwrap();
    server.answer("HELLO", WITHOUT_ROLE);
    server.answer("ROLE", REPLICA);
    let error = refused(config(&server.url()).connect_attempts(2)).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("is a replica"), "{error}");
    server.answer("ROLE", b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n");
    let every = Duration::from_millis(20);
    let stores = connect(config(&server.url()).ping_every(every)).await;
    let before = server.requests("ROLE");
    soon("a heartbeat", || server.requests("ROLE") > before).await;
    server.answer("ROLE", REPLICA);
    crate::support::becomes(&stores, Health::Down).await;
    for unknown in [&b"-NOPERM no\r\n"[..], b"+OK\r\n"] {
        server.answer("ROLE", unknown);
        assert_eq!(connect(config(&server.url())).await.health().current(), Health::Up);
    }
}

/// What says READONLY need not be a replica. Then calls fail as they would, and the connection is made anew now and then.
pub(crate) async fn a_master_that_says_it_is_read_only() {
    let server =
        Scripted::answering(b"-READONLY You can't write against a read only replica.\r\n").await.unwrap();
    let clock = ManualClock::new();
    let environment = Environment::system().clock(Arc::new(clock.clone()));
    let never = Duration::from_hours(1);
    let stores = connect(config(&server.url()).ping_every(never).environment(environment)).await;
    let cache = stores.cache_store().unwrap();
    for connections in 1..=3 {
        assert_eq!(server.requests("HELLO"), connections);
        let error = failed(cache.add(&key("n"), 1, hour()).await);
        assert!(error.to_string().contains("READONLY"), "{error}");
        assert_eq!(stores.health().current(), Health::Down);
        soon("another connection", || {
            if server.requests("HELLO") == connections {
                clock.advance(Duration::from_millis(50));
            }
            stores.health().current() == Health::Up
        })
        .await;
        for _ in 0..100 {
            let error = failed(cache.add(&key("n"), 1, hour()).await);
            assert!(error.to_string().contains("READONLY"), "{error}");
        }
        clock.advance(seconds(5));
    }
}
