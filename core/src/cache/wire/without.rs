//! What replaces the stages that this program was built without: types of which there is no value.

#[cfg(not(feature = "compression"))]
mod compression {
    use bytes::BytesMut;

    use super::super::header::not_ours;
    use crate::error::Result;

    #[derive(Debug, Clone, Copy)]
    pub(in crate::cache) enum Compression {}

    impl Compression {
        pub(in crate::cache::wire) fn compress(self, _: &[u8]) -> Option<BytesMut> {
            match self {}
        }
    }

    pub(in crate::cache::wire) fn decompress(_: &[u8]) -> Result<Vec<u8>> {
        Err(not_ours("it is compressed, and this program is built without the feature `compression`"))
    }
}

#[cfg(not(feature = "encryption"))]
mod encryption {
    use bytes::BytesMut;

    use crate::error::Result;
    use crate::random::Random;

    #[derive(Debug, Clone)]
    pub(in crate::cache) enum Keyring {}

    impl Keyring {
        pub(in crate::cache::wire) fn seal(&self, _: &mut BytesMut, _: &[u8], _: &dyn Random) -> Result<()> {
            match *self {}
        }

        pub(in crate::cache::wire) fn open(&self, _: &[u8], _: usize) -> Result<Vec<u8>> {
            match *self {}
        }
    }
}

#[cfg(not(feature = "compression"))]
pub(in crate::cache) use self::compression::Compression;
#[cfg(not(feature = "compression"))]
pub(super) use self::compression::decompress;
#[cfg(not(feature = "encryption"))]
pub(in crate::cache) use self::encryption::Keyring;
