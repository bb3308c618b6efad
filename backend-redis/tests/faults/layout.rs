//! The record of the layout, `stanchion:meta`.

use futures_util::future::join_all;
use stanchion::environment::Environment;
use stanchion::session::{DestroyOutcome, HashingKey, Patch, PatchOutcome, Sessions, TouchOutcome};
use stanchion::{Effect, ErrorKind};
use stanchion_conformance::servers::{Cluster, RedisProcess, Reply};
use stanchion_redis::{RedisBackend, RedisConfig};

use crate::support::{cluster_config, config, connect, facts, refused, send};

fn with_key(config: RedisConfig, id: &str) -> RedisConfig {
    let key = HashingKey::new(id, &[7; 32]).unwrap();
    config.environment(Environment::system().hashing_key(key))
}

async fn names_both(config: RedisConfig, field: &str, theirs: &str, ours: &str) {
    let error = refused(config).await;
    assert_eq!(facts(&error), (ErrorKind::Config, Effect::NotApplied), "{error}");
    for part in ["stanchion:meta", field, &format!("{theirs:?}"), &format!("{ours:?}"), "1 attempt;"] {
        assert!(error.to_string().contains(part), "{part} in {error}");
    }
}

pub(crate) async fn another_layout_names_both_values() {
    let server = RedisProcess::start().await.unwrap();
    let mine = || config(&server.url());
    connect(mine()).await;
    let before = send(&server, &["HGETALL", "stanchion:meta"]).await;
    names_both(mine().buckets(512).unwrap(), "session_buckets", "1024", "512").await;
    names_both(with_key(mine(), "k1"), "hashing_key", "none", "k1").await;
    // A deployment of another prefix is another deployment.
    connect(with_key(mine(), "k1").prefix("other").unwrap()).await;
    names_both(with_key(mine(), "k2").prefix("other").unwrap(), "hashing_key", "k1", "k2").await;
    assert_eq!(send(&server, &["HGETALL", "stanchion:meta"]).await, before, "nobody changes the record");
    // What another version of this library would have written; one field by itself, and one that is gone.
    for (field, theirs, ours) in [
        ("layout", "2", "3"),
        ("session_buckets", "7", "1024"),
        ("lock_buckets", "7", "1024"),
        ("channel_mode", "sharded", "broadcast"),
        ("hashing_key", "k9", "none"),
    ] {
        send(&server, &["HSET", "stanchion:meta", field, theirs]).await;
        names_both(mine(), field, theirs, ours).await;
        send(&server, &["HDEL", "stanchion:meta", field]).await;
        names_both(mine(), field, "", ours).await;
        send(&server, &["HSET", "stanchion:meta", field, ours]).await;
        connect(mine()).await;
    }
    send(&server, &["DEL", "stanchion:meta"]).await;
    send(&server, &["SET", "stanchion:meta", "1"]).await;
    let error = refused(mine()).await;
    assert_eq!(facts(&error), (ErrorKind::Codec, Effect::NotApplied), "{error}");
    assert_eq!(send(&server, &["GET", "stanchion:meta"]).await.text(), "1");
}

/// On a Cluster generations are kept in copies, which a service of the first layout would not find.
pub(crate) async fn a_cluster_of_the_first_layout_is_refused() {
    let cluster = Cluster::start().await.unwrap();
    let mine = || cluster_config(&cluster.urls());
    connect(mine()).await;
    let slot = cluster.slot_of("stanchion:meta").await.unwrap();
    let node = &cluster.nodes()[Cluster::first_owner_of(slot)];
    assert_eq!(send(node, &["HGET", "stanchion:meta", "layout"]).await.text(), "3");
    send(node, &["HSET", "stanchion:meta", "layout", "1"]).await;
    names_both(mine(), "layout", "1", "3").await;
}

pub(crate) async fn services_that_connect_at_once_agree() {
    let server = RedisProcess::start().await.unwrap();
    for round in 0..10 {
        let mine = || config(&server.url()).prefix(&format!("r{round}")).unwrap();
        let settings = (0..8).map(|n| if n % 2 == 0 { mine() } else { mine().buckets(512).unwrap() });
        let outcomes = join_all(settings.map(RedisBackend::connect)).await;
        let connected: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
        let even = connected[0];
        assert!(connected.iter().enumerate().all(|(n, ok)| *ok == (even == (n % 2 == 0))), "{connected:?}");
        for error in outcomes.into_iter().filter_map(Result::err) {
            assert_eq!(error.kind(), ErrorKind::Config);
        }
        let meta = format!("r{round}:stanchion:meta");
        let stored = send(&server, &["HGET", &meta, "lock_buckets"]).await;
        assert_eq!(stored.text(), if even { "1024" } else { "512" });
        assert_eq!(send(&server, &["TTL", &meta]).await, Reply::Int(-1));
    }
}

pub(crate) async fn a_hashing_key_is_rotated_while_services_run() {
    let server = RedisProcess::start().await.unwrap();
    let key = |id: &str| HashingKey::new(id, id.repeat(16).as_bytes()).unwrap();
    let service = async |key: &HashingKey| {
        let environment = Environment::system().hashing_key(key.clone());
        let stores = connect(config(&server.url()).environment(environment)).await;
        stores.service("auth").unwrap().sessions().build().unwrap()
    };
    let stored = async || send(&server, &["HGET", "stanchion:meta", "hashing_key"]).await.text();
    let opened = async |sessions: &Sessions| {
        sessions.create("u1", Patch::new()).await.unwrap().expect("there is room")
    };
    let old = service(&key("k1")).await;
    let first = opened(&old).await;
    // Nobody stores under the new one yet, and all will find what is.
    let knows = service(&key("k1").reading(key("k2")).unwrap()).await;
    assert_eq!(stored().await, "k1");
    let second = opened(&knows).await;
    let rotated = service(&key("k2").reading(key("k1")).unwrap()).await;
    assert_eq!(stored().await, "k2,k1");
    let third = opened(&rotated).await;
    for sessions in [&knows, &rotated] {
        for opened in [&first, &second, &third] {
            let found = sessions.authenticate(&opened.token.reveal()).await.unwrap().expect("it is found");
            assert_eq!(found.id(), opened.session.id());
            let patched = sessions.patch(&opened.token, &Patch::new().set("a", "1")).await.unwrap();
            assert!(matches!(patched, PatchOutcome::Saved { .. }), "{patched:?}");
            assert!(matches!(sessions.touch(&opened.token).await.unwrap(), TouchOutcome::Touched { .. }));
        }
    }
    // Too early an end of the first, and too late a start.
    names_both(with_key(config(&server.url()), "k1"), "hashing_key", "k2,k1", "k1").await;
    names_both(with_key(config(&server.url()), "k3"), "hashing_key", "k2,k1", "k3").await;
    service(&key("k1").reading(key("k2")).unwrap()).await;
    assert_eq!(stored().await, "k2,k1", "nothing goes back");
    assert_eq!(rotated.destroy(&first.token).await.unwrap(), DestroyOutcome::Destroyed);
    assert!(rotated.authenticate(&first.token.reveal()).await.unwrap().is_none());
    // The longest life is over.
    let new = service(&key("k2")).await;
    assert!(new.authenticate(&second.token.reveal()).await.unwrap().is_none());
    assert!(new.authenticate(&third.token.reveal()).await.unwrap().is_some());
}
