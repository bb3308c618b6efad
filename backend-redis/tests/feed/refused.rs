//! A server that refuses to send invalidations.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use stanchion::ErrorKind;
use stanchion::cache::{SetOptions, SetOutcome};
use stanchion::clock::ManualClock;
use stanchion::environment::Environment;
use stanchion_conformance::servers::{RedisProcess, until};
use stanchion_redis::{Invalidation, RedisConfig};

use crate::watched::{Notification, TIMEOUT, Watched, config, key, open, run, ttl};

/// How many connections the server has had.
async fn connections(server: &RedisProcess) -> u64 {
    let info = run(server, &["INFO", "stats"]).await;
    let count = info.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
    count.unwrap().trim().parse().unwrap()
}

/// A write that can't be published is not made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writes {
    Stored,
    Denied,
}

async fn stays_lost(server: &RedisProcess, rights: &[&str], config: RedisConfig, writes: Writes) {
    let user = ["ACL", "SETUSER", "svc", "on", ">pw", "~*", "&*", "+@all"];
    run(server, &[&user[..], rights].concat()).await;
    let (_stores, store) = open(config).await;
    let before = connections(server).await;
    let watched = Watched::begin(&*store, "cache", "user");
    // Each look at the server is a connection of its own; one more is the feed's, which is gone again.
    let looks = AtomicU64::new(0);
    let refused = until("the refusal", TIMEOUT, || async {
        let looked = looks.fetch_add(2, Ordering::Relaxed);
        let tried = connections(server).await - before - looked - 1;
        let list = run(server, &["CLIENT", "LIST"]).await;
        let open = list.lines().filter(|line| line.contains(" user=svc ")).count();
        if (tried, open) == (1, 1) { Ok(()) } else { Err(format!("{tried} tried, {open} open")) }
    });
    refused.await.unwrap();
    // Everything that needs no such right works, and nobody tries for ever.
    let before = connections(server).await;
    for _ in 0..20 {
        let set = store.set(&key("u1"), "v".into(), &SetOptions::new(ttl())).await;
        match writes {
            Writes::Stored => assert_eq!(set.unwrap(), SetOutcome::Stored),
            Writes::Denied => assert_eq!(set.unwrap_err().kind(), ErrorKind::Denied),
        }
        assert_eq!(watched.notifications(), [] as [Notification; 0]);
    }
    let more = Watched::begin(&*store, "cache", "more");
    assert_eq!(store.get(&key("u1")).await.unwrap().is_some(), writes == Writes::Stored);
    assert_eq!((watched.notifications(), more.notifications()), (vec![], vec![]));
    assert_eq!(connections(server).await, before + 1);
}

pub(crate) async fn without_tracking_a_watch_stays_lost() {
    let server = RedisProcess::start().await.unwrap();
    let url = format!("redis://svc:pw@{}", server.addr());
    // 6.2 takes no single subcommand away.
    stays_lost(&server, &["-client"], config(&url), Writes::Stored).await;
}

pub(crate) async fn without_the_channels_a_watch_stays_lost() {
    let server = RedisProcess::start().await.unwrap();
    let url = format!("redis://svc:pw@{}", server.addr());
    let rights = ["resetchannels", "&feed:events:*"];
    stays_lost(&server, &rights, config(&url).invalidation(Invalidation::Bus), Writes::Denied).await;
}

pub(crate) async fn a_right_given_later_is_noticed() {
    let server = RedisProcess::start().await.unwrap();
    let url = format!("redis://svc:pw@{}", server.addr());
    run(&server, &["ACL", "SETUSER", "svc", "on", ">pw", "~*", "&*", "+@all", "-client"]).await;
    let clock = ManualClock::new();
    let (_stores, store) =
        open(config(&url).environment(Environment::system().clock(Arc::new(clock.clone())))).await;
    let watched = Watched::begin(&*store, "cache", "user");
    let denied = until("the refusal", TIMEOUT, || async {
        let stats = run(&server, &["INFO", "errorstats"]).await;
        if stats.contains("errorstat_NOPERM") { Ok(()) } else { Err(stats) }
    });
    denied.await.unwrap();
    run(&server, &["ACL", "SETUSER", "svc", "+client"]).await;
    assert_eq!(watched.notifications(), [] as [Notification; 0]);
    let seen = until("it is asked again", TIMEOUT, || {
        // The pause begins some time after the refusal.
        clock.advance(std::time::Duration::from_secs(10));
        std::future::ready(match watched.notifications() {
            seen if seen.last() == Some(&Notification::Restored) => Ok(()),
            seen => Err(format!("{seen:?}")),
        })
    });
    seen.await.unwrap();
}
