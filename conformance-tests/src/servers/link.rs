//! Talking to a server directly.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::ServerError;
use super::resp::{Parsed, Reply, encode, parse};

/// How long a server may take to answer the harness.
const PATIENCE: Duration = Duration::from_secs(5);

/// One connection of the harness to a server, for what a test has to say to it directly.
#[derive(Debug)]
pub struct Link {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Link {
    /// Connects.
    ///
    /// # Cancel safety
    /// Dropping the future closes what was opened.
    pub async fn connect(addr: SocketAddr) -> Result<Self, ServerError> {
        let stream =
            in_time(TcpStream::connect(addr)).await.map_err(ServerError::of(format!("no link to {addr}")))?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Sends one command and reads its reply. An error reply is a reply.
    ///
    /// # Cancel safety
    /// Not cancel safe: after a dropped call the next one would read its reply. Connect anew.
    pub async fn ask(&mut self, words: &[&str]) -> Result<Reply, ServerError> {
        let what = || words.iter().take(2).copied().collect::<Vec<_>>().join(" ");
        let asking = async {
            self.stream.write_all(&encode(words)).await?;
            read(&mut self.stream, &mut self.buffer).await
        };
        in_time(asking).await.map_err(ServerError::of(format!("no reply to {}", what())))
    }
}

async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<Reply> {
    loop {
        match parse(buffer) {
            Parsed::Whole(reply, used) => {
                buffer.drain(..used);
                return Ok(reply);
            }
            Parsed::Garbled => return Err(std::io::Error::other("not the Redis protocol")),
            Parsed::Partial if stream.read_buf(buffer).await? == 0 => {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            Parsed::Partial => {}
        }
    }
}

async fn in_time<T>(answer: impl Future<Output = std::io::Result<T>>) -> std::io::Result<T> {
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(done) => done,
        Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
    }
}

/// One command on a connection of its own.
pub(super) async fn ask(addr: SocketAddr, words: &[&str]) -> Result<Reply, ServerError> {
    Link::connect(addr).await?.ask(words).await
}

/// One command that must not be refused.
pub(super) async fn tell(addr: SocketAddr, words: &[&str]) -> Result<Reply, ServerError> {
    accepted(addr, words, ask(addr, words).await?)
}

/// The reply, unless it is a refusal.
pub(super) fn accepted(addr: SocketAddr, words: &[&str], reply: Reply) -> Result<Reply, ServerError> {
    if reply.is_error() {
        let what = words.iter().take(2).copied().collect::<Vec<_>>().join(" ");
        return Err(ServerError::new(format!("{addr} refused {what}: {}", reply.text())));
    }
    Ok(reply)
}

/// One field of `INFO`.
pub(super) async fn info(addr: SocketAddr, field: &str) -> Result<Option<String>, ServerError> {
    let reply = tell(addr, &["INFO"]).await?.text();
    let found = reply.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    Ok(found.map(|value| value.trim().to_owned()))
}
