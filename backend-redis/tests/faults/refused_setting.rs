//! Servers that really refuse, because an operator has set them up so.

use stanchion::Effect;
use stanchion::ErrorKind::{Denied, Unavailable};
use stanchion::cache::AllParts as _;
use stanchion::environment::Health;
use stanchion::event::SubscribeOptions;
use stanchion::key::Name;
use stanchion::stores::Stores;
use stanchion_conformance::servers::{RedisProcess, until};
use stanchion_redis::RedisBackend;

use crate::operations::Operation;
use crate::refused::{answers, refuses, stores_something};
use crate::support::{TIMEOUT, becomes, config, connect, facts, failed, hour, key, send};

/// The folder that the server would save to goes away.
pub(crate) async fn a_disk_that_fails() {
    let folder = std::env::temp_dir().join(format!("stanchion-gone-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let place = folder.to_str().unwrap();
    let server = RedisProcess::start_with(&["--dir", place]).await.unwrap();
    send(&server, &["CONFIG", "SET", "save", "3600 1000000"]).await;
    std::fs::remove_dir(&folder).unwrap();
    let stores = connect(config(&server.url())).await;
    send(&server, &["BGSAVE"]).await;
    until("the save has failed", TIMEOUT, || async {
        let info = send(&server, &["INFO", "persistence"]).await.text();
        if info.contains("rdb_last_bgsave_status:err") { Ok(()) } else { Err("not yet") }
    })
    .await
    .unwrap();
    refuses(&server, &stores, Unavailable, "MISCONF", stores_something).await;
    answers(&stores, |operation| !operation.writes).await;
    send(&server, &["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]).await;
    answers(&stores, |_| true).await;
}

pub(crate) async fn too_few_replicas() {
    let server = RedisProcess::start_with(&["--min-replicas-to-write", "1"]).await.unwrap();
    // The record of the layout can't be written either.
    let error = crate::support::refused(config(&server.url()).connect_attempts(1)).await;
    assert_eq!(facts(&error), (Unavailable, Effect::NotApplied), "{error}");
    send(&server, &["CONFIG", "SET", "min-replicas-to-write", "0"]).await;
    let stores = connect(config(&server.url())).await;
    send(&server, &["CONFIG", "SET", "min-replicas-to-write", "1"]).await;
    refuses(&server, &stores, Unavailable, "NOREPLICAS", stores_something).await;
    answers(&stores, |operation| !operation.writes).await;
    send(&server, &["CONFIG", "SET", "min-replicas-to-write", "0"]).await;
    answers(&stores, |_| true).await;
}

/// What is open stays open; a call that needs a new connection fails with the reason, and recovers by itself.
pub(crate) async fn a_password_that_is_new() {
    let server = RedisProcess::start().await.unwrap();
    let stores = connect(config(&server.url())).await;
    let cache = stores.cache_store().unwrap();
    let mut admin = crate::support::raw(&server).await;
    send(&server, &["CONFIG", "SET", "requirepass", "sesame"]).await;
    cache.add(&key("n"), 1, hour()).await.unwrap();
    let everybody_else = ["KILL", "TYPE", "normal", "SKIPME", "yes"];
    redis::cmd("CLIENT").arg(&everybody_else).exec_async(&mut admin).await.unwrap();
    becomes(&stores, Health::Down).await;
    let error = until("the reason", TIMEOUT, || async {
        match cache.add(&key("n"), 1, hour()).await {
            Err(error) if error.kind() == Denied => Ok(error),
            other => Err(format!("{other:?}")),
        }
    });
    let error = error.await.unwrap();
    assert_eq!(facts(&error), (Denied, Effect::NotApplied));
    assert!(error.to_string().contains("password"), "{error}");
    assert!(!format!("{error:?}").contains("sesame"));
    redis::cmd("CONFIG").arg(&["SET", "requirepass", ""]).exec_async(&mut admin).await.unwrap();
    becomes(&stores, Health::Up).await;
    assert_eq!(cache.add(&key("n"), 1, hour()).await.unwrap(), 2, "nothing in between was added");
}

async fn as_service(server: &RedisProcess) -> Stores {
    send(server, &["ACL", "SETUSER", "svc", "on", ">pw", "~*", "&*", "+@all"]).await;
    let url = server.url().replace("redis://", "redis://svc:pw@");
    RedisBackend::connect(config(&url)).await.unwrap().stores()
}

pub(crate) async fn rights_that_are_withdrawn() {
    let server = RedisProcess::start().await.unwrap();
    let stores = as_service(&server).await;
    let everything = |operation: &Operation| operation.name != "event.subscribe";
    let subscribing = async || {
        // Withdrawing a channel ends the connections that were subscribed to it.
        let denied = until("a subscription is denied", TIMEOUT, || async {
            match stores.event_bus()?.subscribe(SubscribeOptions::new(Name::new("user")?)).await {
                Err(error) if error.kind() == Denied => Ok(error),
                Err(error) => Err(error),
                Ok(_) => Err(stanchion::Error::invalid("it was let in")),
            }
        });
        assert_eq!(denied.await.unwrap().effect(), Effect::NotApplied);
    };
    send(&server, &["ACL", "SETUSER", "svc", "-@all", "+hello", "+ping", "+client"]).await;
    refuses(&server, &stores, Denied, "NOPERM", everything).await;
    subscribing().await;
    send(&server, &["ACL", "SETUSER", "svc", "+@all"]).await;
    answers(&stores, everything).await;
    // Keys and channels of others.
    send(&server, &["ACL", "SETUSER", "svc", "resetkeys", "~other:*", "resetchannels", "&other:*"]).await;
    refuses(&server, &stores, Denied, "NOPERM", everything).await;
    subscribing().await;
    send(&server, &["ACL", "SETUSER", "svc", "~*", "&*"]).await;
    answers(&stores, everything).await;
    assert_eq!(stores.health().current(), Health::Up);
}

/// A script is let in and stopped in the middle: nobody knows what it has written.
pub(crate) async fn rights_that_end_inside_a_script() {
    let server = RedisProcess::start().await.unwrap();
    let stores = as_service(&server).await;
    let cache = stores.cache_store().unwrap();
    send(&server, &["ACL", "SETUSER", "svc", "-pexpire"]).await;
    let error = failed(cache.add(&key("n"), 1, hour()).await);
    assert_eq!(facts(&error), (Denied, Effect::Unknown), "{error}");
    assert!(error.to_string().contains("ACL"), "{error}");
    assert_eq!(send(&server, &["GET", "cache:fault:n"]).await.text(), "1", "it was added");
    // What only reads has certainly changed nothing.
    send(&server, &["ACL", "SETUSER", "svc", "-pttl"]).await;
    let error = failed(cache.ttl(&key("n")).await);
    assert_eq!(facts(&error), (Denied, Effect::NotApplied), "{error}");
}
