//! The bytes to and from a server: by TCP, with TLS or without, or by a Unix socket.

use std::io;
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_ok;
use redis::ConnectionAddr;
use redis::io::tcp::socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::connect::Context;

/// After so long without an answer from the other machine a connection is over.
const SILENCE: Duration = Duration::from_secs(15);

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

#[cfg_attr(not(feature = "tls"), expect(unused_variables, reason = "it holds what TLS needs"))]
pub(super) async fn open(address: &ConnectionAddr, context: &Context) -> io::Result<Box<dyn Stream>> {
    match address {
        ConnectionAddr::Tcp(host, port) => Ok(Box::new(tcp(host, *port).await?)),
        #[cfg(feature = "tls")]
        ConnectionAddr::TcpTls { host, port, .. } => {
            let name = rustls::pki_types::ServerName::try_from(host.clone())
                .map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
            let connector = tokio_rustls::TlsConnector::from(Arc::clone(&context.tls));
            Ok(Box::new(connector.connect(name, tcp(host, *port).await?).await?))
        }
        #[cfg(unix)]
        ConnectionAddr::Unix(path) => Ok(Box::new(tokio::net::UnixStream::connect(path).await?)),
        _ => Err(io::Error::new(io::ErrorKind::Unsupported, format!("there is no way to {address}"))),
    }
}

/// To that of its addresses which answers first.
async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses = tokio::net::lookup_host((host, port)).await?;
    let connecting: Vec<_> = addresses.map(|address| Box::pin(TcpStream::connect(address))).collect();
    if connecting.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address")));
    }
    let (stream, _others) = select_ok(connecting).await?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(SILENCE))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(SILENCE))?;
    Ok(stream)
}
