//! The stored form of a value: a header, and the encoded value behind it, compressed and encrypted where
//! that is asked for; or in plain mode the encoded value, and behind it how long it is kept after its life.

#[cfg(feature = "compression")]
mod compress;
mod header;
mod plain;
#[cfg(test)]
#[cfg(all(feature = "compression", feature = "encryption"))]
mod tests;
#[cfg(not(all(feature = "compression", feature = "encryption")))]
mod without;

use std::borrow::Cow;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

#[cfg(feature = "compression")]
pub use self::compress::Compression;
#[cfg(feature = "compression")]
use self::compress::decompress;
pub(super) use self::header::Stamp;
pub use self::header::schema_of;
use self::header::{ABSENT, COMPRESSED, ENCRYPTED, Header, not_ours};
#[cfg(not(feature = "compression"))]
pub(super) use self::without::Compression;
#[cfg(not(feature = "encryption"))]
pub(super) use self::without::Keyring;
#[cfg(not(feature = "compression"))]
use self::without::decompress;
use crate::codec::Codec;
#[cfg(feature = "encryption")]
pub use crate::encryption::{EncryptionKey, Keyring};
use crate::error::{Error, Result};
use crate::key::Key;
use crate::random::Random;
use crate::time::{Timestamp, Ttl};

/// How the values of one cache are written and read.
#[derive(Debug, Clone)]
pub(super) struct Wire<C> {
    pub(super) codec: C,
    /// The schema number that is written.
    pub(super) schema: u32,
    /// Others that can be read.
    pub(super) readable: Vec<u32>,
    /// Only the encoded value and its grace, for programs that know no header: neither compressed nor encrypted.
    pub(super) plain: bool,
    /// The most bytes that a value may be stored in.
    pub(super) max_bytes: usize,
    /// How values are compressed, if they are.
    pub(super) compression: Option<Compression>,
    /// With which keys they are encrypted, if they are.
    pub(super) keyring: Option<Keyring>,
}

/// What the stored bytes are.
#[derive(Debug)]
pub(super) enum Read<'a> {
    /// A value, or the knowledge that there is none; [`Wire::body`] decodes it.
    Entry(Entry<'a>),
    /// A value of a newer schema: it is left to those who can read it.
    Newer,
    /// Something else, for this reason.
    Unreadable(Error),
}

/// A value whose header was read. If it is encrypted, nothing of the header is proven before the body is read.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) stamp: Stamp,
    flags: u8,
    /// All of it.
    bytes: &'a [u8],
    /// How many of the bytes are the header.
    head: usize,
}

impl<C: Codec> Wire<C> {
    /// The wire of a codec, without anything that is asked for.
    pub(super) fn new(codec: C) -> Self {
        Self {
            codec,
            schema: 0,
            readable: Vec::new(),
            plain: false,
            max_bytes: usize::MAX,
            compression: None,
            keyring: None,
        }
    }

    /// The bytes of a value, or of the knowledge that there is none.
    pub(super) fn encode<T: Serialize>(
        &self,
        key: &Key,
        value: Option<&T>,
        stamp: Stamp,
        random: &dyn Random,
    ) -> Result<Bytes> {
        let bytes = self.encode_any(key, value, stamp, random)?;
        if bytes.len() > self.max_bytes {
            return Err(Error::invalid(format!(
                "a value of this cache is stored in {} bytes at most, got {}",
                self.max_bytes,
                bytes.len()
            )));
        }
        Ok(bytes)
    }

    fn encode_any<T: Serialize>(
        &self,
        key: &Key,
        value: Option<&T>,
        stamp: Stamp,
        random: &dyn Random,
    ) -> Result<Bytes> {
        if self.plain {
            return Ok(plain::marked(&self.codec.encode(&value)?, stamp.grace));
        }
        let body = value.map(|value| self.codec.encode(value)).transpose()?;
        let mut flags = if body.is_none() { ABSENT } else { 0 };
        let body = body.unwrap_or_default();
        let compressed = self.compression.and_then(|compression| compression.compress(&body));
        if compressed.is_some() {
            flags |= COMPRESSED;
        }
        let header = Header { codec: C::ID, flags, schema: self.schema, stamp };
        self.seal(key, header, compressed.as_deref().unwrap_or(&body), random)
    }

    /// Header and body, encrypted if there is a key.
    fn seal(&self, key: &Key, mut header: Header, body: &[u8], random: &dyn Random) -> Result<Bytes> {
        let mut bytes = BytesMut::with_capacity(128 + key.as_str().len() + body.len());
        header.flags =
            if self.keyring.is_some() { header.flags | ENCRYPTED } else { header.flags & !ENCRYPTED };
        header.write(key, &mut bytes)?;
        match &self.keyring {
            Some(keyring) => keyring.seal(&mut bytes, body, random)?,
            None => bytes.extend_from_slice(body),
        }
        Ok(bytes.freeze())
    }

    /// Reads the header.
    pub(super) fn read<'a>(&self, key: &Key, bytes: &'a [u8]) -> Read<'a> {
        if self.plain {
            let (bytes, grace) = plain::unmarked(bytes);
            let stamp = Stamp { grace, ..Stamp::default() };
            return Read::Entry(Entry { stamp, flags: 0, bytes, head: 0 });
        }
        match Header::read(key, bytes) {
            Err(error) => Read::Unreadable(error),
            Ok((header, _)) if header.schema > self.schema && !self.readable.contains(&header.schema) => {
                Read::Newer
            }
            Ok((header, _)) if header.schema != self.schema && !self.readable.contains(&header.schema) => {
                Read::Unreadable(not_ours("its schema is not among the readable ones"))
            }
            Ok((header, _)) if header.codec != C::ID => Read::Unreadable(not_ours("it has another codec")),
            Ok((header, body)) => {
                if let Err(error) = self.suits(header.flags) {
                    return Read::Unreadable(error);
                }
                let head = bytes.len() - body.len();
                Read::Entry(Entry { stamp: header.stamp, flags: header.flags, bytes, head })
            }
        }
    }

    /// A cache whose values are encrypted takes no others: whoever can write to the store could slip one in.
    fn suits(&self, flags: u8) -> Result<()> {
        match (self.keyring.is_some(), flags & ENCRYPTED != 0) {
            (true, false) => Err(not_ours("it is not encrypted, and this cache takes nothing else")),
            (false, true) => Err(not_ours("it is encrypted, and this cache has no keys")),
            _ => Ok(()),
        }
    }

    /// The body as it was before it was encrypted.
    fn opened<'a>(&self, entry: &Entry<'a>) -> Result<Cow<'a, [u8]>> {
        match &self.keyring {
            Some(keyring) if !self.plain => keyring.open(entry.bytes, entry.head).map(Cow::Owned),
            _ => Ok(Cow::Borrowed(entry.bytes.get(entry.head..).unwrap_or_default())),
        }
    }

    /// The encoded value; `None` if it is known that there is none.
    fn encoded<'a>(&self, entry: &Entry<'a>) -> Result<Option<Cow<'a, [u8]>>> {
        // Even that there is none has to be proven.
        let body = self.opened(entry)?;
        if self.plain {
            return Ok(Some(body));
        }
        match (entry.flags & ABSENT != 0, entry.flags & COMPRESSED != 0) {
            (true, _) => Ok(None),
            (false, true) => decompress(&body).map(|body| Some(Cow::Owned(body))),
            (false, false) => Ok(Some(body)),
        }
    }

    /// Decodes the value; `None` if it is known that there is none.
    pub(super) fn body<T: DeserializeOwned>(&self, entry: &Entry<'_>) -> Result<Option<T>> {
        match self.encoded(entry)? {
            // Plain JSON has a word of its own for it.
            Some(body) if self.plain => self.codec.decode(&body),
            Some(body) => self.codec.decode(&body).map(Some),
            None => Ok(None),
        }
    }

    /// Whether an entry holds this value, by its encoding.
    pub(super) fn holds<T: Serialize>(&self, entry: &Entry<'_>, value: &T) -> Result<bool> {
        match self.encoded(entry)? {
            Some(body) => Ok(self.codec.encode(value)? == *body),
            None => Ok(false),
        }
    }

    /// The same plain value, to be kept for this long after its life.
    pub(super) fn renewed_plain(bytes: &[u8], grace: Duration) -> Bytes {
        plain::marked(plain::unmarked(bytes).0, grace)
    }

    /// The same value with another end of its life; `None` for what has no header of this version. What is encrypted
    /// is so anew, with the key that writes, since it is bound to its header.
    pub(super) fn renewed(
        &self,
        key: &Key,
        bytes: &Bytes,
        fresh_until: Timestamp,
        random: &dyn Random,
    ) -> Result<Option<Bytes>> {
        let (mut header, body) = Header::read(key, bytes)?;
        if header.stamp.namespace.is_none() {
            return Ok(None);
        }
        self.suits(header.flags)?;
        let head = bytes.len() - body.len();
        let entry = Entry { stamp: Stamp::default(), flags: header.flags, bytes, head };
        let body = self.opened(&entry)?;
        header.stamp.fresh_until = fresh_until;
        self.seal(key, header, &body, random).map(Some)
    }
}

/// The whole life of a stored value, where it is written down.
pub(super) fn life_of(key: &Key, bytes: &[u8]) -> Result<Option<Ttl>> {
    let (header, _) = Header::read(key, bytes)?;
    Ok(Ttl::new(Duration::from_millis(header.stamp.life_millis.into())).ok())
}

impl<C> Wire<C> {
    /// The same with another codec.
    pub(super) fn with_codec<D: Codec>(self, codec: D) -> Wire<D> {
        Wire {
            codec,
            schema: self.schema,
            readable: self.readable,
            plain: self.plain,
            max_bytes: self.max_bytes,
            compression: self.compression,
            keyring: self.keyring,
        }
    }
}
