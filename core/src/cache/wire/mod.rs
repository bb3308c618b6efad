//! How a value stands in the store: a header, and the encoded value behind it, compressed and encrypted where
//! that is asked for; or in plain mode the encoded value alone.

mod header;

use bytes::{Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(super) use self::header::Stamp;
pub use self::header::schema_of;
use self::header::{ABSENT, Header};
use crate::codec::Codec;
use crate::error::Result;
use crate::key::Key;
use crate::time::Timestamp;

/// How the values of one cache are written and read.
#[derive(Debug, Clone)]
pub(super) struct Wire<C> {
    pub(super) codec: C,
    /// The schema number that is written.
    pub(super) schema: u32,
    /// Others that can be read.
    pub(super) readable: Vec<u32>,
    /// Only the encoded value, for programs that know no header.
    pub(super) plain: bool,
}

/// What the stored bytes are.
#[derive(Debug)]
pub(super) enum Read<'a> {
    /// A value, or the knowledge that there is none; [`Wire::body`] decodes it.
    Entry(Entry<'a>),
    /// A value of a newer schema: it is left to those who can read it.
    Newer,
    /// Something else, for this reason.
    Unreadable(crate::Error),
}

/// A value whose header was read.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) stamp: Stamp,
    flags: u8,
    body: &'a [u8],
    // What an encrypted body is bound to.
    #[expect(dead_code, reason = "for the ciphers")]
    head: &'a [u8],
}

impl<C: Codec> Wire<C> {
    /// The bytes of a value, or of the knowledge that there is none.
    pub(super) fn encode<T: Serialize>(&self, key: &Key, value: Option<&T>, stamp: Stamp) -> Result<Bytes> {
        if self.plain {
            return self.codec.encode(&value);
        }
        let body = value.map(|value| self.codec.encode(value)).transpose()?;
        let flags = if body.is_none() { ABSENT } else { 0 };
        let mut bytes =
            BytesMut::with_capacity(64 + key.as_str().len() + body.as_ref().map_or(0, Bytes::len));
        Header { codec: C::ID, flags, schema: self.schema, stamp }.write(key, &mut bytes)?;
        bytes.extend_from_slice(&body.unwrap_or_default());
        Ok(bytes.freeze())
    }

    /// Reads the header.
    pub(super) fn read<'a>(&self, key: &Key, bytes: &'a [u8]) -> Read<'a> {
        if self.plain {
            return Read::Entry(Entry { stamp: Stamp::default(), flags: 0, body: bytes, head: &[] });
        }
        match Header::read(key, bytes) {
            Err(error) => Read::Unreadable(error),
            Ok((header, _)) if header.schema > self.schema && !self.readable.contains(&header.schema) => {
                Read::Newer
            }
            Ok((header, _)) if header.schema != self.schema && !self.readable.contains(&header.schema) => {
                Read::Unreadable(header::not_ours("its schema is not among the readable ones"))
            }
            Ok((header, _)) if header.codec != C::ID => {
                Read::Unreadable(header::not_ours("it has another codec"))
            }
            Ok((header, body)) => {
                let head = &bytes[..bytes.len() - body.len()];
                Read::Entry(Entry { stamp: header.stamp, flags: header.flags, body, head })
            }
        }
    }

    /// Decodes the value; `None` if it is known that there is none.
    pub(super) fn body<T: DeserializeOwned>(&self, entry: &Entry<'_>) -> Result<Option<T>> {
        if self.plain {
            return self.codec.decode(entry.body);
        }
        if entry.flags & ABSENT != 0 {
            return Ok(None);
        }
        self.codec.decode(entry.body).map(Some)
    }

    /// Whether an entry holds this value, by its encoding.
    pub(super) fn holds<T: Serialize>(&self, entry: &Entry<'_>, value: &T) -> Result<bool> {
        if !self.plain && entry.flags & ABSENT != 0 {
            return Ok(false);
        }
        Ok(self.codec.encode(value)? == entry.body)
    }

    /// The same bytes with another end of their life; `None` for what has no header of this version.
    pub(super) fn renewed(&self, key: &Key, bytes: &Bytes, fresh_until: Timestamp) -> Result<Option<Bytes>> {
        let (mut header, body) = Header::read(key, bytes)?;
        if header.stamp.namespace.is_none() {
            return Ok(None);
        }
        header.stamp.fresh_until = fresh_until;
        let mut renewed = BytesMut::with_capacity(bytes.len());
        header.write(key, &mut renewed)?;
        renewed.extend_from_slice(body);
        Ok(Some(renewed.freeze()))
    }
}

impl<C> Wire<C> {
    /// The same with another codec.
    pub(super) fn with_codec<D: Codec>(self, codec: D) -> Wire<D> {
        Wire { codec, schema: self.schema, readable: self.readable, plain: self.plain }
    }
}
