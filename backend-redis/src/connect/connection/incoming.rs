//! What has come from the server and is not read yet.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::{io, mem};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use redis::{RedisError, RedisResult, Value};
use tokio::io::AsyncRead;

use super::framing::Framing;

/// So many bytes are read at once.
const ROOM: usize = 32 * 1_024;
/// With so little room left more is made.
const LITTLE: usize = 8 * 1_024;
/// Of a string that has not come yet room is made for so much at once: what a server claims is not trusted.
const MOST: usize = 1_024 * 1_024;
/// A string of so many bytes stays where it is, without another copy. Whoever keeps it keeps all that was read with it.
const LARGE: usize = 4 * 1_024;
/// Smaller ones are copied; up to so many bytes each into few pieces of memory,
const SMALL: usize = 512;
/// which are so large. They are taken in this thread and given back in others, all of them at the lock of the same heap.
const PIECE: usize = 8 * 1_024;

/// The bytes, cut where one value ends and the next begins.
#[derive(Default)]
pub(super) struct Incoming {
    bytes: BytesMut,
    framing: Framing,
    // One value has made it larger than what is read at once.
    grown: bool,
    // So many of the bytes have been looked at for an end.
    seen: usize,
    piece: BytesMut,
}

/// The reply to a `GET`, or one value of that to an `MGET`.
pub(super) enum Reply {
    Nil,
    String(Bytes),
    /// An error, or what else the server may say.
    Other(Value),
}

impl Incoming {
    /// With these bytes, which have come.
    #[cfg(test)]
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.into(), ..Self::default() }
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What comes next is a pushed message, and no reply.
    pub(super) fn is_pushed(&self) -> bool {
        self.bytes.first() == Some(&b'>')
    }

    /// Reads what is there; answers how much that is, and 0 at the end.
    pub(super) fn read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let to_come = usize::try_from(self.framing.to_come()).unwrap_or(MOST).min(MOST);
        let wanted = to_come.max(LITTLE);
        self.grown |= self.bytes.len() + wanted > 2 * ROOM;
        if self.bytes.capacity() - self.bytes.len() < wanted {
            self.bytes.reserve(wanted.max(ROOM));
        }
        let mut limited = (&mut self.bytes).limit(to_come.max(ROOM));
        let read = ready!(tokio_util::io::poll_read_buf(Pin::new(stream), cx, &mut limited));
        Poll::Ready(read)
    }

    /// The length of the next value, if all of it has come.
    fn whole(&mut self) -> Option<usize> {
        let Some(end) = self.framing.end(&self.bytes[self.seen..]) else {
            self.seen = self.bytes.len();
            return None;
        };
        Some(mem::take(&mut self.seen) + end)
    }

    /// Goes on behind the value of this length.
    fn skip(&mut self, length: usize) {
        self.bytes.advance(length);
        self.shrink();
    }

    /// Leaves to a large value the memory that it has taken: little of it would be used again, and all of it kept.
    fn shrink(&mut self) {
        if mem::take(&mut self.grown) {
            self.bytes = BytesMut::from(&self.bytes[..]);
        }
    }

    /// The next value, if all of it has come.
    pub(super) fn value(&mut self) -> RedisResult<Option<Value>> {
        let Some(length) = self.whole() else { return Ok(None) };
        let value = redis::parse_redis_value(&self.bytes[..length])?;
        self.skip(length);
        Ok(Some(value))
    }

    /// Reads the line that begins an array of so many values, if it does; `None` if the line has not come.
    pub(super) fn begins_array(&mut self, count: usize) -> Option<bool> {
        if *self.bytes.first()? != b'*' {
            return Some(false);
        }
        let line = self.bytes.iter().take(24).position(|byte| *byte == b'\n');
        let Some(line) = line else { return (self.bytes.len() >= 24).then_some(false) };
        let begins = number(&self.bytes[1..=line]) == Some(count);
        if begins {
            self.bytes.advance(line + 1);
        }
        Some(begins)
    }

    /// The next value, as [`value`](Self::value), with strings where they are.
    pub(super) fn reply(&mut self) -> RedisResult<Option<Reply>> {
        let Some(length) = self.whole() else { return Ok(None) };
        let reply = match (self.bytes[0], self.bytes[1]) {
            (b'$', b'-') | (b'_', _) => {
                self.skip(length);
                Reply::Nil
            }
            (b'$', _) => Reply::String(self.string(length)?),
            _ => {
                let value = redis::parse_redis_value(&self.bytes[..length])?;
                self.skip(length);
                Reply::Other(value)
            }
        };
        Ok(Some(reply))
    }

    /// The string that takes so many bytes with what is around it.
    fn string(&mut self, length: usize) -> RedisResult<Bytes> {
        let whole = &self.bytes[..length];
        let begin = whole.iter().position(|byte| *byte == b'\n').map_or(length, |line| line + 1);
        let size = length.saturating_sub(begin + 2);
        if number(&whole[1..begin]) != Some(size) || !whole.ends_with(b"\r\n") {
            return Err(malformed());
        }
        if size >= LARGE {
            let mut string = self.bytes.split_to(length);
            self.shrink();
            string.advance(begin);
            string.truncate(size);
            return Ok(string.freeze());
        }
        let string = &whole[begin..begin + size];
        let copy = if size > SMALL {
            Bytes::copy_from_slice(string)
        } else {
            if self.piece.capacity() < size {
                self.piece = BytesMut::with_capacity(PIECE);
            }
            self.piece.put_slice(string);
            self.piece.split().freeze()
        };
        self.skip(length);
        Ok(copy)
    }
}

/// The number in a line, with its end.
fn number(line: &[u8]) -> Option<usize> {
    std::str::from_utf8(line.strip_suffix(b"\r\n")?).ok()?.parse().ok()
}

fn malformed() -> RedisError {
    RedisError::from((redis::ErrorKind::Parse, "the length of a string is not what it says"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_string_of_another_length_than_it_claims_is_refused() {
        for text in [&b"$3\r\nabcXY"[..], b"$3x\r\nabc\r\n", b"$\r\n\r\n", b"$3\nabc\r\n", b"$ 3\r\nabc\r\n"]
        {
            assert!(Incoming::of(text).reply().is_err(), "{text:?}");
        }
    }

    #[tokio::test]
    async fn what_a_large_value_has_taken_goes_with_it() {
        const SIZE: usize = 5_000_000;
        let text =
            [format!("${SIZE}\r\n"), "x".repeat(SIZE), "\r\n$1\r\na\r\n".to_owned()].concat().into_bytes();
        let (mut stream, mut incoming) = (&text[..], Incoming::default());
        let mut found = Vec::new();
        while found.len() < 2 {
            let read = std::future::poll_fn(|cx| incoming.read(&mut stream, cx)).await.unwrap();
            assert!(read > 0);
            while let Some(reply) = incoming.reply().unwrap() {
                let Reply::String(string) = reply else { panic!("no string") };
                found.push(string);
            }
        }
        assert_eq!((found[0].len(), &found[1][..]), (SIZE, &b"a"[..]));
        assert!(incoming.bytes.capacity() <= 2 * ROOM, "{}", incoming.bytes.capacity());
    }

    proptest! {
        #[test]
        fn nonsense_breaks_nothing(bytes in prop::collection::vec(any::<u8>(), 1..200), count in 0..9_usize) {
            let begun = Incoming::of(&bytes).begins_array(count);
            prop_assert!(begun != Some(true) || bytes[0] == b'*');
            let mut incoming = Incoming::of(&bytes);
            while let Ok(Some(_)) = incoming.reply() {}
            let mut incoming = Incoming::of(&bytes);
            while let Ok(Some(_)) = incoming.value() {}
        }

        #[test]
        fn no_line_breaks_anything(line in "[$*_>|%~!=(,:+#-]-?[0-9x ]{0,30}\r?\n", rest in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut incoming = Incoming::of(&[line.as_bytes(), &rest].concat());
            while let Ok(Some(_)) = incoming.reply() {}
        }
    }
}
