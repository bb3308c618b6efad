//! Postcard: compact, maintained, with a written specification.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Codec, failed};
use crate::error::{Error, ErrorKind, Result};

/// The [postcard](https://postcard.jamesmunns.com) wire format: about 40 % of the size of JSON. Not
/// self-describing: a change of the type needs a new key or a flush.
#[derive(Debug, Clone, Copy, Default)]
pub struct Postcard;

impl Codec for Postcard {
    const ID: u8 = 2;

    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Bytes> {
        postcard::to_stdvec(value).map(Bytes::from).map_err(|e| failed("encode", "postcard", e))
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T> {
        match postcard::take_from_bytes(bytes) {
            Ok((value, [])) => Ok(value),
            Ok((_, rest)) => Err(Error::new(
                ErrorKind::Codec,
                format!("postcard left {} bytes of the value unread", rest.len()),
            )),
            Err(e) => Err(failed("decode", "postcard", e)),
        }
    }
}
