//! Encryption at rest: keys, and bytes that are sealed so that they can't be read, changed or moved elsewhere.

use std::fmt;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};

use crate::error::{Error, ErrorKind, Result};
use crate::random::Random;

fn not_ours(why: &str) -> Error {
    Error::new(ErrorKind::Codec, format!("the stored bytes are not a value of this format: {why}"))
}

const ID: usize = 4;
const NONCE: usize = 24;
const TAG: usize = 16;

/// A secret of 256 bits that encrypts what is stored, and the number by which values name it. It is wiped from memory
/// with the last of its clones.
#[derive(Clone)]
pub struct EncryptionKey {
    id: u32,
    cipher: Arc<XChaCha20Poly1305>,
}

impl EncryptionKey {
    /// A key of this number. The secret has to be 32 random bytes, not a password. A number stands for one secret
    /// for ever.
    pub fn new(id: u32, secret: &[u8; 32]) -> Self {
        Self { id, cipher: Arc::new(XChaCha20Poly1305::new(secret.into())) }
    }

    /// The number that is stored with each value.
    pub fn id(&self) -> u32 {
        self.id
    }
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncryptionKey({})", self.id)
    }
}

/// The keys of a cache, or of sessions, whose values are encrypted at rest: one that writes, and others that are still read.
///
/// To change the key without losing what is stored: let every process read the new one, then write with it, then drop the
/// old one when the longest life of a value is over.
///
/// A cache with a keyring refuses values that are not encrypted, as if they were not there: whoever can write to the
/// store can't slip one in. One without refuses those that are. What the encryption does not hide: the key's name, the
/// tags, the length, and when a value ends. What it does not prevent: whoever can write to the store can put back an
/// older value of the same key, or remove one.
///
/// ```
/// use stanchion::encryption::{EncryptionKey, Keyring};
///
/// # let (old_secret, new_secret) = ([1; 32], [2; 32]);
/// let keyring = Keyring::new(EncryptionKey::new(2, &new_secret)).reading(EncryptionKey::new(1, &old_secret));
/// assert_eq!(format!("{keyring:?}"), "[EncryptionKey(2), EncryptionKey(1)]");
/// ```
#[derive(Clone)]
pub struct Keyring {
    writes: EncryptionKey,
    reads: Vec<EncryptionKey>,
}

impl Keyring {
    /// With the key that writes.
    pub fn new(key: EncryptionKey) -> Self {
        Self { writes: key, reads: Vec::new() }
    }

    /// With another key whose values are read.
    #[must_use]
    pub fn reading(mut self, key: EncryptionKey) -> Self {
        self.reads.push(key);
        self
    }

    /// Appends the sealed body to the header in `out`: number of the key, nonce, ciphertext, tag.
    pub(crate) fn seal(&self, out: &mut BytesMut, body: &[u8], random: &dyn Random) -> Result<()> {
        let mut nonce = [0; NONCE];
        random.fill(&mut nonce)?;
        out.put_u32(self.writes.id);
        let bound = out.len();
        out.reserve(NONCE + body.len() + TAG);
        out.extend_from_slice(&nonce);
        let start = out.len();
        out.extend_from_slice(body);
        let (head, text) = out.split_at_mut(start);
        let tag = self
            .writes
            .cipher
            .encrypt_inout_detached((&nonce).into(), &head[..bound], text.into())
            .map_err(|_| Error::new(ErrorKind::Codec, "the value is too long to be encrypted"))?;
        out.extend_from_slice(&tag);
        Ok(())
    }

    /// The body that was sealed behind the header, which has this many bytes.
    pub(crate) fn open(&self, bytes: &[u8], header: usize) -> Result<Vec<u8>> {
        let cut = || not_ours("its encrypted form is cut short");
        let (bound, sealed) = bytes.split_at_checked(header + ID).ok_or_else(cut)?;
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>().ok_or_else(cut)?;
        let (text, tag) = sealed.split_last_chunk::<TAG>().ok_or_else(cut)?;
        let id = bound.last_chunk().map_or(0, |id| u32::from_be_bytes(*id));
        let Some(key) = std::iter::once(&self.writes).chain(&self.reads).find(|key| key.id == id) else {
            return Err(not_ours("it is encrypted with a key that is not among the readable ones"));
        };
        let mut body = text.to_vec();
        key.cipher
            .decrypt_inout_detached(nonce.into(), bound, body.as_mut_slice().into(), tag.into())
            .map_err(|_| not_ours("it was encrypted with another key, or changed since, or moved here"))?;
        Ok(body)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entry(&self.writes).entries(&self.reads).finish()
    }
}
