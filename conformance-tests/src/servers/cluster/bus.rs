//! The bus of a Cluster, by relays that can cut a node off.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::super::ServerError;
use super::super::port::Port;

/// Where the header of each message names its sender: after signature, length, version, port, type, count, two
/// epochs and an offset. It has stood there in every version of the protocol.
const SENDER: std::ops::Range<usize> = 40..80;
const SIGNATURE: &[u8] = b"RCmb";

/// A relay in front of each node's bus port; none where the bus can't be cut.
#[derive(Debug, Default)]
pub(super) struct Bus {
    relays: Vec<Relay>,
}

/// In front of the bus port of one node. It runs on the runtime that it was started on.
#[derive(Debug)]
struct Relay {
    port: Port,
    orders: watch::Sender<Orders>,
    acceptor: JoinHandle<()>,
}

#[derive(Debug, Clone)]
struct Orders {
    upstream: SocketAddr,
    /// Nothing comes in.
    cut: bool,
    /// From these nodes nothing comes in.
    barred: BTreeSet<Vec<u8>>,
}

impl Orders {
    /// Whether a connection from this node may be.
    fn allows(&self, sender: &[u8]) -> bool {
        !self.cut && !self.barred.contains(sender)
    }
}

impl Bus {
    /// Another relay; answers the port that its node is to announce.
    pub(super) async fn add(&mut self) -> Result<u16, ServerError> {
        let mut failed = None;
        for _ in 0..5 {
            let port = Port::claim()?;
            match TcpListener::bind(port.addr()).await {
                Ok(listener) => {
                    let number = port.number();
                    let upstream = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
                    let orders = Orders { upstream, cut: false, barred: BTreeSet::new() };
                    let orders = watch::Sender::new(orders);
                    let acceptor = tokio::spawn(accept(listener, orders.subscribe()));
                    self.relays.push(Relay { port, orders, acceptor });
                    return Ok(number);
                }
                Err(error) => failed = Some(error),
            }
        }
        Err(ServerError::new(format!("a relay has no port: {failed:?}")))
    }

    /// The relay's node listens there.
    pub(super) fn leads_to(&self, node: usize, upstream: SocketAddr) {
        if let Some(relay) = self.relays.get(node) {
            relay.orders.send_modify(|orders| orders.upstream = upstream);
        }
    }

    /// The port that a node announces, if there is a relay.
    pub(super) fn port(&self, node: usize) -> Option<u16> {
        self.relays.get(node).map(|relay| relay.port.number())
    }

    pub(super) fn is_cut(&self, node: usize) -> bool {
        self.relays.get(node).is_some_and(|relay| relay.orders.borrow().cut)
    }

    pub(super) fn cut(&self, node: usize, id: &str) -> Result<(), ServerError> {
        self.order(node, |orders, own| {
            orders.cut |= own;
            orders.barred.insert(id.as_bytes().to_vec());
        })
    }

    pub(super) fn mend(&self, node: usize, id: &str) -> Result<(), ServerError> {
        self.order(node, |orders, own| {
            orders.cut &= !own;
            orders.barred.remove(id.as_bytes());
        })
    }

    /// Gives every relay its order; `true` for the one of this node.
    fn order(&self, node: usize, order: impl Fn(&mut Orders, bool)) -> Result<(), ServerError> {
        if self.relays.is_empty() {
            return Err(ServerError::new("the Cluster was started without a breakable bus"));
        }
        for (index, relay) in self.relays.iter().enumerate() {
            relay.orders.send_modify(|orders| order(orders, index == node));
        }
        Ok(())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

async fn accept(listener: TcpListener, orders: watch::Receiver<Orders>) {
    // Ends them all when this task is aborted.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((client, _)) = listener.accept() => {
                connections.spawn(serve(client, orders.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Passes bytes both ways until an end closes or an order forbids it.
async fn serve(mut client: TcpStream, mut orders: watch::Receiver<Orders>) -> std::io::Result<()> {
    let upstream = orders.borrow_and_update().upstream;
    let mut server = TcpStream::connect(upstream).await?;
    let (mut up, mut down) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    let mut head = Vec::new();
    loop {
        let (mut sent, mut answered) = (0, 0);
        tokio::select! {
            changed = orders.changed() => changed.map_err(std::io::Error::other)?,
            read = client.read(&mut up) => {
                sent = read?;
                if sent == 0 { return Ok(()) }
            }
            read = server.read(&mut down) => {
                answered = read?;
                if answered == 0 { return Ok(()) }
            }
        }
        let wanted = SENDER.end.saturating_sub(head.len()).min(sent);
        head.extend_from_slice(&up[..wanted]);
        // What was read obeys the orders of now.
        if !orders.borrow().allows(sender(&head)) {
            return Ok(());
        }
        server.write_all(&up[..sent]).await?;
        client.write_all(&down[..answered]).await?;
    }
}

/// Who has opened a connection, by the head of its first message; empty until that has come.
fn sender(head: &[u8]) -> &[u8] {
    if head.starts_with(SIGNATURE) { head.get(SENDER).unwrap_or_default() } else { &[] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sender_is_read_from_the_head_of_a_message() {
        let head = [SIGNATURE, &[0; 36], &[b'a'; 40]].concat();
        assert_eq!(sender(&head), [b'a'; 40]);
        assert_eq!(sender(&head[..79]), b"", "not all of it has come");
        assert_eq!(sender(&[b'a'; 80]), b"", "no message of the bus");
    }
}
