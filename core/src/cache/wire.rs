//! What stands in front of a cached value, so that no reader takes foreign bytes for its own:
//! magic, format version, codec id, flags (none yet). See `core/docs/wire-format.md`.

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::Codec;
use crate::error::{Error, ErrorKind, Result};

const MAGIC: u8 = 0xB5;
const VERSION: u8 = 1;
const HEADER: usize = 4;

pub(super) fn encode<C: Codec, T: Serialize>(codec: &C, value: &T) -> Result<Bytes> {
    let body = codec.encode(value)?;
    let mut bytes = BytesMut::with_capacity(HEADER + body.len());
    bytes.put_slice(&[MAGIC, VERSION, C::ID, 0]);
    bytes.put_slice(&body);
    Ok(bytes.freeze())
}

pub(super) fn decode<C: Codec, T: DeserializeOwned>(codec: &C, bytes: &[u8]) -> Result<T> {
    match bytes.split_first_chunk::<HEADER>() {
        Some(([MAGIC, VERSION, id, 0], body)) if *id == C::ID => codec.decode(body),
        _ => Err(Error::new(ErrorKind::Codec, "the stored bytes are not a value of this format and codec")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Json, Postcard};

    #[test]
    fn golden_bytes_of_version_1() {
        assert_eq!(&encode(&Json, &"a").unwrap()[..], b"\xB5\x01\x01\x00\"a\"");
        assert_eq!(decode::<Json, String>(&Json, b"\xB5\x01\x01\x00\"a\"").unwrap(), "a");
    }

    #[test]
    fn another_codec_version_flag_or_no_header_is_refused() {
        let bytes = encode(&Json, &7_u64).unwrap();
        assert!(decode::<Postcard, u64>(&Postcard, &bytes).is_err());
        for bad in [
            &b""[..],
            b"7",
            b"\xB5\x01\x01",
            b"\xB5\x02\x01\x007",
            b"\xB5\x01\x01\x017",
            b"\x00\x01\x01\x007",
        ] {
            assert!(decode::<Json, u64>(&Json, bad).is_err(), "{bad:?}");
        }
    }
}
