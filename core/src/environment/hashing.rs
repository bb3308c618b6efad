//! The key under which secrets are hashed before they are stored.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::key::Name;

/// The key under which session tokens are hashed before they are stored.
///
/// Without a secret the hash is plain SHA-256, which is safe against reading the store, since a token has
/// 256 random bits. With a secret, whoever can write to the store can't plant a session either. The key's
/// id is recorded in the store; a service with another key is refused at connect.
#[derive(Clone)]
pub struct HashingKey {
    id: Name,
    secret: Option<Arc<[u8]>>,
}

impl HashingKey {
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
        Ok(Self { id, secret: Some(secret.into()) })
    }

    /// Plain SHA-256; its id is `none`.
    pub fn unkeyed() -> Self {
        // A constant that passes the check.
        Self { id: Name::literal("none"), secret: None }
    }

    /// The key's id.
    pub fn id(&self) -> &Name {
        &self.id
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
        write!(f, "HashingKey({})", self.id)
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

    #[test]
    fn a_short_secret_and_a_reserved_id_are_refused() {
        assert!(HashingKey::new("k1", &[7; 32]).is_ok());
        assert!(HashingKey::new("k1", &[7; 31]).is_err());
        assert!(HashingKey::new("none", &[7; 32]).is_err());
    }
}
