//! A master and a replica, behind one address.

use stanchion_conformance::servers::{Proxy, RedisProcess, until};

use crate::support::{TIMEOUT, send};

/// `a` is the master at first, and new connections are led to it.
pub(crate) struct Pair {
    pub(crate) a: RedisProcess,
    pub(crate) b: RedisProcess,
    pub(crate) proxy: Proxy,
}

impl Pair {
    pub(crate) async fn start() -> Self {
        // A replica is sent what there is without waiting for others.
        let settings = ["--repl-diskless-sync-delay", "0"];
        let a = RedisProcess::start_with(&settings).await.unwrap();
        let b = RedisProcess::start_with(&settings).await.unwrap();
        let proxy = Proxy::start(a.addr()).await.unwrap();
        let pair = Self { a, b, proxy };
        send(&pair.b, &["REPLICAOF", "127.0.0.1", &pair.a.addr().port().to_string()]).await;
        pair.in_sync().await;
        pair
    }

    /// Waits until the replica has all that the master has.
    pub(crate) async fn in_sync(&self) {
        let info = |server| async move { send(server, &["INFO", "replication"]).await.text() };
        let field = |info: &str, name: &str| {
            info.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
        };
        until("the replica is in sync", TIMEOUT, || async {
            let (master, replica) = (info(&self.a).await, info(&self.b).await);
            let offsets = ["master_repl_offset:", "slave_repl_offset:"];
            let is_up = replica.contains("master_link_status:up") && master.contains("state=online");
            let same = field(&master, offsets[0]) == field(&replica, offsets[1]);
            if is_up && same { Ok(()) } else { Err(format!("{master}\n{replica}")) }
        })
        .await
        .unwrap();
    }

    /// `b` is the master now, and `a` a replica that can't reach it.
    pub(crate) async fn swap_apart(&self) {
        send(&self.b, &["REPLICAOF", "NO", "ONE"]).await;
        send(&self.a, &["REPLICAOF", "127.0.0.1", "1"]).await;
    }

    /// `b` is a master of its own, and `a` knows nothing of it.
    pub(crate) async fn part(&self) {
        send(&self.b, &["REPLICAOF", "NO", "ONE"]).await;
    }

    /// Ends the connection of this kind that comes through the proxy.
    pub(crate) async fn kill(&self, server: &RedisProcess, kind: Kind) {
        let list = send(server, &["CLIENT", "LIST"]).await.text();
        let mut killed = 0;
        for line in list.lines().filter(|line| Kind::of(line) == Some(kind)) {
            let id = field(line, "id").unwrap();
            send(server, &["CLIENT", "KILL", "ID", id]).await;
            killed += 1;
        }
        assert_eq!(killed, 1, "{list}");
    }
}

/// What a connection is for, as the server sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Commands,
    Subscriptions,
    Invalidations,
}

impl Kind {
    /// Of a line of `CLIENT LIST`; none of another server's, and of the one that asks.
    fn of(line: &str) -> Option<Self> {
        let flags = field(line, "flags")?;
        match () {
            () if flags.contains('t') => Some(Self::Invalidations),
            () if flags.contains('P') => Some(Self::Subscriptions),
            () if flags == "N" && !field(line, "cmd")?.starts_with("client") => Some(Self::Commands),
            () => None,
        }
    }
}

fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
}
