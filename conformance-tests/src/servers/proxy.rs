//! A TCP proxy in front of one server that can be told to fail.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::ServerError;
use super::port::Port;
use super::resp::{self, Parsed, Reply};
use super::traffic::{Traffic, asks, take_requests};

/// Forwards bytes both ways between its own port and a server, until it is told otherwise.
///
/// It runs on the runtime that it was started on, and ends, with every connection, when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    port: Port,
    shared: Arc<Shared>,
    acceptor: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    upstream: Mutex<SocketAddr>,
    orders: watch::Sender<Orders>,
    listening: watch::Sender<bool>,
    traps: Mutex<Vec<String>>,
    traffic: Mutex<Traffic>,
    counters: Mutex<Counters>,
}

/// What every connection obeys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Orders {
    accept: bool,
    frozen: bool,
    /// Raised to cut the connections of before.
    cut: u64,
}

#[derive(Debug, Default)]
struct Counters {
    accepted: usize,
    open: usize,
    dropped: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Proxy {
    /// A proxy in front of the server at this address.
    ///
    /// # Cancel safety
    /// Dropping the future ends what was started.
    pub async fn start(upstream: SocketAddr) -> Result<Self, ServerError> {
        let mut failed = None;
        for _ in 0..5 {
            let port = Port::claim()?;
            match TcpListener::bind(port.addr()).await {
                Ok(listener) => return Ok(Self::run(port, listener, upstream)),
                Err(error) => failed = Some(error),
            }
        }
        Err(ServerError::new(format!("a proxy has no port: {failed:?}")))
    }

    fn run(port: Port, listener: TcpListener, upstream: SocketAddr) -> Self {
        let shared = Arc::new(Shared {
            upstream: upstream.into(),
            orders: watch::Sender::new(Orders { accept: true, frozen: false, cut: 0 }),
            listening: watch::Sender::new(true),
            traps: Mutex::default(),
            traffic: Mutex::default(),
            counters: Mutex::default(),
        });
        let acceptor = tokio::spawn(accept(Arc::clone(&shared), listener, port.addr()));
        Self { port, shared, acceptor }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// `redis://127.0.0.1:port`
    pub fn url(&self) -> String {
        format!("redis://{}", self.addr())
    }

    /// Forwards new connections to this server from now on.
    pub fn forward_to(&self, upstream: SocketAddr) {
        *lock(&self.shared.upstream) = upstream;
    }

    /// The next request is done by the server, its reply is thrown away, and the connection is cut: the client
    /// can't know that it was done. Arm this just before the command under test.
    pub fn drop_next_reply(&self) {
        self.drop_next_reply_to("");
    }

    /// As [`drop_next_reply`](Self::drop_next_reply), for the next request that contains this text, such as
    /// `INCRBY`, `EVALSHA` or a key; upper and lower case are the same.
    pub fn drop_next_reply_to(&self, needle: &str) {
        lock(&self.shared.traps).push(needle.to_owned());
    }

    /// How many replies were thrown away.
    pub fn dropped_replies(&self) -> usize {
        lock(&self.shared.counters).dropped
    }

    /// Stops listening: new connections are refused, the open ones stay.
    ///
    /// # Cancel safety
    /// The order is given at once; the future only waits until it is carried out.
    pub async fn refuse(&self) {
        self.listen(false).await;
    }

    /// Listens again.
    ///
    /// # Cancel safety
    /// As [`refuse`](Self::refuse).
    pub async fn accept(&self) {
        self.listen(true).await;
    }

    async fn listen(&self, accept: bool) {
        let mut listening = self.shared.listening.subscribe();
        self.shared.orders.send_modify(|orders| orders.accept = accept);
        // The sender is in `self`: this can't end with an error.
        let _ = listening.wait_for(|listening| *listening == accept).await;
    }

    /// Closes every connection that is open now.
    pub fn cut(&self) {
        self.shared.orders.send_modify(|orders| orders.cut += 1);
    }

    /// A link that is half open: connections stay, what is sent either way disappears, nobody is told.
    pub fn freeze(&self) {
        self.shared.orders.send_modify(|orders| orders.frozen = true);
    }

    /// The link is back: a connection that lost bytes is cut, one that was idle goes on.
    pub fn thaw(&self) {
        self.shared.orders.send_modify(|orders| orders.frozen = false);
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> usize {
        lock(&self.shared.counters).accepted
    }

    /// How many of them are open.
    pub fn open_connections(&self) -> usize {
        lock(&self.shared.counters).open
    }

    /// How many requests went past that contained this text (see
    /// [`drop_next_reply_to`](Self::drop_next_reply_to)).
    pub fn requests(&self, needle: &str) -> usize {
        lock(&self.shared.traffic).count(needle)
    }

    /// In how many reads those requests came. A pipelined write of less than 64 KiB is one.
    pub fn reads(&self, needle: &str) -> usize {
        lock(&self.shared.traffic).count_reads(needle)
    }

    /// Starts the counts of requests and reads anew.
    pub fn forget_requests(&self) {
        lock(&self.shared.traffic).forget();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

async fn accept(shared: Arc<Shared>, first: TcpListener, addr: SocketAddr) {
    let mut orders = shared.orders.subscribe();
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
                connections.spawn(Connection::serve(Arc::clone(&shared), client));
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
    /// The reply to this request is thrown away.
    doomed: Option<u64>,
    lost: bool,
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
    async fn serve(shared: Arc<Shared>, client: TcpStream) {
        lock(&shared.counters).open += 1;
        let _open = Open(Arc::clone(&shared));
        let mut orders = shared.orders.subscribe();
        let began = *orders.borrow_and_update();
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
        };
        while link.step(&mut orders, began.cut).await.is_ok() {}
    }

    async fn step(&mut self, orders: &mut watch::Receiver<Orders>, cut: u64) -> Result<(), Over> {
        let mut up = vec![0; 64 * 1024];
        let mut down = vec![0; 64 * 1024];
        tokio::select! {
            changed = orders.changed() => {
                changed.map_err(|_| Over)?;
                let orders = *orders.borrow_and_update();
                if orders.cut != cut || (self.lost && !orders.frozen) { Err(Over) } else { Ok(()) }
            }
            read = self.client.read(&mut up) => {
                let (read, frozen) = (read?, orders.borrow().frozen);
                self.request(&up[..read], frozen).await
            }
            read = self.server.read(&mut down) => {
                let (read, frozen) = (read?, orders.borrow().frozen);
                self.reply(&down[..read], frozen).await
            }
        }
    }

    async fn request(&mut self, bytes: &[u8], frozen: bool) -> Result<(), Over> {
        if bytes.is_empty() {
            return Err(Over);
        }
        if frozen {
            self.lost = true;
            return Ok(());
        }
        self.requests.extend_from_slice(bytes);
        self.note_requests();
        Ok(self.server.write_all(bytes).await?)
    }

    fn note_requests(&mut self) {
        let mut traffic = lock(&self.shared.traffic);
        traffic.next_read();
        for words in take_requests(&mut self.requests) {
            traffic.record(&words);
            if !answers_by_push(&words) {
                self.asked += 1;
            }
            let mut traps = lock(&self.shared.traps);
            if self.doomed.is_none()
                && let Some(trap) = traps.iter().position(|needle| asks(&words, needle))
            {
                traps.remove(trap);
                self.doomed = Some(self.asked);
            }
        }
    }

    async fn reply(&mut self, bytes: &[u8], frozen: bool) -> Result<(), Over> {
        if bytes.is_empty() {
            return Err(Over);
        }
        if frozen {
            self.lost = true;
            return Ok(());
        }
        self.replies.extend_from_slice(bytes);
        loop {
            match resp::parse(&self.replies) {
                Parsed::Whole(reply, used) => {
                    if !is_push(&reply) {
                        self.answered += 1;
                        if self.doomed == Some(self.answered) {
                            lock(&self.shared.counters).dropped += 1;
                            return Err(Over);
                        }
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
    let first = || reply.items().first().map(Reply::text).unwrap_or_default();
    match reply {
        Reply::Push(_) => true,
        // Protocol 2 says these in arrays.
        Reply::Array(_) => first().ends_with("subscribe") || MESSAGES.contains(&first().as_str()),
        _ => false,
    }
}
