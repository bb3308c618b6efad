//! Replies in small shares, so that the requests that follow them are written together.
//!
//! The client's task reads whatever replies are there, and with them wakes all their callers. With their next requests
//! either each wakes that task at once, and most requests cost a system call of their own; or all of them are written
//! together, and client and server work, and sleep, in turn. Between the two is this: of many replies the task hands out a
//! few, and goes behind those whom it has woken. When it is its turn again it hands out the next few, and writes in one piece
//! what has been asked, so that the server has something to do meanwhile. Nothing waits for anything but its turn: no timer,
//! and no minimum. Where turns come late, because the runtime has much else to do, the next ones have everything.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use stanchion::clock::Clock;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::replies::Replies;

/// So many bytes are read at once.
const ROOM: usize = 32 * 1_024;
/// A turn has so many replies,
const SHARE: usize = 2;
/// or of many that have come this part of what is left of them: the more callers there are, the more write together.
const PART: usize = 8;
/// Others that are ready have taken so long since the last turn that more is lost by waiting for them than is gained.
const LATE: Duration = Duration::from_micros(50);
/// From a late turn on everything is handed out, for so many polls of the task.
const FREE_TURNS: u32 = 32;

/// A stream that ends the turn of the task that reads it.
pub(super) struct Turns<S> {
    stream: S,
    // Read, and not handed out.
    came: BytesMut,
    replies: Replies,
    // What the turn has handed out; a turn that was not ended goes on.
    whole: usize,
    bytes: usize,
    // Writing has failed, which is told when all that has come is handed out.
    failed: Option<io::Error>,
    turn: Arc<Turn>,
}

/// Whether it is the turn of the task that reads and writes.
#[derive(Debug, Default)]
pub(super) struct Turn(AtomicU8);

/// Everything is handed out: there is no such task yet, or its turns come late.
const FREE: u8 = 0;
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
    pub(super) async fn taken_by(self: Arc<Self>, driver: impl Future<Output = ()>, clock: Arc<dyn Clock>) {
        let mut driver = pin!(driver);
        let (mut ended, mut free) = (None, 0_u32);
        std::future::poll_fn(|cx| {
            let late = ended.take().is_some_and(|ended| clock.now().saturating_since(ended) > LATE);
            free = if late { FREE_TURNS } else { free.saturating_sub(1) };
            self.set(if free > 0 { FREE } else { ITS });
            let polled = driver.as_mut().poll(cx);
            if polled.is_pending() && self.is(OVER) {
                ended = Some(clock.now());
                // Tokio puts a task that wakes itself behind those that are ready to run, where any of its threads can take
                // it. One that yields stays with its thread, for as long as a caller that it has woken computes there.
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
        let (whole, bytes, failed) = (0, 0, None);
        let turns = Self { stream, came, replies, whole, bytes, failed, turn: Arc::clone(&turn) };
        (turns, turn)
    }

    /// Hands out what is due of what has come.
    fn hand_out(&mut self, buf: &mut ReadBuf<'_>) {
        let room = self.came.len().min(buf.remaining());
        let due = if self.turn.is(FREE) || self.failed.is_some() {
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

impl<S: AsyncWrite + Unpin> Turns<S> {
    /// Writes or flushes. What the server had answered before it went is handed out first, as without turns.
    fn write<T>(&mut self, write: impl FnOnce(Pin<&mut S>) -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if self.failed.is_none() {
            match write(Pin::new(&mut self.stream)) {
                Poll::Ready(Err(failed)) => self.failed = Some(failed),
                done => return done,
            }
        }
        match self.failed.take_if(|_| !self.turn.is(OVER)) {
            Some(failed) => Poll::Ready(Err(failed)),
            // There is another turn.
            None => Poll::Pending,
        }
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
            if read.is_pending() {
                // Everybody has been answered: the next one waits for nobody.
                (this.whole, this.bytes) = (0, 0);
            }
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
        self.write(|stream| stream.poll_write(cx, buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(|stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
