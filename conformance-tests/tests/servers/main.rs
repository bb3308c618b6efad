//! The servers under test do what the cases that use them rely on.
//!
//! Cases that need `redis-server` are ignored without one, and red where `CI` is set; those on containers run
//! with `STANCHION_REQUIRE=container`.
#![expect(clippy::unwrap_used, reason = "these are tests")]

/// `cases! { Process: these_need a_server; … }`
macro_rules! cases {
    ($($needs:ident: $($name:ident)*;)*) => {
        vec![$($($crate::case(stringify!($name), $crate::Needs::$needs, $name),)*)*]
    };
}

mod replicas;
mod sentinel;

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use stanchion_conformance::servers::{
    Cluster, Link, Proxy, RedisProcess, RedisServer, Reply, Require, Scripted, Search, Topology, until,
};

const SOON: Duration = Duration::from_secs(10);

fn runs(pid: u32) -> bool {
    let sent = Command::new("kill").args(["-0", &pid.to_string()]).stderr(Stdio::null()).status();
    sent.unwrap().success()
}

async fn set(server: &RedisProcess, key: &str, value: &str) {
    assert_eq!(server.command(&["SET", key, value]).await.unwrap().text(), "OK");
}

async fn get(server: &RedisProcess, key: &str) -> Reply {
    server.command(&["GET", key]).await.unwrap()
}

async fn a_process_starts_dies_and_comes_back_on_its_port() {
    let server = RedisProcess::start().await.unwrap();
    let addr = server.addr();
    let first = server.pid();
    assert!(addr.ip().is_loopback());
    let version = server.version().await.unwrap();
    let version = version.strip_prefix("valkey ").unwrap_or(&version);
    assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{version}");
    set(&server, "k", "v").await;
    assert_eq!(get(&server, "k").await.text(), "v");

    server.kill().unwrap();
    assert!(!runs(first));
    assert!(server.command(&["PING"]).await.is_err());

    server.restart().await.unwrap();
    assert_eq!(server.addr(), addr);
    assert_ne!(server.pid(), first);
    assert_eq!(get(&server, "k").await, Reply::Nil, "nothing is kept");

    server.command(&["CONFIG", "SET", "requirepass", "x"]).await.unwrap();
    assert!(server.command(&["PING"]).await.unwrap().text().starts_with("NOAUTH"));
    let second = server.pid();
    drop(server);
    assert!(!runs(second));
}

async fn a_paused_process_answers_later() {
    let server = RedisProcess::start_with(&["--maxmemory", "2mb"]).await.unwrap();
    let mut link = Link::connect(server.addr()).await.unwrap();
    server.pause().unwrap();
    let mut asking = std::pin::pin!(link.ask(&["INCR", "n"]));
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut asking).await.is_err());
    server.resume().unwrap();
    assert_eq!(asking.await.unwrap().int(), Some(1));
    server.pause().unwrap();
    let pid = server.pid();
    drop(server);
    assert!(!runs(pid), "a paused server is ended too");
}

async fn a_server_that_can_not_start_says_why() {
    let error = RedisProcess::start_with(&["--no-such-setting", "1"]).await.unwrap_err().to_string();
    assert!(error.contains("no-such-setting"), "{error}");
    let error = RedisProcess::start_binary(Path::new("/no/such/binary"), &[]).await.unwrap_err().to_string();
    assert!(error.contains("/no/such/binary"), "{error}");
}

async fn many_processes_start_at_once() {
    let starting: Vec<_> = (0..8).map(|_| tokio::spawn(RedisProcess::start())).collect();
    let mut ports = std::collections::BTreeSet::new();
    let mut servers = Vec::new();
    for server in starting {
        let server = server.await.unwrap().unwrap();
        ports.insert(server.addr().port());
        servers.push(server);
    }
    assert_eq!(ports.len(), 8);
    let pids: Vec<u32> = servers.iter().map(RedisProcess::pid).collect();
    drop(servers);
    assert!(pids.into_iter().all(|pid| !runs(pid)));
}

/// What another process does that [`outlives_nobody`] kills.
async fn own_until_killed() {
    let server = Search::from_env().run(Topology::Standalone).await.unwrap();
    println!("listens on {}", server.url());
    std::future::pending::<()>().await;
}

/// Kills a process that owns a server, found this way, and waits for the end of the server.
async fn outlives_nobody(way: &str) {
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .env(OWNER, "1")
        .env("STANCHION_REQUIRE", way)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = std::io::BufReader::new(owner.stdout.take().unwrap());
    let url = std::io::BufRead::lines(output)
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("listens on redis://").map(ToOwned::to_owned));
    let addr = url.unwrap().parse().unwrap();
    Link::connect(addr).await.unwrap().ask(&["PING"]).await.unwrap();
    owner.kill().unwrap();
    owner.wait().unwrap();
    let gone = || async move {
        // The port alone may be held a little longer by what mapped it.
        match Link::connect(addr).await {
            Ok(mut link) => link.ask(&["PING"]).await.map_or(Ok(()), |_| Err("it still answers")),
            Err(_) => Ok(()),
        }
    };
    until("the server of a killed owner is gone", 3 * SOON, gone).await.unwrap();
}

async fn nothing_outlives_a_killed_owner() {
    outlives_nobody("process").await;
}

async fn a_panic_ends_what_was_started() {
    let server = RedisProcess::start().await.unwrap();
    let pid = server.pid();
    let test = tokio::spawn(async move {
        assert_eq!(server.url(), "wrong on purpose");
    });
    assert!(test.await.unwrap_err().is_panic());
    assert!(!runs(pid));
}

async fn a_cluster_serves_and_its_slots_move() {
    let cluster = Cluster::start().await.unwrap();
    let pids: Vec<u32> = cluster.nodes().iter().map(RedisProcess::pid).collect();
    let [first, second, _] = cluster.nodes() else { panic!("three nodes") };
    // Slot 866 belongs to the first node.
    let slot = first.command(&["CLUSTER", "KEYSLOT", "hello"]).await.unwrap().int().unwrap();
    let slot = u16::try_from(slot).unwrap();
    assert_eq!(slot, 866);
    set(first, "hello", "1").await;
    let moved = get(second, "hello").await.text();
    assert_eq!(moved, format!("MOVED 866 {}", first.addr()));

    cluster.begin_migration(slot, 0, 1).await.unwrap();
    assert_eq!(get(first, "hello").await.text(), "1", "what it has it serves");
    let both = ["MGET", "hello", "{hello}2"];
    // Some here and some there: 7.0 says so at the source, 6.2 sends on to the target, which then does.
    let old = first.version().await.unwrap().starts_with("6.");
    let split = first.command(&both).await.unwrap().text();
    assert!(split.starts_with(if old { "ASK" } else { "TRYAGAIN" }), "{split}");
    let ask = get(first, "{hello}2").await.text();
    assert_eq!(ask, format!("ASK 866 {}", second.addr()));
    assert!(get(second, "hello").await.text().starts_with("MOVED"), "not without ASKING");
    cluster.move_key("hello", 0, 1).await.unwrap();
    assert!(get(first, "hello").await.text().starts_with("ASK"));
    let mut link = Link::connect(second.addr()).await.unwrap();
    link.ask(&["ASKING"]).await.unwrap();
    assert_eq!(link.ask(&["GET", "hello"]).await.unwrap().text(), "1");
    cluster.finish_migration(slot, 0, 1).await.unwrap();
    assert_eq!(get(second, "hello").await.text(), "1");
    assert_eq!(get(first, "hello").await.text(), format!("MOVED 866 {}", second.addr()));
    cluster.migrate_slot(slot, 1, 0).await.unwrap();
    assert_eq!(get(first, "hello").await.text(), "1");

    cluster.kill(2).unwrap();
    let down = || async {
        let reply = get(first, "hello").await.text();
        if reply.starts_with("CLUSTERDOWN") { Ok(()) } else { Err(reply) }
    };
    until("the Cluster is down without a master", Duration::from_secs(30), down).await.unwrap();
    cluster.restart(2).await.unwrap();
    assert_eq!(get(first, "hello").await.text(), "1");
    drop(cluster);
    assert!(pids.into_iter().all(|pid| !runs(pid)));
}

async fn a_cluster_behind_proxies_announces_them() {
    let (cluster, proxies) = Cluster::start_behind_proxies().await.unwrap();
    assert_eq!(cluster.url(), proxies[0].url());
    let moved = get(&cluster.nodes()[1], "hello").await.text();
    assert_eq!(moved, format!("MOVED 866 {}", proxies[0].addr()));
    let mut link = Link::connect(proxies[0].addr()).await.unwrap();
    proxies[0].drop_next_reply_to("incr");
    assert!(link.ask(&["INCR", "hello"]).await.is_err());
    assert_eq!(get(&cluster.nodes()[0], "hello").await.text(), "1");
    cluster.restart(0).await.unwrap();
    assert!(get(&cluster.nodes()[1], "hello").await.text().ends_with(&proxies[0].addr().to_string()));
}

async fn a_proxy_loses_the_reply_to_one_command() {
    let server = RedisProcess::start().await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let mut link = Link::connect(proxy.addr()).await.unwrap();
    let mut other = Link::connect(proxy.addr()).await.unwrap();
    assert_eq!(link.ask(&["SET", "n", "0"]).await.unwrap().text(), "OK");

    proxy.drop_next_reply_to("INCR");
    assert_eq!(link.ask(&["PING"]).await.unwrap().text(), "PONG", "no other command is touched");
    assert!(link.ask(&["INCR", "n"]).await.is_err());
    assert_eq!(proxy.dropped_replies(), 1);
    assert_eq!(get(&server, "n").await.text(), "1", "done once, and not told");
    assert_eq!(other.ask(&["INCR", "n"]).await.unwrap().int(), Some(2), "one connection, once");

    proxy.drop_next_reply();
    assert!(other.ask(&["GET", "n"]).await.is_err());
    assert_eq!(proxy.dropped_replies(), 2);
    assert_eq!(proxy.connections(), 2);
    assert_eq!(proxy.requests("incr n"), 2);
    assert_eq!(proxy.requests("ping"), 1);
}

async fn a_proxy_loses_the_confirmation_of_a_subscription() {
    let server = RedisProcess::start().await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    for hello in ["2", "3"] {
        let mut link = Link::connect(proxy.addr()).await.unwrap();
        link.ask(&["HELLO", hello]).await.unwrap();
        proxy.drop_next_reply_to("SUBSCRIBE");
        assert!(link.ask(&["SUBSCRIBE", "c"]).await.is_err(), "protocol {hello}");
    }
    assert_eq!(proxy.dropped_replies(), 2);
    let mut link = Link::connect(proxy.addr()).await.unwrap();
    assert_eq!(link.ask(&["SUBSCRIBE", "c"]).await.unwrap().items()[2].int(), Some(1));
}

async fn a_proxy_counts_the_replies_before_the_lost_one() {
    let server = RedisProcess::start().await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let mut stream = tokio::net::TcpStream::connect(proxy.addr()).await.unwrap();
    proxy.drop_next_reply_to("INCR");
    let pipeline = b"*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n*1\r\n$4\r\nPING\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut stream, pipeline).await.unwrap();
    let mut seen = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut seen).await.unwrap();
    assert_eq!(seen, b"$2\r\nhi\r\n");
    assert_eq!(get(&server, "n").await.text(), "1");
    assert_eq!(proxy.reads(""), 1, "three requests in one write");
}

async fn a_proxy_refuses_cuts_and_freezes() {
    let server = RedisProcess::start().await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let mut link = Link::connect(proxy.addr()).await.unwrap();
    link.ask(&["PING"]).await.unwrap();

    proxy.refuse().await;
    assert!(Link::connect(proxy.addr()).await.is_err());
    link.ask(&["PING"]).await.unwrap();
    proxy.accept().await;
    Link::connect(proxy.addr()).await.unwrap().ask(&["PING"]).await.unwrap();

    proxy.cut();
    assert!(link.ask(&["PING"]).await.is_err());
    let closed =
        || async { if proxy.open_connections() == 0 { Ok(()) } else { Err("a connection is open") } };
    until("every connection is cut", SOON, closed).await.unwrap();

    let mut idle = Link::connect(proxy.addr()).await.unwrap();
    let mut busy = Link::connect(proxy.addr()).await.unwrap();
    for link in [&mut idle, &mut busy] {
        link.ask(&["PING"]).await.unwrap();
    }
    proxy.freeze();
    let silent = tokio::time::timeout(Duration::from_millis(200), busy.ask(&["INCR", "n"])).await;
    assert!(silent.is_err(), "no answer and no end");
    // On a busy machine the proxy may not have had its turn yet.
    let swallowed = || async { if proxy.swallowed_bytes() > 0 { Ok(()) } else { Err("nothing was sent") } };
    until("the request is gone", SOON, swallowed).await.unwrap();
    proxy.thaw();
    assert!(busy.ask(&["PING"]).await.is_err(), "it lost bytes");
    idle.ask(&["PING"]).await.unwrap();
    assert_eq!(get(&server, "n").await, Reply::Nil, "what was sent into the ice is gone");
}

async fn a_proxy_lets_nothing_past_where_bytes_were_lost() {
    let server = RedisProcess::start().await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let request: &[u8] = b"*1\r\n$4\r\nPING\r\n";
    // The order and the next request come together, in either order: many rounds see both.
    for round in 0..50 {
        let mut stream = tokio::net::TcpStream::connect(proxy.addr()).await.unwrap();
        proxy.freeze();
        tokio::io::AsyncWriteExt::write_all(&mut stream, request).await.unwrap();
        let swallowed = || async {
            if proxy.swallowed_bytes() == (round + 1) * request.len() { Ok(()) } else { Err("not all yet") }
        };
        until("the request is gone", SOON, swallowed).await.unwrap();
        proxy.thaw();
        // The proxy may have closed it by now.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, request).await;
        let mut seen = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut seen).await;
        assert_eq!((seen, proxy.requests("ping")), (Vec::new(), 0), "round {round}");
    }
}

async fn a_scripted_server_answers_as_told() {
    let server =
        Scripted::answering(b"-OOM command not allowed when used memory > 'maxmemory'.\r\n").await.unwrap();
    let mut link = Link::connect(server.addr()).await.unwrap();
    let hello = link.ask(&["HELLO", "3"]).await.unwrap();
    assert!(hello.items().iter().any(|item| item.text() == "redis"), "{hello:?}");
    assert_eq!(link.ask(&["CLIENT", "SETINFO", "LIB-NAME", "x"]).await.unwrap().text(), "OK");
    assert_eq!(link.ask(&["PING"]).await.unwrap().text(), "PONG");
    assert!(link.ask(&["GET", "k"]).await.unwrap().text().starts_with("OOM"));
    assert!(link.ask(&["EVALSHA", "abc", "1", "k"]).await.unwrap().is_error());
    let layout = link.ask(&["EVALSHA", "abc", "1", "stanchion:meta", "layout", "1"]).await.unwrap();
    assert_eq!(layout.items().iter().map(Reply::text).collect::<Vec<_>>(), ["layout", "1"]);
    let slots = link.ask(&["CLUSTER", "SLOTS"]).await.unwrap();
    assert_eq!(slots.items()[0].items()[2].items()[1].int(), Some(i64::from(server.addr().port())));
    server.set_reply(b"$1\r\nv\r\n");
    assert_eq!(link.ask(&["GET", "k"]).await.unwrap().text(), "v");
    server.answer("HELLO", b"-NOAUTH Authentication required.\r\n");
    assert!(link.ask(&["hello", "3"]).await.unwrap().text().starts_with("NOAUTH"));
    assert_eq!(server.requests("get k"), 2);
}

fn nowhere() -> Search {
    let mut search = Search::default();
    // No engine is asked for an image that is on none.
    search.image = Some("stanchion.invalid/none:none".to_owned());
    search
}

async fn absent_names_all_three_ways() {
    for topology in [Topology::Standalone, Topology::Cluster] {
        let absent = nowhere().run(topology).await.unwrap_err();
        assert!(!absent.fatal, "a laptop");
        let variable = if topology == Topology::Cluster { "_CLUSTER_URL" } else { "_REDIS_URL" };
        for named in [variable, "STANCHION_REDIS_IMAGE", "Docker", "redis-server", "STANCHION_REDIS_SERVER"] {
            assert!(absent.message.contains(named), "{named} in {absent}");
        }
    }
    let mut ci = nowhere();
    ci.ci = true;
    assert!(ci.run(Topology::Standalone).await.unwrap_err().fatal);
}

async fn a_demand_that_can_not_be_met_is_fatal() {
    for (require, named) in
        [("url", "STANCHION_REDIS_URL"), ("process", "redis-server"), ("podman", "podman")]
    {
        let mut search = nowhere();
        search.require = Some(require.to_owned());
        let absent = search.run(Topology::Standalone).await.unwrap_err();
        assert!(absent.fatal, "{require}");
        assert!(absent.message.contains(named), "{absent}");
    }
    let mut search = nowhere();
    search.url = Some("redis://127.0.0.1:1".to_owned());
    let absent = search.run(Topology::Standalone).await.unwrap_err();
    assert!(absent.fatal && absent.message.contains("does not answer"), "{absent}");
}

async fn an_address_comes_first() {
    let server = RedisProcess::start().await.unwrap();
    let mut search = Search::from_env();
    search.require = None;
    search.url = Some(server.url());
    let found = search.run(Topology::Standalone).await.unwrap();
    assert_eq!((found.way(), found.url(), found.owns_server()), (Require::Url, server.url(), false));
    assert_eq!(found.version().await, server.version().await.ok());
}

async fn a_container_answers_and_is_removed() {
    let mut search = Search::from_env();
    search.require = Some("container".to_owned());
    let found = search.run(Topology::Standalone).await.unwrap();
    let RedisServer::Container(container) = &found else { panic!("{found:?}") };
    let addr = container.addr();
    assert!(addr.ip().is_loopback(), "{addr}");
    assert!(found.version().await.is_some());
    drop(found);
    assert!(Link::connect(addr).await.is_err());
}

async fn a_container_is_removed_outside_a_runtime() {
    let found = Search::from_env().run(Topology::Standalone).await.unwrap();
    let addr = found.url().trim_start_matches("redis://").parse().unwrap();
    let dropping = std::thread::spawn(move || drop(found));
    assert!(dropping.join().is_ok());
    assert!(Link::connect(addr).await.is_err());
}

async fn a_container_outlives_nobody() {
    outlives_nobody("container").await;
}

/// What a case needs to run.
#[derive(Clone, Copy)]
enum Needs {
    Nothing,
    /// A `redis-server` to start.
    Process,
    /// An engine with the image: cases run where that is the only way allowed.
    Container,
}

impl Needs {
    /// Why the case can't run; `Err` where it must.
    fn missing(self) -> Result<Option<String>, Failed> {
        let search = Search::from_env();
        match self {
            Self::Nothing => Ok(None),
            Self::Container if search.require.as_deref() == Some("container") => Ok(None),
            Self::Container => Ok(Some("runs with STANCHION_REQUIRE=container".to_owned())),
            Self::Process => match search.owned() {
                Ok(_) => Ok(None),
                Err(absent) if absent.fatal => Err(absent.into()),
                Err(absent) => Ok(Some(absent.message)),
            },
        }
    }
}

fn case<F: Future<Output = ()> + Send>(
    name: &str,
    needs: Needs,
    run: impl FnOnce() -> F + Send + 'static,
) -> Trial {
    Trial::ignorable_test(name, move || {
        if let Some(missing) = needs.missing()? {
            return Ok(Completion::ignored_with(missing));
        }
        runtime().block_on(run());
        Ok(Completion::Completed)
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Set for the process that [`outlives_nobody`] kills.
const OWNER: &str = "STANCHION_TEST_OWNER";

fn main() -> ExitCode {
    if std::env::var_os(OWNER).is_some() {
        runtime().block_on(own_until_killed());
    }
    let mut cases = cases! {
        Nothing:
            a_scripted_server_answers_as_told
            absent_names_all_three_ways
            a_demand_that_can_not_be_met_is_fatal;
        Process:
            a_process_starts_dies_and_comes_back_on_its_port
            a_paused_process_answers_later
            a_server_that_can_not_start_says_why
            many_processes_start_at_once
            nothing_outlives_a_killed_owner
            a_panic_ends_what_was_started
            a_cluster_serves_and_its_slots_move
            a_cluster_behind_proxies_announces_them
            a_proxy_loses_the_reply_to_one_command
            a_proxy_loses_the_confirmation_of_a_subscription
            a_proxy_counts_the_replies_before_the_lost_one
            a_proxy_refuses_cuts_and_freezes
            a_proxy_lets_nothing_past_where_bytes_were_lost
            an_address_comes_first;
        Container:
            a_container_answers_and_is_removed
            a_container_is_removed_outside_a_runtime
            a_container_outlives_nobody;
    };
    cases.extend(replicas::cases());
    cases.extend(sentinel::cases());
    libtest_mimic::run(&Arguments::from_args(), cases).exit_code()
}
