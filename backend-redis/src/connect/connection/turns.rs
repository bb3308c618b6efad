//! Replies in small shares, so that the requests that follow them are written together.
//!
//! The client's task reads whatever replies are there, and with them wakes all their callers. With their next requests
//! either each wakes that task at once, and most requests cost a system call of their own; or all of them are written
//! together, and client and server work, and sleep, in turn. Between the two is this: of many replies the task hands out a
//! few, and goes behind those whom it has woken. When it is its turn again it writes what they have asked in one piece, and
//! hands out the next few, while the server has something to do. Nothing waits for anything but its turn: no timer, and no
//! minimum.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::replies::Replies;

/// So many bytes are read at once.
const ROOM: usize = 8 * 1_024;
/// A turn has so many replies,
const SHARE: usize = 2;
/// or of many that have come this part of their bytes: the more callers there are, the more write together.
const PART: usize = 8;

/// A stream that ends the turn of the task that reads it.
pub(super) struct Turns<S> {
    stream: S,
    // Read, and not handed out.
    came: BytesMut,
    replies: Replies,
    // What the turn has handed out; a turn that was not ended goes on.
    whole: usize,
    bytes: usize,
    turn: Arc<Turn>,
}

/// Whether it is the turn of the task that reads and writes.
#[derive(Debug, Default)]
pub(super) struct Turn(AtomicU8);

/// There is no such task yet: everything is handed out.
const NOBODYS: u8 = 0;
const ITS: u8 = 1;
const OVER: u8 = 2;

impl Turn {
    // In one task at a time, so that no order has to be kept with anything else.
    fn is(&self, state: u8) -> bool {
        self.0.load(Ordering::Relaxed) == state
    }

    fn set(&self, state: u8) {
        self.0.store(state, Ordering::Relaxed);
    }

    /// Runs what reads and writes, and lets others run when its turn is over.
    pub(super) async fn taken_by(self: Arc<Self>, driver: impl Future<Output = ()>) {
        let mut driver = pin!(driver);
        std::future::poll_fn(|cx| {
            self.set(ITS);
            let polled = driver.as_mut().poll(cx);
            if polled.is_pending() && self.is(OVER) {
                // Tokio puts a task that wakes itself behind those that are ready to run.
                cx.waker().wake_by_ref();
            }
            polled
        })
        .await;
    }
}

impl<S> Turns<S> {
    pub(super) fn of(stream: S) -> (Self, Arc<Turn>) {
        let turn = Arc::new(Turn::default());
        let came = BytesMut::with_capacity(ROOM);
        let replies = Replies::default();
        let turns = Self { stream, came, replies, whole: 0, bytes: 0, turn: Arc::clone(&turn) };
        (turns, turn)
    }

    /// Hands out what is due of what has come.
    fn hand_out(&mut self, buf: &mut ReadBuf<'_>) {
        let room = self.came.len().min(buf.remaining());
        let due = if self.turn.is(NOBODYS) {
            self.replies.pass(&self.came[..room]);
            room
        } else {
            self.due(room)
        };
        buf.put_slice(&self.came[..due]);
        self.came.advance(due);
    }

    /// How much of so many bytes is due. Ends the turn if that is not all.
    fn due(&mut self, room: usize) -> usize {
        let part = self.came.len() / PART;
        let mut due = 0;
        while due < room {
            if self.whole >= SHARE && self.bytes >= part {
                (self.whole, self.bytes) = (0, 0);
                self.turn.set(OVER);
                break;
            }
            let end = self.replies.end(&self.came[due..room]);
            self.whole += usize::from(end.is_some());
            let length = end.unwrap_or(room - due);
            self.bytes += length;
            due += length;
        }
        due
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Turns<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.turn.is(OVER) {
            return Poll::Pending;
        }
        if this.came.is_empty() {
            let to_come = this.replies.to_come();
            if to_come > ROOM as u64 {
                // The rest of a large string goes where it belongs, without a detour.
                let before = buf.filled().len();
                ready!(Pin::new(&mut (&mut this.stream).take(to_come)).poll_read(cx, buf))?;
                this.replies.pass(&buf.filled()[before..]);
                return Poll::Ready(Ok(()));
            }
            this.came.reserve(ROOM);
            let read = tokio_util::io::poll_read_buf(Pin::new(&mut this.stream), cx, &mut this.came);
            if ready!(read)? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        let before = buf.filled().len();
        this.hand_out(buf);
        // Nothing at all would be the end of the stream.
        if this.turn.is(OVER) && buf.filled().len() == before { Poll::Pending } else { Poll::Ready(Ok(())) }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Turns<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::future::join_all;
    use proptest::prelude::*;
    use redis::aio::MultiplexedConnection;
    use redis::{AsyncConnectionConfig, Value};
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
    use tokio::runtime::{Builder, Runtime};

    use super::*;

    const CALLERS: usize = 16;
    const REPLY: &[u8] = b"$5\r\nvalue\r\n";

    fn one_thread() -> Runtime {
        Builder::new_current_thread().enable_all().build().unwrap()
    }

    /// Remembers how many requests were in each write.
    struct Counted(DuplexStream, Arc<Mutex<Vec<usize>>>);

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

    /// Answers a round of requests, one by each caller, all at once.
    async fn serve(mut stream: DuplexStream, rounds: usize) {
        let mut asked = Vec::new();
        for round in 1..=rounds {
            while requests(&asked) < round * CALLERS {
                assert!(stream.read_buf(&mut asked).await.unwrap() > 0);
            }
            stream.write_all(&REPLY.repeat(CALLERS)).await.unwrap();
        }
    }

    #[test]
    fn what_follows_a_share_is_written_together_and_before_the_next_share() {
        const ROUNDS: usize = 4;
        let writes = one_thread().block_on(async {
            let (ours, its) = duplex(64 * 1_024);
            let writes = Arc::new(Mutex::new(Vec::new()));
            let (stream, turn) = Turns::of(Counted(ours, Arc::clone(&writes)));
            let info = redis::RedisConnectionInfo::default().set_skip_set_lib_name();
            let config = AsyncConnectionConfig::new().set_response_timeout(None);
            let connecting = MultiplexedConnection::new_with_config(&info, stream, config);
            let (client, driver) = connecting.await.unwrap();
            let server = tokio::spawn(serve(its, ROUNDS));
            let driver = tokio::spawn(turn.taken_by(driver));
            let asking = (0..CALLERS).map(|_| {
                let mut client = client.clone();
                tokio::spawn(async move {
                    for _ in 0..ROUNDS {
                        let answer = client.send_packed_command(redis::cmd("GET").arg("key")).await;
                        assert_eq!(answer.unwrap(), Value::BulkString(b"value".to_vec()));
                    }
                })
            });
            for asked in join_all(asking).await {
                asked.unwrap();
            }
            server.await.unwrap();
            driver.abort();
            let written = writes.lock().unwrap();
            written.clone()
        });
        let (first, later) = writes.split_first().unwrap();
        assert_eq!(*first, CALLERS, "nothing was handed out before it");
        assert_eq!(later, vec![SHARE; (ROUNDS - 1) * CALLERS / SHARE]);
    }

    /// Strings of these sizes, as a server sends them.
    fn replies_of(sizes: &[usize]) -> Vec<u8> {
        sizes
            .iter()
            .flat_map(|size| {
                [format!("${size}\r\n"), "x".repeat(*size), "\r\n".to_owned()].concat().into_bytes()
            })
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
        #[test]
        fn all_comes_through_and_then_the_end_in_whatever_pieces_it_comes(
            sizes in prop::collection::vec(prop_oneof![4 => 0..200_usize, 1 => 8_000..40_000_usize], 1..40),
            pieces in prop::collection::vec(1..20_000_usize, 1..10),
            before in 0..100_usize,
            room in 1..20_000_usize,
        ) {
            let text = replies_of(&sizes);
            let came = one_thread().block_on(async {
                let (ours, mut its) = duplex(30_000);
                let (mut stream, turn) = Turns::of(ours);
                let sent = text.clone();
                let server = tokio::spawn(async move {
                    let mut left = &sent[..];
                    for length in pieces.iter().cycle() {
                        let (piece, rest) = left.split_at((*length).min(left.len()));
                        its.write_all(piece).await.unwrap();
                        left = rest;
                        if left.is_empty() {
                            break;
                        }
                    }
                });
                // As a handshake is read, before there is a driver.
                let mut came = vec![0; before.min(text.len())];
                let _ = stream.read_exact(&mut came).await.unwrap();
                let read = Arc::new(Mutex::new(came));
                let reading = Arc::clone(&read);
                turn.taken_by(async move {
                    let mut piece = vec![0; room];
                    loop {
                        let length = stream.read(&mut piece).await.unwrap();
                        if length == 0 {
                            break;
                        }
                        reading.lock().unwrap().extend_from_slice(&piece[..length]);
                    }
                })
                .await;
                server.await.unwrap();
                let read = read.lock().unwrap();
                read.clone()
            });
            prop_assert!(came == text, "{} of {} bytes", came.len(), text.len());
        }
    }
}
