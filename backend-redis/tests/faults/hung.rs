//! A server that takes connections and says nothing, where another one could serve.

use std::time::Duration;

use stanchion::event::standard::UserUpdated;
use stanchion_conformance::servers::{Scripted, until};
use stanchion_redis::RedisConfig;

use crate::masters::{RANGES, VALUE, key_in, master, says, three, urls};
use crate::support::{TIMEOUT, cluster_config, connect, eventually, key, soon};

/// Less than the deadlines of the cases, by which an attempt at a server that hangs ends.
const SOON: Duration = Duration::from_secs(5);

async fn silent() -> Scripted {
    let server = Scripted::answering(b"").await.unwrap();
    server.answer("", b"");
    server
}

/// When slots move to two nodes, and one of them hangs.
pub(crate) async fn a_redirect_to_a_silent_address_delays_no_other() {
    let ([a, b, c], _masters) = three().await;
    let (hung, well) = (silent().await, Scripted::answering(VALUE).await.unwrap());
    let stores = connect(cluster_config(&urls([&a, &b, &c]))).await;
    let cache = stores.cache_store().unwrap();
    let (to_hung, to_well) = (key_in(RANGES[0]), key_in(RANGES[1]));
    a.set_reply(format!("-MOVED 866 {}\r\n", hung.addr()).as_bytes());
    b.set_reply(format!("-MOVED 9866 {}\r\n", well.addr()).as_bytes());
    let waiting = tokio::spawn({
        let cache = stores.cache_store().unwrap();
        async move { cache.get(&to_hung).await }
    });
    soon("it is connected to", || hung.requests("HELLO") > 0).await;
    let served = tokio::time::timeout(SOON, cache.get(&to_well)).await;
    assert!(served.expect("the other does not wait").unwrap().is_some());
    assert!(!waiting.is_finished());
    waiting.abort();
}

/// It was promoted and hangs, and so another one is.
pub(crate) async fn a_new_master_that_hangs_keeps_no_later_map() {
    let ([a, b, c], masters) = three().await;
    let (hung, well) = (silent().await, Scripted::answering(VALUE).await.unwrap());
    let stores = connect(cluster_config(&urls([&a, &b, &c]))).await;
    let (cache, key) = (stores.cache_store().unwrap(), key_in(RANGES[0]));
    cache.get(&key).await.unwrap();
    let promoted = |id, server: &Scripted, epoch| {
        let new = [master(id, server.addr(), epoch, RANGES[0]), masters[1].clone(), masters[2].clone()];
        for (server, me) in [(&b, "b"), (&c, "c")] {
            says(server, me, &new);
        }
    };
    a.set_reply(b"-CLUSTERDOWN The cluster is down\r\n");
    says(&a, "a", &[]);
    promoted("h", &hung, 4);
    let calling = tokio::spawn({
        let (cache, key) = (stores.cache_store().unwrap(), key.clone());
        async move { eventually("its slots are served again", || cache.get(&key)).await }
    });
    soon("it is connected to", || hung.requests("HELLO") > 0).await;
    promoted("w", &well, 5);
    let served = tokio::time::timeout(SOON, calling).await;
    assert!(served.expect("the next map is not waited for").unwrap().is_some());
}

/// As Redis 7.0 says it.
const OF_A_SENTINEL: &[u8] = b"%5\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:7\r\n\
    $4\r\nmode\r\n$8\r\nsentinel\r\n$7\r\nmodules\r\n*0\r\n";

/// From now on the sentinel names this master.
fn names(sentinel: &Scripted, master: &Scripted, epoch: u64) {
    let (host, port) = (master.addr().ip().to_string(), master.addr().port().to_string());
    let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
    let list = |words: &[&str]| {
        format!("*{}\r\n{}", words.len(), words.iter().map(|word| bulk(word)).collect::<String>())
    };
    let state = ["config-epoch", &epoch.to_string(), "num-other-sentinels", "0"];
    sentinel.answer("MASTER main", list(&state).as_bytes());
    sentinel.answer("GET-MASTER-ADDR-BY-NAME", list(&[&host, &port]).as_bytes());
}

/// It was promoted and hangs, and so another one is.
pub(crate) async fn a_new_master_of_the_sentinels_that_hangs_is_left() {
    let (old, hung, well) = (
        Scripted::answering(VALUE).await.unwrap(),
        silent().await,
        Scripted::answering(b"$1\r\nw\r\n").await.unwrap(),
    );
    let sentinel = Scripted::answering(b"-ERR unknown command\r\n").await.unwrap();
    sentinel.answer("HELLO", OF_A_SENTINEL);
    sentinel.answer("SENTINELS main", b"*0\r\n");
    sentinel.answer("MYID", b"$1\r\ns\r\n");
    sentinel.answer("SUBSCRIBE", b">3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:1\r\n");
    names(&sentinel, &old, 1);
    let config = RedisConfig::sentinel("main", [sentinel.url().as_str()]).unwrap();
    let config = config.deadline(2 * SOON).cache_deadline(2 * SOON).ping_every(Duration::from_millis(50));
    let stores = connect(config).await;
    let cache = stores.cache_store().unwrap();
    assert_eq!(cache.get(&key("a")).await.unwrap().as_deref(), Some(&b"v"[..]));
    names(&sentinel, &hung, 2);
    soon("it is connected to", || hung.requests("HELLO") > 0).await;
    names(&sentinel, &well, 3);
    let name = key("a");
    let served = until("the next one is heard of", SOON, || cache.get(&name)).await.unwrap();
    assert_eq!(served.as_deref(), Some(&b"w"[..]));
}

/// Commands go on there, so that nothing else speaks against it.
pub(crate) async fn subscriptions_that_one_node_refuses_are_begun_at_another() {
    let (servers, _masters) = three().await;
    for server in &servers {
        server.answer("SUBSCRIBE", b"-LOADING Redis is loading\r\n");
    }
    let stores = connect(cluster_config(&urls(&servers))).await;
    let topic = stores.topic::<UserUpdated>().unwrap();
    assert!(topic.subscribe().await.is_err());
    let first = servers.iter().position(|server| server.requests("SUBSCRIBE") > 0).unwrap();
    for (_, other) in servers.iter().enumerate().filter(|(at, _)| *at != first) {
        other.answer("SUBSCRIBE", b">3\r\n$9\r\nsubscribe\r\n$19\r\nevents:user:channel\r\n:1\r\n");
    }
    let begun = until("they are begun", TIMEOUT / 3, || topic.subscribe()).await;
    assert!(begun.is_ok(), "never at another: {begun:?}");
}
