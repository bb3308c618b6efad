//! The driver on scripted streams: what is written together, which reply goes to which request, and what remains of both when
//! the connection ends.

mod bursts;
mod ends;
mod heartbeat;
mod limits;
mod model;
mod pacing;
mod panics;
mod pushes;
mod reads;
mod runtimes;
mod unsent;

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::join_all;
use redis::Value;
use stanchion::clock::{Clock, ManualClock};
use stanchion::environment::Environment;
use stanchion::key::Key;
use stanchion::{Effect, ErrorKind};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::runtime::{Builder, Runtime};

use super::events::ConnectionEvents;
use super::handle::Connection;
use super::stream::Stream;
use crate::config::RedisConfig;
use crate::connect::context::Context as Shared;
use crate::connect::purpose::Purpose;
use crate::error::Access;

const CALLERS: usize = 64;
/// For what comes at once unless something is wrong.
const LONG_WAIT: Duration = Duration::from_secs(10);
const REPLY: &[u8] = b"$5\r\nvalue\r\n";

fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Runs a test, which is red where it would hang.
fn run<F: Future>(test: F) -> F::Output {
    let test = async { tokio::time::timeout(6 * LONG_WAIT, test).await.expect("it hangs") };
    one_thread().block_on(test)
}

/// How many requests were in each write.
type Writes = Arc<Mutex<Vec<usize>>>;

struct Counted(DuplexStream, Writes);

fn requests(bytes: &[u8]) -> usize {
    bytes.windows(3).filter(|window| window == b"GET").count()
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.1.lock().unwrap().push(requests(buf));
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A connection on such a stream.
fn connect_by(
    stream: DuplexStream,
    clock: Arc<dyn Clock>,
    events: Option<Arc<dyn ConnectionEvents>>,
) -> (Connection, Writes) {
    let writes = Writes::default();
    let context = context_with(clock, LONG_WAIT);
    (Connection::on(Counted(stream, Arc::clone(&writes)), events, Purpose::Commands, &context), writes)
}

fn context_with(clock: Arc<dyn Clock>, deadline: Duration) -> Arc<Shared> {
    let config = RedisConfig::standalone("redis://localhost").unwrap().deadline(deadline);
    Shared::new(&config, Environment::system().clock(clock))
}

/// As another connection of the backend would be made, on any stream.
fn connect_on(
    stream: impl Stream + 'static,
    events: Option<Arc<dyn ConnectionEvents>>,
    context: &Arc<Shared>,
) -> Connection {
    Connection::on(stream, events, Purpose::Commands, context)
}

/// On a stream that nobody looks at.
fn connect_plainly(stream: impl Stream + 'static) -> Connection {
    connect_on(stream, None, &context_with(Arc::new(ManualClock::new()), LONG_WAIT))
}

/// The heartbeat of a connection: one reply.
async fn heartbeat(connection: &Connection, context: &Shared) -> stanchion::Result<Value> {
    let mut commands = redis::Pipeline::with_capacity(1);
    commands.add_command(redis::cmd("TIME"));
    connection.heartbeat(&commands, context).await.map(|mut replies| replies.remove(0))
}

/// A `SET` of so many bytes.
fn set(bytes: usize) -> redis::Cmd {
    let mut command = redis::cmd("SET");
    command.arg("key").arg(vec![b'x'; bytes]);
    command
}

/// What a caller acts on.
fn facts(error: &stanchion::Error) -> (ErrorKind, Effect) {
    (error.kind(), error.effect())
}

fn connect(stream: DuplexStream) -> (Connection, Writes) {
    connect_by(stream, Arc::new(ManualClock::new()), None)
}

/// Replies to so many rounds of so many requests, each round at once, and hangs up.
async fn serve(mut stream: DuplexStream, rounds: usize, times: usize) {
    for _ in 0..rounds {
        let mut read = Vec::new();
        while requests(&read) < times {
            assert!(stream.read_buf(&mut read).await.unwrap() > 0);
        }
        stream.write_all(&REPLY.repeat(times)).await.unwrap();
    }
}

/// One request; whether it had its reply.
async fn request(connection: &Connection) -> bool {
    let mut command = redis::cmd("GET");
    command.arg("key");
    match connection.command(&command, Access::Read).await {
        Ok(value) => {
            assert_eq!(value, Value::BulkString(b"value".to_vec()));
            true
        }
        Err(_) => false,
    }
}

/// Each caller sends so many requests, one after the other; how many had their reply.
async fn request_all(connection: &Connection, callers: usize, rounds: usize) -> Vec<usize> {
    let requesting = (0..callers).map(|_| {
        let connection = connection.clone();
        tokio::spawn(async move {
            for round in 0..rounds {
                if !request(&connection).await {
                    return round;
                }
            }
            rounds
        })
    });
    join_all(requesting).await.into_iter().map(Result::unwrap).collect()
}

/// Reads what is written to the server, until so many keys are in it.
async fn read_requests(stream: &mut DuplexStream, keys: usize) {
    let mut read = Vec::new();
    while read.windows(5).filter(|window| window == b":key-").count() < keys {
        assert!(stream.read_buf(&mut read).await.unwrap() > 0);
    }
}

fn key(n: usize) -> Key {
    Key::new("cache", "user", format!("key-{n}")).unwrap()
}
