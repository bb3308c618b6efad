//! The masters of a Cluster that are none, and say what a test has them say of each other.

use std::fmt::Write as _;
use std::net::SocketAddr;

use stanchion::key::Key;
use stanchion_conformance::servers::Scripted;

use crate::support::key;

/// How the slots are divided at first.
pub(crate) const RANGES: [(u16, u16); 3] = [(0, 5_460), (5_461, 10_922), (10_923, 16_383)];
pub(crate) const VALUE: &[u8] = b"$1\r\nv\r\n";

/// A master: its id and address, its flags, its epoch, and its slots.
#[derive(Clone)]
pub(crate) struct Master {
    pub(crate) id: &'static str,
    pub(crate) addr: SocketAddr,
    pub(crate) flags: &'static str,
    pub(crate) epoch: u64,
    pub(crate) slots: Option<(u16, u16)>,
}

pub(crate) fn master(id: &'static str, addr: SocketAddr, epoch: u64, slots: (u16, u16)) -> Master {
    Master { id, addr, flags: "master", epoch, slots: Some(slots) }
}

/// From now on this is what the server says of the Cluster; it is `me` itself.
pub(crate) fn says(server: &Scripted, me: &str, masters: &[Master]) {
    let (mut slots, mut count, mut nodes) = (String::new(), 0, String::new());
    for Master { id, addr, flags, epoch, slots: range } in masters {
        let (host, port) = (addr.ip().to_string(), addr.port());
        let myself = if *id == me { "myself," } else { "" };
        write!(nodes, "{id} {host}:{port}@1{port} {myself}{flags} - 0 0 {epoch} connected").unwrap();
        if let Some((first, last)) = range {
            count += 1;
            write!(nodes, " {first}-{last}").unwrap();
            let (host_len, id_len) = (host.len(), id.len());
            let at = format!("*3\r\n${host_len}\r\n{host}\r\n:{port}\r\n${id_len}\r\n{id}\r\n");
            write!(slots, "*3\r\n:{first}\r\n:{last}\r\n{at}").unwrap();
        }
        nodes.push('\n');
    }
    server.answer("SLOTS", format!("*{count}\r\n{slots}").as_bytes());
    server.answer("NODES", format!("${}\r\n{nodes}\r\n", nodes.len()).as_bytes());
}

/// Three masters that say the same of each other.
pub(crate) async fn three() -> ([Scripted; 3], Vec<Master>) {
    let server = async || Scripted::answering(VALUE).await.unwrap();
    let servers = [server().await, server().await, server().await];
    let masters: Vec<_> =
        (0..3).map(|at| master(["a", "b", "c"][at], servers[at].addr(), at as u64 + 1, RANGES[at])).collect();
    for (server, master) in servers.iter().zip(&masters) {
        says(server, master.id, &masters);
    }
    (servers, masters)
}

/// As a node sees the others that it can't reach.
pub(crate) fn with_flags(
    masters: &[Master],
    flags: &'static str,
    gone: impl Fn(&Master) -> bool,
) -> Vec<Master> {
    let flagged = |master: &Master| {
        let flags = if gone(master) { flags } else { master.flags };
        Master { flags, ..master.clone() }
    };
    masters.iter().map(flagged).collect()
}

/// A key in these slots.
pub(crate) fn key_in((first, last): (u16, u16)) -> Key {
    let slot = |key: &Key| crc16::State::<crc16::XMODEM>::calculate(key.as_str().as_bytes()) % 16_384;
    (0..1_000).map(|n| key(&format!("k{n}"))).find(|key| (first..=last).contains(&slot(key))).unwrap()
}

pub(crate) fn urls<'a>(servers: impl IntoIterator<Item = &'a Scripted>) -> Vec<String> {
    servers.into_iter().map(Scripted::url).collect()
}
