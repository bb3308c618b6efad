//! A master with replicas, watched by sentinels.

use libtest_mimic::Trial;
use stanchion_conformance::servers::{Link, RedisProcess, Sentinel, SentinelSetup, until};

use crate::{SOON, get, runs, set};

async fn sentinels_replace_a_master_by_command() {
    let sentinel = Sentinel::start().await.unwrap();
    let all = || sentinel.nodes().iter().chain(sentinel.sentinels());
    let pids: Vec<u32> = all().map(RedisProcess::pid).collect();
    assert_eq!((pids.len(), sentinel.urls().len(), sentinel.name()), (6, 3, "main"));
    assert_eq!(sentinel.master().await.unwrap(), 0);
    set(&sentinel.nodes()[0], "k", "v").await;
    let new = sentinel.failover().await.unwrap();
    assert_ne!(new, 0);
    assert_eq!(sentinel.master().await.unwrap(), new);
    assert_eq!(get(&sentinel.nodes()[new], "k").await.text(), "v");
    let refused = sentinel.nodes()[0].command(&["SET", "k", "w"]).await.unwrap().text();
    assert!(refused.starts_with("READONLY"), "{refused}");
    drop(sentinel);
    assert!(pids.into_iter().all(|pid| !runs(pid)));
}

async fn sentinels_replace_a_killed_master() {
    let sentinel = Sentinel::start().await.unwrap();
    set(&sentinel.nodes()[0], "k", "v").await;
    sentinel.settled().await.unwrap();
    assert_eq!(sentinel.kill_master().await.unwrap(), 0);
    let new = sentinel.replaced(0).await.unwrap();
    sentinel.settled().await.unwrap();
    assert_eq!(get(&sentinel.nodes()[new], "k").await.text(), "v");

    let one = &sentinel.sentinels()[0];
    one.restart().await.unwrap();
    let knows = || async {
        let asked = one.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"]).await?;
        let port = asked.items()[1].text();
        let right = sentinel.node_addrs()[new].port().to_string() == port;
        if right { Ok(()) } else { Err(one.command(&["PING"]).await.unwrap_err()) }
    };
    until("it knows what it had learnt", SOON, knows).await.unwrap();

    sentinel.restart(0).await.unwrap();
    sentinel.settled().await.unwrap();
    let role = sentinel.nodes()[0].command(&["ROLE"]).await.unwrap();
    assert_eq!(role.items()[0].text(), "slave", "{role:?}");
    assert_eq!(get(&sentinel.nodes()[0], "k").await.text(), "v", "the old master has what the new one has");
}

async fn a_promoted_node_is_a_master_after_a_restart() {
    let sentinel = Sentinel::start().await.unwrap();
    let new = sentinel.failover().await.unwrap();
    sentinel.restart(new).await.unwrap();
    let role = sentinel.nodes()[new].command(&["ROLE"]).await.unwrap();
    assert_eq!(role.items()[0].text(), "master", "{role:?}");
}

async fn sentinels_replace_a_paused_master() {
    let sentinel = Sentinel::start().await.unwrap();
    sentinel.pause(0).unwrap();
    let new = sentinel.replaced(0).await.unwrap();
    sentinel.resume(0).unwrap();
    let role = sentinel.nodes()[0].command(&["ROLE"]).await.unwrap();
    assert_eq!(role.items()[0].text(), "master", "it does not know yet: {role:?}");
    sentinel.settled().await.unwrap();
    assert_eq!(sentinel.master().await.unwrap(), new);
}

async fn nodes_and_sentinels_want_passwords_of_their_own() {
    let setup = SentinelSetup::new().password("sesame").sentinel_password("open up");
    let user = ["--user", "svc", "on", ">pw", "~*", "&*", "+@all"];
    let sentinel = setup.args(&user).start().await.unwrap();
    for (server, password) in [(&sentinel.nodes()[0], "sesame"), (&sentinel.sentinels()[0], "open up")] {
        let mut link = Link::connect(server.addr()).await.unwrap();
        let refused = link.ask(&["PING"]).await.unwrap().text();
        assert!(refused.starts_with("NOAUTH"), "{refused}");
        assert_eq!(link.ask(&["AUTH", password]).await.unwrap().text(), "OK");
    }
    let mut link = Link::connect(sentinel.nodes()[0].addr()).await.unwrap();
    assert_eq!(link.ask(&["AUTH", "svc", "pw"]).await.unwrap().text(), "OK");
    assert_ne!(sentinel.failover().await.unwrap(), 0);
}

async fn nodes_behind_proxies_are_named_by_them() {
    let (sentinel, proxies) = Sentinel::start_behind_proxies().await.unwrap();
    set(&sentinel.nodes()[0], "k", "v").await;
    let new = sentinel.failover().await.unwrap();
    assert_eq!(sentinel.node_addrs()[new], proxies[new].addr());
    let mut link = Link::connect(proxies[new].addr()).await.unwrap();
    assert_eq!(link.ask(&["GET", "k"]).await.unwrap().text(), "v");
    // The links alone are cut; the sentinels go by them too.
    proxies[new].refuse().await;
    proxies[new].cut();
    let third = sentinel.replaced(new).await.unwrap();
    assert_eq!(get(&sentinel.nodes()[third], "k").await.text(), "v");
}

pub(crate) fn cases() -> Vec<Trial> {
    cases! {
        Process:
            sentinels_replace_a_master_by_command
            sentinels_replace_a_killed_master
            a_promoted_node_is_a_master_after_a_restart
            sentinels_replace_a_paused_master
            nodes_and_sentinels_want_passwords_of_their_own
            nodes_behind_proxies_are_named_by_them;
    }
}
