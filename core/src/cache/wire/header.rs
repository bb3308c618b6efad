//! The header of a stored value. `core/docs/wire-format.md` says the same for other languages.

use std::time::Duration;

use bytes::{Buf, BufMut, BytesMut};

use crate::cache::store::{Generation, Tag};
use crate::error::{Error, ErrorKind, Result};
use crate::key::Key;
use crate::time::{Timestamp, Ttl};

pub(super) const MAGIC: u8 = 0xB5;
/// The version that is written. The one before is read.
pub(super) const VERSION: u8 = 2;

/// The body is compressed.
pub(super) const COMPRESSED: u8 = 1;
/// The body is encrypted.
pub(super) const ENCRYPTED: u8 = 2;
/// There is no body: it is known that there is no value.
pub(super) const ABSENT: u8 = 4;
const KNOWN_FLAGS: u8 = COMPRESSED | ENCRYPTED | ABSENT;

/// When a value was loaded and under which tags.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::cache) struct Stamp {
    /// Until when it is fresh, by the store's time; zero for as long as it is there.
    pub(in crate::cache) fresh_until: Timestamp,
    /// How long it took to load.
    pub(in crate::cache) load_millis: u32,
    /// Its whole life when it was written; the greatest number for that or more, 0 if it is not known.
    pub(in crate::cache) life_millis: u32,
    /// The generation of its namespace; `None` in a value of version 1, which no `clear` reaches.
    pub(in crate::cache) namespace: Option<Generation>,
    /// Its tags, each with its generation.
    pub(in crate::cache) tags: Vec<(Tag, Generation)>,
    /// For how long the store keeps it after its life. Written down in plain mode alone, where nothing else says when that ends.
    pub(in crate::cache) grace: Duration,
}

impl Stamp {
    /// What is written down of a value that is stored now, by the store's time, with this life and kept for so long.
    pub(in crate::cache) fn new(
        now: Timestamp,
        (life, kept): (Ttl, Ttl),
        took: Duration,
        namespace: Option<Generation>,
        tags: Vec<(Tag, Generation)>,
    ) -> Self {
        let millis = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        Self {
            fresh_until: now.saturating_add(life.as_duration()),
            load_millis: millis(took),
            life_millis: millis(life.as_duration()),
            namespace,
            tags,
            grace: kept.as_duration().saturating_sub(life.as_duration()),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) codec: u8,
    pub(super) flags: u8,
    pub(super) schema: u32,
    pub(super) stamp: Stamp,
}

pub(super) fn not_ours(why: &str) -> Error {
    Error::new(ErrorKind::Codec, format!("the stored bytes are not a value of this format: {why}"))
}

/// The length of a text in front of it. Keys are bounded far below this.
fn put_text(out: &mut BytesMut, text: &str) {
    out.put_u16(u16::try_from(text.len()).unwrap_or(u16::MAX));
    out.put_slice(text.as_bytes());
}

fn take_text<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::from(bytes.try_get_u16().ok()?);
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(text)
}

impl Header {
    /// Writes the header of a value under this key.
    pub(super) fn write(&self, key: &Key, out: &mut BytesMut) -> Result<()> {
        let Ok(tags) = u8::try_from(self.stamp.tags.len()) else {
            return Err(Error::invalid("a cached value may have 255 tags"));
        };
        out.put_slice(&[MAGIC, VERSION, self.codec, self.flags]);
        out.put_u32(self.schema);
        out.put_u64(self.stamp.fresh_until.as_micros());
        out.put_u32(self.stamp.load_millis);
        out.put_u32(self.stamp.life_millis);
        out.put_u64(self.stamp.namespace.unwrap_or_default().get());
        put_text(out, key.as_str());
        out.put_u8(tags);
        for (tag, generation) in &self.stamp.tags {
            put_text(out, tag.key().as_str());
            out.put_u64(generation.get());
        }
        Ok(())
    }

    /// Reads the header of the value under this key; answers the rest too.
    pub(super) fn read<'a>(key: &Key, bytes: &'a [u8]) -> Result<(Self, &'a [u8])> {
        let Some(([MAGIC, version, codec, flags], mut rest)) = bytes.split_first_chunk::<4>() else {
            return Err(not_ours("it does not begin like one"));
        };
        let (codec, flags) = (*codec, *flags);
        if flags & !KNOWN_FLAGS != 0 {
            return Err(not_ours("it has flags that are not known"));
        }
        match *version {
            1 if flags == 0 => Ok((Self { codec, flags, schema: 0, stamp: Stamp::default() }, rest)),
            VERSION => {
                let (schema, stamp) = read_stamp(key, &mut rest)?;
                Ok((Self { codec, flags, schema, stamp }, rest))
            }
            _ => Err(not_ours("its version is not known")),
        }
    }
}

fn read_stamp(key: &Key, rest: &mut &[u8]) -> Result<(u32, Stamp)> {
    let short = || not_ours("it is cut short");
    let schema = rest.try_get_u32().map_err(|_| short())?;
    let fresh_until = Timestamp::from_micros(rest.try_get_u64().map_err(|_| short())?);
    let load_millis = rest.try_get_u32().map_err(|_| short())?;
    let life_millis = rest.try_get_u32().map_err(|_| short())?;
    let namespace = Some(Generation::new(rest.try_get_u64().map_err(|_| short())?));
    if take_text(rest).ok_or_else(short)? != key.as_str().as_bytes() {
        return Err(not_ours("it was written under another key"));
    }
    let count = rest.try_get_u8().map_err(|_| short())?;
    let mut tags = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let tag = std::str::from_utf8(take_text(rest).ok_or_else(short)?).ok();
        let tag = tag.and_then(Tag::stored).ok_or_else(|| not_ours("it names a tag that is none"))?;
        tags.push((tag, Generation::new(rest.try_get_u64().map_err(|_| short())?)));
    }
    Ok((schema, Stamp { fresh_until, load_millis, life_millis, namespace, tags, grace: Duration::ZERO }))
}

/// The schema number in the header of a stored value, 0 if it has none: what a backend compares in
/// [`SetOptions::schema`](crate::cache::SetOptions::schema).
pub fn schema_of(bytes: &[u8]) -> u32 {
    match bytes.first_chunk::<8>() {
        Some([MAGIC, VERSION, _, _, schema @ ..]) => u32::from_be_bytes(*schema),
        _ => 0,
    }
}
