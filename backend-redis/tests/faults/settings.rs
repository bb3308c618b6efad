//! Settings that would do harm in silence: a user without a password, and times and sizes out of bounds.

use std::time::Duration;

use stanchion::ErrorKind;
use stanchion_conformance::servers::RedisProcess;
use stanchion_redis::{RedisBackend, RedisConfig};

use crate::support::{config, connect, refused, send};

/// The users of all connections to the server but the one that asks.
async fn users(server: &RedisProcess) -> Vec<String> {
    let clients = send(server, &["CLIENT", "LIST"]).await.text();
    let others = clients.lines().filter(|line| !line.contains("cmd=client"));
    others.map(|line| line.split(" user=").nth(1).unwrap().split(' ').next().unwrap().to_owned()).collect()
}

pub(crate) async fn a_user_without_a_password_is_that_user_or_refused() {
    let server = RedisProcess::start().await.unwrap();
    for name in ["svc@", "svc:@"] {
        let url = server.url().replace("redis://", &format!("redis://{name}"));
        send(&server, &["ACL", "SETUSER", "svc", "reset", "on", "nopass", "~*", "&*", "+@all"]).await;
        let stores = connect(config(&url)).await;
        assert_eq!(users(&server).await, ["svc"], "{name}");
        stores.close(Duration::from_secs(5)).await.unwrap();
        send(&server, &["ACL", "SETUSER", "svc", "resetpass", ">sesame"]).await;
        let error = refused(config(&url)).await;
        assert_eq!(error.kind(), ErrorKind::Denied, "{name}: {error}");
    }
}

pub(crate) async fn what_is_out_of_bounds_is_refused_before_anything_is_opened() {
    let config = || config("redis://127.0.0.1:1");
    let (zero, most) = (Duration::ZERO, Duration::MAX);
    let cluster = RedisConfig::cluster(["redis://127.0.0.1:1"]).unwrap();
    for (setting, config) in [
        ("deadline", config().deadline(zero)),
        ("deadline", config().deadline(most)),
        ("deadline", cluster.deadline(most)),
        ("cache_deadline", config().cache_deadline(zero)),
        ("cache_deadline", config().cache_deadline(most)),
        ("ping_every", config().ping_every(zero)),
        ("ping_every", config().ping_every(most)),
        ("connect_attempts", config().connect_attempts(0)),
        ("connect_attempts", config().connect_attempts(u32::MAX)),
        ("max_value_bytes", config().max_value_bytes(0)),
        ("max_value_bytes", config().max_value_bytes(usize::MAX)),
        ("max_batch", config().max_batch(0)),
        ("max_batch", config().max_batch(usize::MAX)),
    ] {
        let Err(error) = RedisBackend::connect(config).await else { panic!("{setting} is taken") };
        assert_eq!(error.kind(), ErrorKind::Config, "{setting}: {error}");
        assert!(error.to_string().contains(&format!("`{setting}`")), "{error}");
    }
}
