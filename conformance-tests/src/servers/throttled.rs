//! A link in front of a server that carries no more than so many bytes a second.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stanchion::clock::{Clock, SystemClock};
use stanchion::time::Monotonic;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::ServerError;
use super::port::Port;

/// So much of one connection is let through before the next has its turn.
const PIECE: usize = 16 * 1024;
/// Less than this is not waited for: timers are not that fine.
const GRAIN: Duration = Duration::from_millis(2);

/// Forwards to a server, and what it replies at a rate that all connections share.
///
/// It runs on the runtime that it was started on, and ends, with every connection, when it is dropped.
#[derive(Debug)]
pub struct ThrottledLink {
    port: Port,
    shared: Arc<Shared>,
    acceptor: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    bytes_per_second: u32,
    // When all that was let through so far has gone.
    free_at: Mutex<Monotonic>,
    accepted: AtomicUsize,
}

impl ThrottledLink {
    /// A link to the server at this address; at least one byte a second.
    ///
    /// # Cancel safety
    /// Dropping the future ends what was started.
    pub async fn start(upstream: SocketAddr, bytes_per_second: u32) -> Result<Self, ServerError> {
        let port = Port::claim()?;
        let listener =
            TcpListener::bind(port.addr()).await.map_err(ServerError::of("a throttled link has no port"))?;
        let shared = Arc::new(Shared {
            upstream,
            bytes_per_second: bytes_per_second.max(1),
            free_at: Mutex::new(SystemClock.now()),
            accepted: AtomicUsize::new(0),
        });
        let acceptor = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { port, shared, acceptor })
    }

    /// `redis://127.0.0.1:port`
    pub fn url(&self) -> String {
        format!("redis://{}", self.port.addr())
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for ThrottledLink {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Ends them all when this task is aborted.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((client, _)) = listener.accept() => {
                shared.accepted.fetch_add(1, Ordering::Relaxed);
                connections.spawn(forward(client, Arc::clone(&shared)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn forward(client: TcpStream, shared: Arc<Shared>) -> std::io::Result<()> {
    let server = TcpStream::connect(shared.upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let requests = async { tokio::io::copy(&mut from_client, &mut to_server).await.map(drop) };
    let replies = async {
        let mut piece = vec![0; PIECE];
        loop {
            let length = from_server.read(&mut piece).await?;
            if length == 0 {
                return Ok(());
            }
            shared.pace(length).await;
            to_client.write_all(&piece[..length]).await?;
        }
    };
    // Either end may go first.
    tokio::select! { ended = requests => ended, ended = replies => ended }
}

impl Shared {
    async fn pace(&self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let takes = Duration::from_secs_f64(f64::from(bytes) / f64::from(self.bytes_per_second));
        let now = SystemClock.now();
        let gone = {
            let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            *free_at = now.max(*free_at).saturating_add(takes);
            *free_at
        };
        if gone.saturating_since(now) > GRAIN {
            SystemClock.sleep_until(gone).await;
        }
    }
}
