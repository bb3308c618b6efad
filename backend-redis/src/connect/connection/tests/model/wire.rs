//! The bytes between the driver and the server, as a system carries them: in pieces, with little room, until it fails.

use std::io;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Both ends of it.
#[derive(Clone, Default)]
pub(super) struct Wire(Arc<Mutex<State>>);

struct State {
    // Written, and not read by the server.
    left: BytesMut,
    room: usize,
    written_at_once: usize,
    // After so many bytes writing fails.
    fails_after: Option<usize>,
    // Sent by the server, and not read.
    sent: BytesMut,
    read_at_once: usize,
    // What comes behind that.
    end: Option<End>,
    panics: bool,
    writer: Option<Waker>,
    reader: Option<Waker>,
}

#[derive(Clone, Copy)]
enum End {
    HungUp,
    Reset,
}

impl Default for State {
    fn default() -> Self {
        Self {
            left: BytesMut::new(),
            room: 64 * 1_024,
            written_at_once: usize::MAX,
            fails_after: None,
            sent: BytesMut::new(),
            read_at_once: usize::MAX,
            end: None,
            panics: false,
            writer: None,
            reader: None,
        }
    }
}

impl State {
    fn wake(&mut self) {
        [self.writer.take(), self.reader.take()].into_iter().flatten().for_each(Waker::wake);
    }

    /// Without a word, since it is not unexpected.
    fn panics(&self) {
        if self.panics {
            resume_unwind(Box::new("as the model has it"));
        }
    }

    fn takes(&self, bytes: usize) -> usize {
        let room = self.room.saturating_sub(self.left.len());
        // Of what is large not too little, or it takes long.
        let at_once = self.written_at_once.max(bytes / 500);
        bytes.min(room).min(at_once).min(self.fails_after.unwrap_or(usize::MAX))
    }
}

impl Wire {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something, and wakes who waits for it.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        state.wake();
    }

    pub(super) fn flow(&self, room: usize, written: usize, read: usize) {
        self.change(|state| {
            (state.room, state.written_at_once, state.read_at_once) = (room, written, read);
        });
    }

    /// What the server reads, at most so much.
    pub(super) fn receive(&self, most: usize) -> Vec<u8> {
        let mut received = Vec::new();
        self.change(|state| {
            let count = most.min(state.left.len());
            received = state.left.split_to(count).to_vec();
        });
        received
    }

    /// What the server sends; answers whether it can come.
    pub(super) fn send(&self, bytes: &[u8]) -> bool {
        let mut carried = false;
        self.change(|state| {
            carried = state.end.is_none();
            if carried {
                state.sent.extend_from_slice(bytes);
            }
        });
        carried
    }

    pub(super) fn hang_up(&self) {
        self.change(|state| {
            state.end.get_or_insert(End::HungUp);
        });
    }

    pub(super) fn reset(&self) {
        self.change(|state| {
            state.end = Some(End::Reset);
            state.sent.clear();
            state.fails_after = Some(0);
        });
    }

    pub(super) fn fail_after(&self, bytes: usize) {
        self.change(|state| {
            let bytes = state.fails_after.map_or(bytes, |before| before.min(bytes));
            state.fails_after = Some(bytes);
        });
    }

    pub(super) fn panic(&self) {
        self.change(|state| state.panics = true);
    }

    /// Whether a write would be taken now.
    pub(super) fn has_room(&self) -> bool {
        self.state().takes(1) > 0
    }

    /// Whether reading, or writing if there is something to write, would fail now.
    pub(super) fn fails(&self, writing: bool) -> bool {
        let state = self.state();
        state.panics
            || (state.end.is_some() && state.sent.is_empty())
            || (writing && state.fails_after == Some(0))
    }

    /// Whether writing has come to the point at which it fails.
    pub(super) fn fails_to_write(&self) -> bool {
        self.state().fails_after == Some(0)
    }

    /// How much is sent and not read.
    pub(super) fn unread(&self) -> usize {
        self.state().sent.len()
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        state.panics();
        let count = buf.remaining().min(state.read_at_once.max(state.sent.len() / 500)).min(state.sent.len());
        if count == 0 {
            return match state.end {
                Some(End::HungUp) => Poll::Ready(Ok(())),
                Some(End::Reset) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                None => {
                    state.reader = Some(cx.waker().clone());
                    Poll::Pending
                }
            };
        }
        buf.put_slice(&state.sent.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.state();
        state.panics();
        if state.fails_after == Some(0) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count = state.takes(buf.len());
        if count == 0 {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.left.extend_from_slice(&buf[..count]);
        state.fails_after = state.fails_after.map(|after| after - count);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
