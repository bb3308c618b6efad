//! Servers that really refuse: no memory, a looping script, a replica, loading.

use std::time::Duration;

use stanchion::ErrorKind::{Throttled, Unavailable};
use stanchion::cache::AllParts as _;
use stanchion::environment::Health;
use stanchion::key::bucket_of;
use stanchion::lock::{AcquireOutcome, LockRequest, LockToken, ReleaseOutcome, RenewOutcome};
use stanchion::session::TouchOutcome;
use stanchion::stores::Stores;
use stanchion::{Effect, ErrorKind};
use stanchion_conformance::servers::{Link, RedisProcess, Reply, until};

use crate::operations::{ALL, Operation, new_session, service};
use crate::support::{TIMEOUT, becomes, config, connect, eventually, facts, failed, hour, key, send};

/// Runs the operations that `which` picks; each must be refused like this, and none may have any effect.
pub(crate) async fn refuses(
    server: &RedisProcess,
    stores: &Stores,
    kind: ErrorKind,
    code: &str,
    which: impl Fn(&Operation) -> bool,
) {
    let before = send(server, &["DBSIZE"]).await;
    for operation in ALL.iter().filter(|operation| which(operation)) {
        let Err(error) = (operation.run)(stores).await else { panic!("{} was let in", operation.name) };
        let message = format!("{}: {error}", operation.name);
        assert_eq!(facts(&error), (kind, Effect::NotApplied), "{message}");
        assert!(error.to_string().contains(code), "{message}");
        assert_eq!((error.operation(), error.backend()), (Some(operation.name), Some("redis")), "{message}");
    }
    assert_eq!(send(server, &["DBSIZE"]).await, before, "nothing was stored");
}

/// Runs the operations that `which` picks; each must be answered.
pub(crate) async fn answers(stores: &Stores, which: impl Fn(&Operation) -> bool) {
    for operation in ALL.iter().filter(|operation| which(operation)) {
        let answer = (operation.run)(stores).await;
        assert!(answer.is_ok(), "{}: {}", operation.name, answer.unwrap_err());
    }
}

/// What stores something new on an empty server.
pub(crate) fn stores_something(operation: &Operation) -> bool {
    const STORING: [&str; 14] = [
        "cache.set",
        "cache.set_many",
        "cache.add",
        "cache.fetch",
        "cache.generations",
        "cache.bump",
        "session.create",
        "token.revoke",
        "token.revoke_all",
        "token.claim",
        "token.open_family",
        "token.agree",
        "token.floor",
        "limit.check",
    ];
    STORING.contains(&operation.name) || operation.name == "lock.acquire"
}

pub(crate) async fn out_of_memory() {
    let server = RedisProcess::start_with(&["--maxmemory-policy", "noeviction"]).await.unwrap();
    let stores = connect(config(&server.url())).await;
    let locker = stores.locker().unwrap();
    let token = LockToken::new([7; 16]);
    let held = locker.acquire(&LockRequest::new(key("held"), token, hour())).await.unwrap();
    let AcquireOutcome::Acquired(lease) = held else { panic!("{held:?}") };
    let sessions = stores.session_store().unwrap();
    // Each use of it is recorded.
    let session = new_session().publish();
    let id = session.id.clone();
    let _ = sessions.create(&service(), session).await.unwrap();
    send(&server, &["CONFIG", "SET", "maxmemory", "1"]).await;
    // Who has a session uses it and logs out; what is to be published of that is kept.
    assert!(sessions.use_session(&service(), &id).await.unwrap().is_some());
    let touched = sessions.touch(&service(), &id).await.unwrap();
    assert!(matches!(touched, TouchOutcome::Touched { .. }), "{touched:?}");
    assert!(sessions.destroy(&service(), &id).await.unwrap().is_some());
    let outbox = send(&server, &["XLEN", &format!("auth:session:{{{}}}:o", bucket_of("u1") % 1_024)]).await;
    assert_eq!(outbox, Reply::Int(2));
    // Who holds a lock keeps it, and gives it back.
    assert_eq!(locker.renew(std::slice::from_ref(&lease)).await.unwrap(), [RenewOutcome::Held]);
    assert_eq!(locker.release(&lease).await.unwrap(), ReleaseOutcome::Released);
    assert_eq!(locker.inspect(&key("held")).await.unwrap(), None);
    refuses(&server, &stores, Throttled, "OOM", stores_something).await;
    answers(&stores, |operation| !stores_something(operation)).await;
    assert_eq!(stores.health().current(), Health::Up);
    send(&server, &["CONFIG", "SET", "maxmemory", "0"]).await;
    answers(&stores, |_| true).await;
    // What is there can be freed while there is no room.
    send(&server, &["CONFIG", "SET", "maxmemory", "1"]).await;
    let cache = stores.cache_store().unwrap();
    assert_eq!(cache.remove_many(&[key("a"), key("n")]).await.unwrap(), 1);
    let error = failed(cache.add(&key("n"), 1, hour()).await);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
}

pub(crate) async fn a_script_that_loops() {
    let server = RedisProcess::start_with(&["--lua-time-limit", "50"]).await.unwrap();
    let stores = connect(config(&server.url())).await;
    let addr = server.addr();
    let looping =
        tokio::spawn(
            async move { Link::connect(addr).await?.ask(&["EVAL", "while true do end", "0"]).await },
        );
    let cache = stores.cache_store().unwrap();
    // Until the limit is over calls wait, then they are refused.
    until("the server says that it is busy", TIMEOUT, || async {
        match cache.get(&key("a")).await {
            Ok(_) => Err("it answers".to_owned()),
            Err(error) if error.to_string().contains("BUSY") => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    })
    .await
    .unwrap();
    for operation in ALL.iter().filter(|operation| operation.name != "event.subscribe") {
        let error = failed((operation.run)(&stores).await);
        assert_eq!(facts(&error), (Unavailable, Effect::NotApplied), "{}: {error}", operation.name);
        assert!(error.retry_after().is_some(), "{error}");
    }
    send(&server, &["SCRIPT", "KILL"]).await;
    // Whether it was killed before the test gave up its link is all the same.
    let _ = looping.await;
    answers(&stores, |_| true).await;
    assert_eq!(stores.health().current(), Health::Up);
}

/// The connections to a server that has become a replica are given up with the first reply that says so.
pub(crate) async fn a_read_only_replica() {
    let server = RedisProcess::start().await.unwrap();
    // No heartbeat comes in between.
    let stores = connect(config(&server.url()).ping_every(Duration::from_hours(1))).await;
    // A master that is not there: what is stored here is kept and may be read.
    send(&server, &["REPLICAOF", "127.0.0.1", "1"]).await;
    let cache = stores.cache_store().unwrap();
    let error = failed(cache.add(&key("n"), 1, hour()).await);
    assert_eq!(facts(&error), (Unavailable, Effect::NotApplied), "{error}");
    assert!(error.to_string().contains("READONLY"), "{error}");
    assert_eq!(stores.health().current(), Health::Down);
    refuses(&server, &stores, Unavailable, "not connected", |operation| {
        !operation.name.starts_with("event.")
    })
    .await;
    send(&server, &["REPLICAOF", "NO", "ONE"]).await;
    becomes(&stores, Health::Up).await;
    answers(&stores, |_| true).await;
}

pub(crate) async fn a_replica_without_its_master() {
    let server = RedisProcess::start_with(&["--replica-serve-stale-data", "no"]).await.unwrap();
    let stores = connect(config(&server.url()).ping_every(Duration::from_hours(1))).await;
    send(&server, &["REPLICAOF", "127.0.0.1", "1"]).await;
    // Reads are refused as well, and say so.
    let error = failed(stores.cache_store().unwrap().get(&key("a")).await);
    assert_eq!(facts(&error), (Unavailable, Effect::NotApplied), "{error}");
    assert!(error.to_string().contains("MASTERDOWN"), "{error}");
    assert_eq!(stores.health().current(), Health::Down);
    send(&server, &["REPLICAOF", "NO", "ONE"]).await;
    becomes(&stores, Health::Up).await;
    answers(&stores, |_| true).await;
}

/// A server with data that takes a second or so to load at the next start.
pub(crate) async fn slow_loader() -> RedisProcess {
    // A pause at each key, and every two megabytes a look at the clients.
    let settings = ["--key-load-delay", "2000", "--rdbcompression", "no"];
    let server = RedisProcess::start_with(&settings).await.unwrap();
    let fill = "for i = 0, 499 do redis.call('SET', 'cache:fault:' .. i, string.rep('x', 40000) .. i) end";
    send(&server, &["EVAL", fill, "0"]).await;
    send(&server, &["SAVE"]).await;
    server
}

pub(crate) async fn a_server_that_is_loading() {
    let server = slow_loader().await;
    let stores = connect(config(&server.url())).await;
    let cache = stores.cache_store().unwrap();
    let loading = async {
        until("the server says that it is loading", TIMEOUT, || async {
            match cache.add(&key("n"), 1, hour()).await {
                Err(error) if error.to_string().contains("LOADING") => Ok(error),
                other => Err(format!("{other:?}")),
            }
        })
        .await
        .unwrap()
    };
    server.kill().unwrap();
    let (restarted, error) = tokio::join!(server.restart(), loading);
    restarted.unwrap();
    assert_eq!(facts(&error), (Unavailable, Effect::NotApplied));
    assert!(error.retry_after().is_some(), "{error}");
    becomes(&stores, Health::Up).await;
    let keys = [key("0"), key("499"), key("n")];
    let found = eventually("all is loaded", || cache.get_many(&keys)).await;
    let found: Vec<bool> = found.iter().map(Option::is_some).collect();
    assert_eq!(found, [true, true, false]);
}

/// Not an error at all: whoever empties the script cache takes nothing from us.
pub(crate) async fn a_server_that_forgets_scripts() {
    let server = RedisProcess::start().await.unwrap();
    let stores = connect(config(&server.url())).await;
    for operation in ALL {
        send(&server, &["SCRIPT", "FLUSH"]).await;
        let answer = (operation.run)(&stores).await;
        assert!(answer.is_ok(), "{}: {}", operation.name, answer.unwrap_err());
    }
    assert_eq!(send(&server, &["GET", "cache:fault:n"]).await.text(), "1", "once");
}
