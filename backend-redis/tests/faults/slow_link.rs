//! A link that carries much, slowly: calls run out of time, and the connection is well.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use stanchion::ErrorKind;
use stanchion::clock::{Clock, SystemClock};
use stanchion::environment::Health;
use stanchion_conformance::servers::RedisProcess;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::support::{config, connect, entry, eventually, failed, key};

/// So much is forwarded at a time,
const PIECE: usize = 64 * 1_024;
/// and then nothing for so long: some 12 MB a second.
const PAUSE: Duration = Duration::from_millis(5);

/// Forwards to a server at once, and what it says slowly.
struct SlowLink {
    addr: SocketAddr,
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl SlowLink {
    async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (addr, accepted) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&accepted);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                drop(tokio::spawn(forward(client, server)));
            }
        });
        Self { addr, accepted, task }
    }
}

impl Drop for SlowLink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(client: TcpStream, server: SocketAddr) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = TcpStream::connect(server).await.unwrap().into_split();
    let there = async { tokio::io::copy(&mut from_client, &mut to_server).await.map(drop) };
    let back = async {
        let mut piece = vec![0; PIECE];
        loop {
            let length = from_server.read(&mut piece).await?;
            if length == 0 {
                return Ok(());
            }
            to_client.write_all(&piece[..length]).await?;
            SystemClock.sleep_until(SystemClock.now().saturating_add(PAUSE)).await;
        }
    };
    // Either end may go first.
    let _: std::io::Result<()> = tokio::select! { ended = there => ended, ended = back => ended };
}

pub(crate) async fn a_connection_that_is_busy_is_not_given_up() {
    let server = RedisProcess::start().await.unwrap();
    let keys: Vec<_> = (0..20).map(|at| key(&format!("large{at}"))).collect();
    let entries: Vec<_> = keys.iter().map(|key| entry(key, vec![b'x'; 1_024 * 1_024])).collect();
    let filling = connect(config(&server.url())).await;
    filling.cache_store().unwrap().set_many(&entries).await.unwrap();

    let link = SlowLink::to(server.addr()).await;
    let settings = config(&format!("redis://{}", link.addr)).deadline(Duration::from_millis(400));
    let stores = connect(settings.cache_deadline(Duration::from_millis(100))).await;
    let cache = stores.cache_store().unwrap();
    let mut health = stores.health();
    assert_eq!(link.accepted.load(Ordering::SeqCst), 1);
    let small = key("small");
    for _ in 0..2 {
        // They take more than a second and a half, and the heartbeat that follows has to wait for them.
        let found = join_all(keys.iter().map(|key| cache.get(key))).await;
        let late = failed(found.into_iter().next_back().unwrap());
        assert_eq!(late.kind(), ErrorKind::Timeout, "{late}");
        tokio::select! {
            _ = health.wait_for(|health| *health != Health::Up) => panic!("the connection was given up"),
            _ = eventually("an answer", || cache.get(&small)) => {}
        }
    }
    assert_eq!(link.accepted.load(Ordering::SeqCst), 1);
}
