//! The rights of `acl/service.acl` are those that are needed, and no others. (That every operation works with them
//! is shown by the suite, which runs as such a user.)

use std::collections::BTreeSet;
use std::path::Path;

use stanchion::cache::AllParts as _;
use stanchion::{Effect, ErrorKind};
use stanchion_conformance::servers::{Cluster, Link, RedisProcess, Reply};
use stanchion_redis::RedisBackend;

use crate::refused::answers;
use crate::support::{cluster_config, config, connect, facts, key, refused, send};

const TEMPLATE: &str = include_str!("../../acl/service.acl");

/// The words of the template's user, with this prefix, which may be none.
fn rights(prefix: &str) -> Vec<String> {
    let filled = TEMPLATE.replace("{user}", "svc").replace("{password}", "pw");
    let filled = match prefix {
        // All keys are let in then, those of leases too.
        "" => filled.replace(" ~{{prefix}:*", "").replace("{prefix}:", ""),
        prefix => filled.replace("{prefix}", prefix),
    };
    let line = filled.lines().find(|line| line.starts_with("user svc ")).unwrap();
    line.split(' ').skip(1).map(ToOwned::to_owned).collect()
}

async fn let_in(server: &RedisProcess, prefix: &str) {
    let rights = rights(prefix);
    let words: Vec<_> = ["ACL", "SETUSER"].into_iter().chain(rights.iter().map(String::as_str)).collect();
    send(server, &words).await;
}

fn as_service(url: &str) -> String {
    url.replace("redis://", "redis://svc:pw@")
}

/// No command is let in that is not sent, and none is sent that is not let in.
pub(crate) async fn the_commands_are_those_that_are_sent() {
    let allowed: BTreeSet<_> =
        rights("p").iter().filter_map(|word| Some(word.strip_prefix('+')?.to_owned())).collect();
    let mut sent = BTreeSet::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = std::fs::read_to_string(&path).unwrap();
            for mark in ["redis.call('", "redis.pcall('", "redis::cmd(\""] {
                for after in source.split(mark).skip(1) {
                    let name: String = after.chars().take_while(char::is_ascii_alphabetic).collect();
                    sent.insert(name.to_lowercase());
                }
            }
        }
    }
    // `Script` names these; subscriptions and gathered reads are not made by `redis::cmd`.
    sent.extend(["eval", "evalsha", "subscribe", "unsubscribe", "mget"].map(ToOwned::to_owned));
    // Nobody has to be let in to say who he is.
    assert!(sent.remove("auth"));
    // Sentinels have users of their own.
    assert!(sent.remove("sentinel"));
    for (command, parts) in
        [("cluster", &["cluster|slots", "cluster|nodes"][..]), ("client", &["client|tracking"])]
    {
        assert!(sent.remove(command), "{command}");
        sent.extend(parts.iter().map(|part| (*part).to_owned()));
    }
    assert_eq!(allowed, sent);
}

pub(crate) async fn nothing_else_is_let_in() {
    let server = RedisProcess::start().await.unwrap();
    let_in(&server, "staging").await;
    let backend = RedisBackend::connect(config(&as_service(&server.url())).prefix("staging").unwrap()).await;
    let backend = backend.unwrap();
    backend.renew_credentials().await.unwrap();
    answers(&backend.stores(), |_| true).await;
    // Another deployment on the same server, and one without a prefix.
    for other in [
        config(&as_service(&server.url())).prefix("production").unwrap(),
        config(&as_service(&server.url())).prefix("staging2").unwrap(),
        config(&as_service(&server.url())),
    ] {
        assert_eq!(refused(other).await.kind(), ErrorKind::Denied);
    }
    let mut link = Link::connect(server.addr()).await.unwrap();
    assert_eq!(link.ask(&["AUTH", "svc", "pw"]).await.unwrap().text(), "OK");
    for words in [
        "KEYS *",
        "SCAN 0",
        "FLUSHALL",
        "FLUSHDB",
        "CONFIG GET *",
        "ACL LIST",
        "SCRIPT FLUSH",
        "CLIENT LIST",
        "MONITOR",
        "SHUTDOWN NOSAVE",
        "CLUSTER RESET",
        "PSUBSCRIBE *",
        "PUBLISH production:events:user:channel x",
        "SUBSCRIBE production:events:user:channel",
        "GET production:cache:fault:a",
        "EVAL return(redis.call('GET','production:cache:fault:a')) 0",
        "EVAL return(redis.call('KEYS','*')) 0",
    ] {
        let words: Vec<_> = words.split(' ').collect();
        let reply = link.ask(&words).await.unwrap();
        let refused = ["NOPERM", "can't", "ACL failure in script"];
        let refused = refused.iter().any(|text| reply.text().contains(text));
        assert!(reply.is_error() && refused, "{words:?}: {reply:?}");
    }
    // A deployment without a prefix.
    let_in(&server, "").await;
    answers(&connect(config(&as_service(&server.url()))).await, |_| true).await;
}

/// With what a Cluster needs besides: reading the slots, and following a slot that is being migrated.
pub(crate) async fn a_cluster_is_served_too() {
    let cluster = Cluster::start().await.unwrap();
    for node in cluster.nodes() {
        let_in(node, "staging").await;
    }
    let urls: Vec<_> = cluster.urls().iter().map(|url| as_service(url)).collect();
    let stores = connect(cluster_config(&urls).prefix("staging").unwrap()).await;
    answers(&stores, |_| true).await;
    let cache = stores.cache_store().unwrap();
    let stored = format!("staging:{}", key("a").as_str());
    let slot = cluster.slot_of(&stored).await.unwrap();
    let from = Cluster::first_owner_of(slot);
    cluster.begin_migration(slot, from, (from + 1) % 3).await.unwrap();
    cache.remove_many(&[key("a")]).await.unwrap();
    assert_eq!(cache.add(&key("a"), 1, crate::support::hour()).await.unwrap(), 1, "by ASK");
    let keys = send(&cluster.nodes()[(from + 1) % 3], &["KEYS", "*"]).await;
    assert!(keys.items().contains(&Reply::Text(stored.into())), "{keys:?}");
    let denied = refused(cluster_config(&urls)).await;
    assert_eq!(facts(&denied), (ErrorKind::Denied, Effect::NotApplied), "{denied}");
}
