//! A stream with TLS, of which it is known what may have been sent when a write fails.
//!
//! One write to it is several to the system: TLS takes some of the bytes, sends them, and takes more. Should a later one of these
//! fail, it answers the failure alone, and not how much was sent before.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// So much is written at once: the most that a record of TLS holds. Whatever else waits is not in doubt.
const RECORD: usize = 16 * 1_024;

/// A write that fails counts as one that has taken all it was given, and the next call answers the failure.
pub(super) struct Records<S> {
    stream: S,
    failed: Option<io::Error>,
}

impl<S> Records<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, failed: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Records<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Records<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(failure) = self.failed.take() {
            return Poll::Ready(Err(failure));
        }
        let record = &buf[..buf.len().min(RECORD)];
        match Pin::new(&mut self.stream).poll_write(cx, record) {
            Poll::Ready(Err(failure)) => {
                self.failed = Some(failure);
                Poll::Ready(Ok(record.len()))
            }
            polled => polled,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.failed.take() {
            Some(failure) => Poll::Ready(Err(failure)),
            None => Pin::new(&mut self.stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
