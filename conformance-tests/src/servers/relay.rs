//! The connections of a [`Proxy`](super::Proxy), each obeying its orders.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::resp::{self, Parsed, Reply};
use super::traffic::{Traffic, asks, take_requests};

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) upstream: Mutex<SocketAddr>,
    pub(super) orders: watch::Sender<Orders>,
    pub(super) listening: watch::Sender<bool>,
    pub(super) traps: Mutex<Vec<String>>,
    pub(super) traffic: Mutex<Traffic>,
    pub(super) counters: Mutex<Counters>,
}

/// What every connection obeys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Orders {
    pub(super) accept: bool,
    pub(super) frozen: bool,
    /// Raised to cut the connections of before.
    pub(super) cut: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) accepted: usize,
    pub(super) open: usize,
    pub(super) dropped: usize,
    pub(super) swallowed: usize,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) async fn accept(shared: Arc<Shared>, first: TcpListener, addr: SocketAddr) {
    let mut orders = shared.orders.subscribe();
    // An order may have been given before this task had its first turn.
    orders.mark_changed();
    let mut listener = Some(first);
    // Ends them all when this task is aborted.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok(()) = orders.changed() => {
                let accept = orders.borrow_and_update().accept;
                if !accept {
                    listener = None;
                } else if listener.is_none() {
                    // The port is claimed, so nobody else is on it.
                    listener = TcpListener::bind(addr).await.ok();
                }
                shared.listening.send_replace(listener.is_some());
            }
            Ok(client) = next(listener.as_ref()) => {
                lock(&shared.counters).accepted += 1;
                // Which cuts it was there for is settled here: a cut after `refuse` spares no connection.
                let cut = shared.orders.borrow().cut;
                connections.spawn(Connection::serve(Arc::clone(&shared), client, cut));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn next(listener: Option<&TcpListener>) -> std::io::Result<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(client, _)| client),
        None => std::future::pending().await,
    }
}

/// One connection through the proxy.
struct Connection {
    shared: Arc<Shared>,
    client: TcpStream,
    server: TcpStream,
    requests: Vec<u8>,
    replies: Vec<u8>,
    /// Requests that have a reply of their own, and such replies.
    asked: u64,
    answered: u64,
    doomed: Option<Doomed>,
    lost: bool,
    /// A replica is at the other end: what follows its PSYNC is a file and a stream, no replies.
    replicates: bool,
}

/// What is thrown away.
#[derive(PartialEq, Eq)]
enum Doomed {
    /// The reply to the request of this number.
    Reply(u64),
    /// The next confirmation of a subscription: it is a push, and has no number.
    Confirmation,
}

/// What was read, and from which side.
enum Came<'a> {
    Request(&'a [u8]),
    Reply(&'a [u8]),
}

/// The connection is over.
struct Over;

impl From<std::io::Error> for Over {
    fn from(_: std::io::Error) -> Self {
        Self
    }
}

/// Counts a connection as open for as long as it is served.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        lock(&self.0.counters).open -= 1;
    }
}

impl Connection {
    async fn serve(shared: Arc<Shared>, client: TcpStream, cut: u64) {
        lock(&shared.counters).open += 1;
        let _open = Open(Arc::clone(&shared));
        let mut orders = shared.orders.subscribe();
        orders.mark_changed();
        let upstream = *lock(&shared.upstream);
        let Ok(server) = TcpStream::connect(upstream).await else {
            return;
        };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (requests, replies) = (Vec::new(), Vec::new());
        let mut link = Self {
            shared,
            client,
            server,
            requests,
            replies,
            asked: 0,
            answered: 0,
            doomed: None,
            lost: false,
            replicates: false,
        };
        while link.step(&mut orders, cut).await.is_ok() {}
    }

    /// One read, or one order. What was read obeys the orders of now: a connection that has to end passes nothing
    /// on, also if the order and the bytes come together.
    async fn step(&mut self, orders: &mut watch::Receiver<Orders>, cut: u64) -> Result<(), Over> {
        let mut up = vec![0; 64 * 1024];
        let mut down = vec![0; 64 * 1024];
        let came = tokio::select! {
            changed = orders.changed() => changed.map(|()| None).map_err(|_| Over)?,
            read = self.client.read(&mut up) => Some(Came::Request(&up[..read?])),
            read = self.server.read(&mut down) => Some(Came::Reply(&down[..read?])),
        };
        let orders = *orders.borrow_and_update();
        if orders.cut != cut || (self.lost && !orders.frozen) {
            return Err(Over);
        }
        match came {
            None => Ok(()),
            Some(Came::Request([]) | Came::Reply([])) => Err(Over),
            Some(Came::Request(bytes) | Came::Reply(bytes)) if orders.frozen => {
                self.swallow(bytes);
                Ok(())
            }
            Some(Came::Request(bytes)) => self.request(bytes).await,
            Some(Came::Reply(bytes)) => self.reply(bytes).await,
        }
    }

    async fn request(&mut self, bytes: &[u8]) -> Result<(), Over> {
        if !self.replicates {
            self.requests.extend_from_slice(bytes);
            self.note_requests();
        }
        Ok(self.server.write_all(bytes).await?)
    }

    /// Takes what comes while nothing is let through; the connection can't go on from there.
    fn swallow(&mut self, bytes: &[u8]) {
        self.lost = true;
        lock(&self.shared.counters).swallowed += bytes.len();
    }

    fn note_requests(&mut self) {
        let mut traffic = lock(&self.shared.traffic);
        traffic.next_read();
        for words in take_requests(&mut self.requests) {
            traffic.record(&words);
            self.replicates |= words.first().is_some_and(|name| name.eq_ignore_ascii_case(b"PSYNC"));
            let by_push = answers_by_push(&words);
            if !by_push {
                self.asked += 1;
            }
            let mut traps = lock(&self.shared.traps);
            if self.doomed.is_none()
                && let Some(trap) = traps.iter().position(|needle| asks(&words, needle))
            {
                traps.remove(trap);
                self.doomed = Some(if by_push { Doomed::Confirmation } else { Doomed::Reply(self.asked) });
            }
        }
    }

    async fn reply(&mut self, bytes: &[u8]) -> Result<(), Over> {
        if self.replicates {
            // The replica waited for every reply before it sent PSYNC: nothing is left over.
            return Ok(self.client.write_all(bytes).await?);
        }
        self.replies.extend_from_slice(bytes);
        loop {
            match resp::parse(&self.replies) {
                Parsed::Whole(reply, used) => {
                    let lost = if is_push(&reply) {
                        self.doomed == Some(Doomed::Confirmation) && confirms(&reply)
                    } else {
                        self.answered += 1;
                        self.doomed == Some(Doomed::Reply(self.answered))
                    };
                    if lost {
                        lock(&self.shared.counters).dropped += 1;
                        return Err(Over);
                    }
                    let whole: Vec<u8> = self.replies.drain(..used).collect();
                    self.client.write_all(&whole).await?;
                }
                Parsed::Partial => return Ok(()),
                Parsed::Garbled => return Err(Over),
            }
        }
    }
}

/// Requests that are answered by something that looks like a message, once per channel.
fn answers_by_push(words: &[Vec<u8>]) -> bool {
    words.first().is_some_and(|name| name.to_ascii_lowercase().ends_with(b"subscribe"))
}

fn is_push(reply: &Reply) -> bool {
    const MESSAGES: [&str; 3] = ["message", "pmessage", "smessage"];
    match reply {
        Reply::Push(_) => true,
        // Protocol 2 says these in arrays.
        Reply::Array(_) => confirms(reply) || MESSAGES.contains(&first(reply).as_str()),
        _ => false,
    }
}

/// Whether it says that a subscription has begun or ended.
fn confirms(reply: &Reply) -> bool {
    first(reply).ends_with("subscribe")
}

fn first(reply: &Reply) -> String {
    reply.items().first().map(Reply::text).unwrap_or_default()
}
