//! The keys under which secrets are hashed before they are stored.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::key::Name;

/// The key under which session tokens are hashed before they are stored, and older ones under which some were.
///
/// Without a secret the hash is plain SHA-256, which is safe against reading the store, since a token has
/// 256 random bits. With a secret, whoever can write to the store can't plant a session either. The key's
/// id is recorded in the store; a service that does not know the key is refused at connect.
///
/// # Rotation
/// New sessions are stored under this key; those that were stored under an [older](Self::reading) one are found as long as that
/// is known, by one more command each time.
/// 1. Deploy everywhere `old.reading(new)`: what the others will store is found by all.
/// 2. Deploy everywhere `new.reading(old)`: from now on new sessions are stored under the new key.
/// 3. Once the longest absolute timeout is over since then, deploy `new` alone.
#[derive(Clone)]
pub struct HashingKey {
    id: Name,
    secret: Option<Arc<[u8]>>,
    older: Arc<[Self]>,
}

impl HashingKey {
    /// The most keys that are known at once.
    pub const MAX_KEYS: usize = 4;

    /// A keyed hash, HMAC-SHA-256. The id names the key, for people and for the check at connect.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a secret shorter than 32 bytes, and for an id
    /// that is no [`Name`] or is `none`.
    pub fn new(id: &str, secret: &[u8]) -> Result<Self> {
        let id = Name::new(id)?;
        if secret.len() < 32 || id.as_str() == "none" {
            return Err(Error::invalid(
                "a hashing key needs at least 32 secret bytes, and another id than 'none'",
            ));
        }
        Ok(Self { id, secret: Some(secret.into()), older: Arc::default() })
    }

    /// Plain SHA-256; its id is `none`.
    pub fn unkeyed() -> Self {
        // A constant that passes the check.
        Self { id: Name::literal("none"), secret: None, older: Arc::default() }
    }

    /// With another key, under which there are sessions too, and whatever that one reads; see [rotation](Self#rotation).
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for two keys of one id, and for more than [`MAX_KEYS`](Self::MAX_KEYS).
    #[expect(
        clippy::needless_pass_by_value,
        reason = "keys are put together by value, as everything that is built"
    )]
    pub fn reading(self, other: Self) -> Result<Self> {
        let alone = |key: &Self| Self { older: Arc::default(), ..key.clone() };
        let older: Vec<_> = self.keys().skip(1).chain(other.keys()).map(alone).collect();
        let key = Self { older: older.into(), ..self };
        let ids: Vec<_> = key.ids().collect();
        if ids.len() > Self::MAX_KEYS || (1..ids.len()).any(|at| ids[..at].contains(&ids[at])) {
            return Err(Error::invalid(format!(
                "there may be {} hashing keys, each with an id of its own",
                Self::MAX_KEYS
            )));
        }
        Ok(key)
    }

    /// The id of the key under which new sessions are stored.
    pub fn id(&self) -> &Name {
        &self.id
    }

    /// The ids of all keys that are known, that one first.
    pub fn ids(&self) -> impl Iterator<Item = &Name> {
        self.keys().map(|key| &key.id)
    }

    /// This key and the older ones.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(&*self.older)
    }

    /// The hash of some bytes for one purpose, which the domain names.
    pub(crate) fn hash(&self, domain: &[u8], bytes: &[u8]) -> [u8; 32] {
        match self.secret.as_deref().map(Hmac::<Sha256>::new_from_slice) {
            Some(Ok(mac)) => mac.chain_update(domain).chain_update(bytes).finalize().into_bytes().into(),
            // HMAC takes a key of any length, so only the unkeyed case comes here.
            _ => Sha256::new().chain_update(domain).chain_update(bytes).finalize().into(),
        }
    }
}

impl fmt::Debug for HashingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.ids().map(Name::as_str).collect();
        write!(f, "HashingKey({})", ids.join(", "))
    }
}

impl Default for HashingKey {
    fn default() -> Self {
        Self::unkeyed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str) -> HashingKey {
        HashingKey::new(id, &[7; 32]).unwrap()
    }

    #[test]
    fn a_short_secret_and_a_reserved_id_are_refused() {
        assert!(HashingKey::new("k1", &[7; 32]).is_ok());
        assert!(HashingKey::new("k1", &[7; 31]).is_err());
        assert!(HashingKey::new("none", &[7; 32]).is_err());
    }

    #[test]
    fn a_ring_knows_each_key_once_and_the_new_one_first() {
        let ring = key("k3").reading(key("k2").reading(HashingKey::unkeyed()).unwrap()).unwrap();
        assert_eq!(format!("{ring:?}"), "HashingKey(k3, k2, none)");
        assert_eq!(ring.id().as_str(), "k3");
        assert!(ring.clone().reading(key("k2")).is_err());
        assert!(key("k1").reading(key("k1")).is_err());
        let most = ring.reading(key("k1")).unwrap();
        assert!(most.reading(key("k0")).is_err());
    }
}
