//! How typed values become bytes.
//!
//! JSON is the default: every language reads it. [`Postcard`] is the compact one. [`Bincode`] is there for
//! those who have it in use. Each has a number that is written in front of the value, so that a reader with
//! another codec sees a miss and not a wrong value.

#[cfg(feature = "bincode")]
mod bincode;
mod json;
#[cfg(feature = "postcard")]
mod postcard;

use std::fmt;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

#[cfg(feature = "bincode")]
pub use self::bincode::Bincode;
pub use self::json::Json;
#[cfg(feature = "postcard")]
pub use self::postcard::Postcard;
use crate::error::{Error, ErrorKind, Result};

/// Turns values into bytes and back.
pub trait Codec: fmt::Debug + Clone + Default + Send + Sync + 'static {
    /// The number stored with each value: 1 to 127 belong to this library, 128 to 255 to others.
    const ID: u8;

    /// Encodes a value.
    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Bytes>;

    /// Decodes a value; never panics on any bytes.
    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T>;
}

/// The error of a codec that could not encode or decode. The message names no value.
fn failed(what: &str, codec: &str, source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Codec, format!("{codec} could not {what} the value")).with_source(source)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Record {
        id: u64,
        name: String,
        tags: Vec<String>,
        maybe: Option<f64>,
    }

    fn round_trips<C: Codec>() {
        let record = Record {
            id: u64::MAX,
            name: "é\n\0".into(),
            tags: vec![String::new(), "b".into()],
            maybe: Some(-0.5),
        };
        let codec = C::default();
        let bytes = codec.encode(&record).unwrap();
        assert_eq!(codec.decode::<Record>(&bytes).unwrap(), record);
        for cut in 0..bytes.len() {
            assert!(
                codec.decode::<Record>(&bytes[..cut]).is_err(),
                "{cut} bytes of {} were read",
                bytes.len()
            );
        }
        let longer = [&bytes[..], b"x"].concat();
        assert!(codec.decode::<Record>(&longer).is_err(), "a trailing byte was ignored");
        assert!(codec.decode::<Record>(b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF").is_err());
    }

    #[test]
    fn json_round_trips_and_refuses_the_rest() {
        round_trips::<Json>();
    }

    #[cfg(feature = "postcard")]
    #[test]
    fn postcard_round_trips_and_refuses_the_rest() {
        round_trips::<Postcard>();
    }

    #[cfg(feature = "bincode")]
    #[test]
    fn bincode_round_trips_and_refuses_the_rest() {
        round_trips::<Bincode>();
    }
}
