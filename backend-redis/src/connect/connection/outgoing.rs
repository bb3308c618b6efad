//! The bytes that are to be written to the server.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::{io, mem};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::AsyncWrite;

/// So much memory is kept for what is written next.
const KEPT: usize = 64 * 1_024;

#[derive(Default)]
pub(super) struct Outgoing {
    bytes: BytesMut,
    // It has been more than is worth keeping room for.
    large: bool,
    // Written, and not flushed: TLS keeps some back.
    unflushed: bool,
}

impl Outgoing {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Requests as they are sent.
    pub(super) fn packed(&mut self, requests: &[u8]) {
        self.bytes.put_slice(requests);
    }

    /// The beginning of a request: so many [words](Self::word) belong to it.
    pub(super) fn begin(&mut self, words: usize) {
        self.line(b'*', words);
    }

    pub(super) fn word(&mut self, word: &str) {
        self.line(b'$', word.len());
        self.bytes.put_slice(word.as_bytes());
        self.bytes.put_slice(b"\r\n");
    }

    fn line(&mut self, first: u8, number: usize) {
        self.bytes.put_u8(first);
        self.bytes.put_slice(itoa::Buffer::new().format(number).as_bytes());
        self.bytes.put_slice(b"\r\n");
    }

    /// Writes all there is, as far as the server takes it.
    pub(super) fn write<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.large |= self.bytes.len() > KEPT;
        while !self.bytes.is_empty() {
            let written = ready!(Pin::new(&mut *stream).poll_write(cx, &self.bytes))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.bytes.advance(written);
            self.unflushed = true;
        }
        if mem::take(&mut self.large) {
            self.bytes = BytesMut::new();
        }
        if self.unflushed {
            ready!(Pin::new(stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}
