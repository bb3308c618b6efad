//! A TCP proxy in front of one server that can be told to fail.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::ServerError;
use super::port::Port;
use super::relay::{Orders, Shared, accept, lock};

/// Forwards bytes both ways between its own port and a server, until it gets another order.
///
/// It runs on the runtime that it was started on, and ends, with every connection, when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    port: Port,
    shared: Arc<Shared>,
    acceptor: JoinHandle<()>,
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

    /// A link that is half open: connections stay, what is sent either way disappears, nobody notices.
    pub fn freeze(&self) {
        self.shared.orders.send_modify(|orders| orders.frozen = true);
    }

    /// How many bytes have disappeared so far.
    pub fn swallowed_bytes(&self) -> usize {
        lock(&self.shared.counters).swallowed
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
