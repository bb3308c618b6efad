//! bincode 2, for those who have it in use.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Codec, failed};
use crate::error::{Error, ErrorKind, Result};

/// bincode 2 with its standard configuration.
///
/// **bincode is no longer maintained by its authors** (RUSTSEC-2025-0141; the published 3.0.0 is empty).
/// It works, and stays behind this feature for services that store it already; choose
/// `Postcard` for new ones. Not self-describing: a change of the type needs a new key or a flush.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bincode;

// A hostile length prefix must not reserve memory without bound.
const LIMIT: usize = 64 * 1024 * 1024;

impl Codec for Bincode {
    const ID: u8 = 3;

    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Bytes> {
        bincode::serde::encode_to_vec(value, bincode::config::standard().with_limit::<LIMIT>())
            .map(Bytes::from)
            .map_err(|e| failed("encode", "bincode", e))
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T> {
        let (value, read) =
            bincode::serde::decode_from_slice(bytes, bincode::config::standard().with_limit::<LIMIT>())
                .map_err(|e| failed("decode", "bincode", e))?;
        if read == bytes.len() {
            Ok(value)
        } else {
            Err(Error::new(
                ErrorKind::Codec,
                format!("bincode left {} bytes of the value unread", bytes.len() - read),
            ))
        }
    }
}
