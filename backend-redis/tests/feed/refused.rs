//! A server that does not let itself be listened to.

use stanchion::cache::{CacheStore, SetOptions};
use stanchion_conformance::servers::{RedisProcess, until};
use stanchion_redis::{Invalidation, RedisConfig};

use crate::watched::{PATIENCE, Told, Watched, config, key, open, run, ttl};

/// How many connections the server has had.
async fn connections(server: &RedisProcess) -> u64 {
    let info = run(server, &["INFO", "stats"]).await;
    let count = info.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
    count.unwrap().trim().parse().unwrap()
}

async fn stays_lost(server: &RedisProcess, rights: &[&str], config: RedisConfig) {
    let user = ["ACL", "SETUSER", "svc", "on", ">pw", "~*", "&*", "+@all"];
    run(server, &[&user[..], rights].concat()).await;
    let (_stores, store) = open(config).await;
    let watched = Watched::begin(&*store, "cache", "user");
    let refused = until("the refusal", PATIENCE, || async {
        let denied = server.command(&["ACL", "LOG"]).await.unwrap();
        if denied.items().is_empty() { Err("nothing was denied") } else { Ok(()) }
    });
    refused.await.unwrap();
    // Everything else works, and nobody tries for ever.
    let before = connections(server).await;
    for _ in 0..20 {
        let _ = store.set(&key("u1"), "v".into(), &SetOptions::new(ttl())).await;
        assert_eq!(watched.told(), [] as [Told; 0]);
    }
    let more = Watched::begin(&*store, "cache", "more");
    reads(&*store).await;
    assert_eq!((watched.told(), more.told()), (vec![], vec![]));
    // Each look at the server is a connection of its own.
    assert_eq!(connections(server).await, before + 1);
}

async fn reads(store: &dyn CacheStore) {
    store.get(&key("u1")).await.unwrap();
}

pub(crate) async fn without_tracking_a_watch_stays_lost() {
    let server = RedisProcess::start().await.unwrap();
    let url = format!("redis://svc:pw@{}", server.addr());
    stays_lost(&server, &["-client|tracking"], config(&url)).await;
}

pub(crate) async fn without_the_channels_a_watch_stays_lost() {
    let server = RedisProcess::start().await.unwrap();
    let url = format!("redis://svc:pw@{}", server.addr());
    let rights = ["resetchannels", "&feed:events:*"];
    stays_lost(&server, &rights, config(&url).invalidation(Invalidation::Bus)).await;
}
