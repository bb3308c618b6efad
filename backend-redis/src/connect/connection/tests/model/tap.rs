//! What the driver asks of its stream, written down.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use stanchion::clock::{Clock, ManualClock};
use stanchion::time::Monotonic;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::Stream;

/// All that the driver has written and read, with or without TLS below.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Written>>);

#[derive(Default)]
pub(super) struct Written {
    /// All bytes that were to be written so far, those among them that are not yet.
    pub(super) offered: Vec<u8>,
    /// So many of them were taken.
    pub(super) taken: usize,
    /// Where those begin that were taken last.
    pub(super) last_begins: usize,
    pub(super) read: usize,
    /// When something was read last,
    pub(super) read_at: Monotonic,
    /// or taken.
    pub(super) taken_at: Monotonic,
    pub(super) wrong: Option<&'static str>,
}

impl Log {
    pub(super) fn lock(&self) -> MutexGuard<'_, Written> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream that is listened to.
pub(super) struct Tap {
    stream: Box<dyn Stream>,
    log: Log,
    clock: ManualClock,
}

impl Tap {
    pub(super) fn new(stream: Box<dyn Stream>, log: &Log, clock: &ManualClock) -> Self {
        Self { stream, log: log.clone(), clock: clock.clone() }
    }
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let count = buf.filled().len() - before;
        if count > 0 {
            let mut log = self.log.lock();
            log.read += count;
            log.read_at = self.clock.now();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tap {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        {
            let mut log = self.log.lock();
            // What waits already comes first, and only more may come behind it.
            let waits = &log.offered[log.taken..];
            if buf.len() < waits.len() || !begins_and_ends_as(&buf[..waits.len()], waits) {
                log.wrong = Some("what waits to be written is not what it was");
            } else {
                let more = &buf[waits.len()..];
                log.offered.extend_from_slice(more);
            }
        }
        let count = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        let mut log = self.log.lock();
        log.last_begins = log.taken;
        log.taken += count;
        log.taken_at = self.clock.now();
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Whether they do. What the server reads is compared whole, once.
fn begins_and_ends_as(bytes: &[u8], others: &[u8]) -> bool {
    let end = bytes.len().min(200);
    bytes[..end] == others[..end] && bytes[bytes.len() - end..] == others[others.len() - end..]
}
