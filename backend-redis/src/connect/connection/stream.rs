//! The bytes to and from a server: by TCP, with TLS or without, or by a Unix socket.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::select_ok;
use redis::ConnectionAddr;
use redis::io::tcp::socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

#[cfg(feature = "tls")]
use super::records::Records;
use crate::connect::context::Context;

/// After so long without an acknowledgement from the other machine a connection is over.
const SILENCE: Duration = Duration::from_secs(15);

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

#[cfg_attr(not(feature = "tls"), expect(unused_variables, reason = "it holds what TLS needs"))]
pub(super) async fn open(address: &ConnectionAddr, context: &Context) -> io::Result<Box<dyn Stream>> {
    match address {
        ConnectionAddr::Tcp(host, port) => Ok(Box::new(first(host, *port, tcp).await?)),
        #[cfg(feature = "tls")]
        ConnectionAddr::TcpTls { host, port, .. } => {
            let name = rustls::pki_types::ServerName::try_from(host.clone())
                .map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
            let config = context.tls.config().await.map_err(io::Error::other)?;
            let connector = tokio_rustls::TlsConnector::from(config);
            let tls = |address| {
                let (connector, name) = (connector.clone(), name.clone());
                async move { connector.connect(name, tcp(address).await?).await }
            };
            Ok(Box::new(Records::new(first(host, *port, tls).await?)))
        }
        #[cfg(unix)]
        ConnectionAddr::Unix(path) => Ok(Box::new(tokio::net::UnixStream::connect(path).await?)),
        _ => Err(io::Error::new(io::ErrorKind::Unsupported, format!("there is no way to {address}"))),
    }
}

/// Connects to that of a host's addresses which is ready first.
async fn first<S, F>(host: &str, port: u16, connect: impl Fn(SocketAddr) -> F) -> io::Result<S>
where
    F: Future<Output = io::Result<S>>,
{
    let addresses = tokio::net::lookup_host((host, port)).await?;
    let connecting: Vec<_> = addresses.map(|address| Box::pin(connect(address))).collect();
    if connecting.is_empty() {
        return Err(io::Error::other(format!("{host} has no address")));
    }
    Ok(select_ok(connecting).await?.0)
}

async fn tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(SILENCE))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(SILENCE))?;
    Ok(stream)
}
