//! The bytes that are to be written to the server.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::AsyncWrite;

/// So much memory is kept for what is written next.
const KEPT: usize = 64 * 1_024;

#[derive(Default)]
pub(super) struct Outgoing {
    bytes: BytesMut,
    // Of all that was ever added.
    written: u64,
    // So many bytes it has held since its memory was given back last.
    most: usize,
    // Written, and not flushed: TLS keeps some back.
    unflushed: bool,
}

impl Outgoing {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// How many bytes the system has taken so far, of all that was ever added. It may have sent fewer. Of TLS those that are
    /// sent are others, and when a write fails what it was given counts as taken (`records.rs`).
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Where the next request begins in all that is written.
    pub(super) fn end(&self) -> u64 {
        self.written + self.bytes.len() as u64
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
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
        self.most = self.most.max(self.bytes.len());
        while !self.bytes.is_empty() {
            let written = ready!(Pin::new(&mut *stream).poll_write(cx, &self.bytes))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.bytes.advance(written);
            self.written += written as u64;
            self.shrink();
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(Pin::new(stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Gives back the memory of what was large, when little of it is left.
    fn shrink(&mut self) {
        if self.most > KEPT && self.bytes.len() <= self.most / 8 {
            self.bytes = BytesMut::from(&self.bytes[..]);
            self.most = self.bytes.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Takes so many bytes at once, and no more than so many in all.
    struct Slow(usize, usize);

    impl AsyncWrite for Slow {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            let taken = buf.len().min(self.0).min(self.1);
            self.1 -= taken;
            if taken == 0 { Poll::Pending } else { Poll::Ready(Ok(taken)) }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn the_memory_of_a_large_request_goes_although_there_is_always_something_to_write() {
        const LARGE: usize = 10_000_000;
        let (mut outgoing, mut cx) = (Outgoing::default(), Context::from_waker(Waker::noop()));
        outgoing.packed(&vec![b'x'; LARGE]);
        assert!(outgoing.write(&mut Slow(10_000, LARGE - 1), &mut cx).is_pending());
        assert_eq!((outgoing.len(), outgoing.written(), outgoing.end()), (1, LARGE as u64 - 1, LARGE as u64));
        for _ in 0..1_000 {
            outgoing.packed(b"0123456789");
            assert!(outgoing.write(&mut Slow(10, 10), &mut cx).is_pending());
        }
        assert!(outgoing.bytes.capacity() <= 2 * KEPT, "{}", outgoing.bytes.capacity());
        assert_eq!(outgoing.len(), 1);
    }
}
